package orlop.deploy;

import io.netty.handler.codec.http2.Http2SecurityUtil;
import io.netty.handler.ssl.ApplicationProtocolConfig;
import io.netty.handler.ssl.ApplicationProtocolConfig.Protocol;
import io.netty.handler.ssl.ApplicationProtocolConfig.SelectedListenerFailureBehavior;
import io.netty.handler.ssl.ApplicationProtocolConfig.SelectorFailureBehavior;
import io.netty.handler.ssl.ClientAuth;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import io.netty.handler.ssl.SupportedCipherSuiteFilter;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.stream.Stream;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;
import javax.net.ssl.TrustManager;
import org.jspecify.annotations.Nullable;
import orlop.pod.PodTls;

/**
 * The certificates of this process and of whom it trusts, as the files of {@link TlsConfig} have
 * them now. The contexts made from them follow the files: a handshake after a change uses what is
 * new, connections that are open stay. A change that makes no sense is one warning, and what stood
 * before stays. Thread-safe.
 */
final class Certificates implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Certificates.class.getName());

  /**
   * So that no session outlives the certificates it was made with; connections are few and long.
   */
  private static final int SESSION_S = 1;

  private final TlsConfig config;
  private final WatchedFiles watched;
  private volatile Held now;

  /**
   * What the files held at one time.
   *
   * @param own null: nothing is served
   */
  record Held(
      @Nullable Own own,
      Trust clients,
      Trust pods,
      @Nullable Trust servers,
      @Nullable Trust processors) {}

  /** A key and its certificates, the one of the key first. */
  record Own(PrivateKey key, X509Certificate[] chain) {}

  private Certificates(TlsConfig config) {
    this.config = config;
    this.now = read(config);
    List<Path> files = new ArrayList<>();
    if (config.serves()) {
      files.addAll(List.of(Path.of(config.certificate()), Path.of(config.privateKey())));
    }
    Stream.of(
            config.clientTrust(), config.podTrust(), config.serverTrust(), config.processorTrust())
        .filter(names -> !names.equals(Trust.SYSTEM))
        .flatMap(Trust::paths)
        .forEach(files::add);
    this.watched = new WatchedFiles(files, config.reloadMs(), this::readAgain);
  }

  /**
   * @return null when the configuration asks for no TLS at all
   * @throws CommandException naming setting, file and reason
   */
  static @Nullable Certificates open(TlsConfig config) {
    boolean needed =
        config.serves() || !config.serverTrust().isEmpty() || !config.processorTrust().isEmpty();
    return needed ? new Certificates(config) : null;
  }

  private void readAgain() {
    now = read(config);
    Own own = now.own;
    LOG.log(
        Level.INFO,
        "certificates were read again{0}",
        own == null ? "" : ": " + subject(own.chain[0]) + " until " + own.chain[0].getNotAfter());
  }

  private static Held read(TlsConfig config) {
    Own own = config.serves() ? own(config) : null;
    List<X509Certificate> pods =
        !config.podTrust().isEmpty()
            ? Trust.certificates("tls.podTrust", config.podTrust())
            : own == null ? List.of() : List.of(own.chain);
    return new Held(
        own,
        Trust.in("tls.clientTrust", config.clientTrust()),
        Trust.of("tls.podTrust", pods),
        named("tls.serverTrust", config.serverTrust()),
        named("tls.processorTrust", config.processorTrust()));
  }

  private static @Nullable Trust named(String setting, String names) {
    return names.isEmpty() ? null : Trust.in(setting, names);
  }

  private static Own own(TlsConfig config) {
    Path file = Path.of(config.certificate());
    Path keyFile = Path.of(config.privateKey());
    List<X509Certificate> chain = Pem.certificates("tls.certificate", file);
    PrivateKey key = Pem.key("tls.privateKey", keyFile, config.passphrase());
    X509Certificate mine = chain.getFirst();
    Date today = new Date();
    if (today.after(mine.getNotAfter()) || today.before(mine.getNotBefore())) {
      throw new CommandException(
          "tls.certificate file %s: %s is valid from %s to %s, and now is %s"
              .formatted(file, subject(mine), mine.getNotBefore(), mine.getNotAfter(), today),
          "renew the certificate, or set the clock");
    }
    if (!belongs(key, mine.getPublicKey())) {
      throw new CommandException(
          "tls.privateKey file %s is not the key of the certificate in %s".formatted(keyFile, file),
          "take both files from the same secret; the own certificate stands first");
    }
    return new Own(key, chain.toArray(X509Certificate[]::new));
  }

  private static boolean belongs(PrivateKey key, PublicKey certified) {
    String algorithm =
        switch (key.getAlgorithm()) {
          case "EC" -> "SHA256withECDSA";
          case "EdDSA" -> "EdDSA";
          default -> "SHA256withRSA";
        };
    try {
      byte[] text = {1, 2, 3};
      Signature signing = Signature.getInstance(algorithm);
      signing.initSign(key);
      signing.update(text);
      byte[] signed = signing.sign();
      signing.initVerify(certified);
      signing.update(text);
      return signing.verify(signed);
    } catch (GeneralSecurityException e) {
      return false;
    }
  }

  static String subject(X509Certificate certificate) {
    return "'" + certificate.getSubjectX500Principal().getName() + "'";
  }

  Held now() {
    return now;
  }

  TlsConfig config() {
    return config;
  }

  // ---- what is made of them

  /** What a pod serves and calls with; null when this process has no certificate. */
  PodTls.@Nullable Mesh mesh() {
    return config.serves()
        ? new PodTls.Mesh(front(), rest(), pods(), this::isPod, this::expiresMs)
        : null;
  }

  private long expiresMs() {
    Own own = now.own;
    return own == null ? 0 : own.chain[0].getNotAfter().getTime();
  }

  private boolean isPod(SSLSession session) {
    try {
      if (session.getPeerCertificates() instanceof X509Certificate[] chain) {
        now.pods.check(chain);
        return true;
      }
      return false;
    } catch (SSLPeerUnverifiedException | CertificateException e) {
      return false;
    }
  }

  private SslContext front() {
    // Pods show who they are where callers need not.
    ClientAuth asked =
        config.clientAuth() == TlsConfig.ClientAuth.REQUIRE
            ? ClientAuth.REQUIRE
            : ClientAuth.OPTIONAL;
    return built(server().clientAuth(asked).applicationProtocolConfig(h2()));
  }

  private SslContext rest() {
    ClientAuth asked =
        switch (config.clientAuth()) {
          case NONE -> ClientAuth.NONE;
          case OPTIONAL -> ClientAuth.OPTIONAL;
          case REQUIRE -> ClientAuth.REQUIRE;
        };
    return built(server().clientAuth(asked));
  }

  private SslContextBuilder server() {
    return SslContextBuilder.forServer((KeyManager) new OwnKey(this))
        .trustManager(new Checks.OfCallers(this));
  }

  /** For calls to pods by pods and controllers: it is the authority that counts, not the name. */
  SslContext pods() {
    return built(
        SslContextBuilder.forClient()
            .keyManager((KeyManager) new OwnKey(this))
            .trustManager(new Checks.OfPods(this))
            .endpointIdentificationAlgorithm("")
            .applicationProtocolConfig(h2()));
  }

  /** For calls to pods from outside; null: in the clear. */
  @Nullable SslContext client() {
    Trust servers = now.servers;
    if (servers == null) {
      return null;
    }
    SslContextBuilder builder =
        SslContextBuilder.forClient()
            .trustManager(new Checks.OfServers(this, Held::servers))
            .applicationProtocolConfig(h2());
    return built(config.serves() ? builder.keyManager((KeyManager) new OwnKey(this)) : builder);
  }

  /** For the metrics page, which asks nobody for a certificate. */
  SSLContext pages() {
    return context(new KeyManager[] {new OwnKey(this)}, null);
  }

  /** For payload processors, which are shown no certificate; null: as the Java machine does. */
  @Nullable SSLContext processors() {
    return now.processors == null
        ? null
        : context(null, new TrustManager[] {new Checks.OfServers(this, Held::processors)});
  }

  private static SSLContext context(KeyManager @Nullable [] keys, TrustManager @Nullable [] trust) {
    try {
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(keys, trust, null);
      context.getClientSessionContext().setSessionTimeout(SESSION_S);
      context.getServerSessionContext().setSessionTimeout(SESSION_S);
      return context;
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("cannot make a TLS context", e);
    }
  }

  private static ApplicationProtocolConfig h2() {
    return new ApplicationProtocolConfig(
        Protocol.ALPN,
        SelectorFailureBehavior.NO_ADVERTISE,
        SelectedListenerFailureBehavior.ACCEPT,
        List.of("h2"));
  }

  private static SslContext built(SslContextBuilder builder) {
    try {
      return builder
          .sslProvider(SslProvider.JDK)
          .protocols("TLSv1.3", "TLSv1.2")
          .ciphers(Http2SecurityUtil.CIPHERS, SupportedCipherSuiteFilter.INSTANCE)
          .sessionTimeout(SESSION_S)
          .build();
    } catch (SSLException e) {
      throw new IllegalStateException("cannot make a TLS context", e);
    }
  }

  /** The authorities that callers may name, so that they know which certificate to show. */
  X509Certificate[] accepted() {
    Held held = now;
    List<X509Certificate> all = new ArrayList<>(held.clients.authorities());
    all.addAll(held.pods.authorities());
    return all.toArray(X509Certificate[]::new);
  }

  @Override
  public void close() {
    watched.close();
  }
}
