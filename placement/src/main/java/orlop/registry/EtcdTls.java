package orlop.registry;

import io.grpc.netty.GrpcSslContexts;
import io.netty.handler.ssl.JdkSslContext;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import org.jspecify.annotations.Nullable;

/** This process's side of TLS with etcd, as the files of a {@link RegistryTls} were when read. */
final class EtcdTls {
  private static final int MAX_PEM_BYTES = 1 << 20;

  private final RegistryTls config;
  private final SslContext context;
  private final List<X509Certificate> certificates;

  private EtcdTls(RegistryTls config, SslContext context, List<X509Certificate> certificates) {
    this.config = config;
    this.context = context;
    this.certificates = certificates;
  }

  /** Reads the files; what is wrong is said with setting and file, and never with their content. */
  static EtcdTls read(RegistryTls config) throws RegistryException {
    SslContextBuilder builder =
        GrpcSslContexts.configure(SslContextBuilder.forClient(), SslProvider.JDK);
    List<X509Certificate> all = new ArrayList<>();
    if (!config.trust().isEmpty()) {
      all.addAll(certificates("trust", config.trust()));
      builder.trustManager(List.copyOf(all));
    }
    if (!config.certificate().isEmpty()) {
      all.addAll(certificates("certificate", config.certificate()));
      byte[] chain = pem("certificate", config.certificate());
      byte[] key = pem("privateKey", config.privateKey());
      try {
        builder.keyManager(new ByteArrayInputStream(chain), new ByteArrayInputStream(key));
      } catch (IllegalArgumentException e) {
        throw broken(
            "privateKey",
            config.privateKey(),
            "holds no key in PKCS #8 without a passphrase; openssl pkcs8 -topk8 -nocrypt makes one",
            e);
      }
    }
    try {
      return new EtcdTls(config, builder.build(), all);
    } catch (SSLException | IllegalArgumentException e) {
      throw new RegistryException("registry.tls cannot be used: " + EtcdStore.reason(e), e);
    }
  }

  private static List<X509Certificate> certificates(String key, String value)
      throws RegistryException {
    List<X509Certificate> all = new ArrayList<>();
    try {
      for (Certificate one :
          CertificateFactory.getInstance("X.509")
              .generateCertificates(new ByteArrayInputStream(pem(key, value)))) {
        all.add((X509Certificate) one);
      }
    } catch (CertificateException e) {
      throw broken(key, value, "holds a certificate that cannot be read", e);
    }
    if (all.isEmpty()) {
      throw broken(key, value, "holds no certificate", null);
    }
    return all;
  }

  private static byte[] pem(String key, String value) throws RegistryException {
    if (RegistryTls.isPem(value)) {
      return value.getBytes(StandardCharsets.US_ASCII);
    }
    try (InputStream in = Files.newInputStream(Path.of(value))) {
      byte[] bytes = in.readNBytes(MAX_PEM_BYTES + 1);
      if (bytes.length > MAX_PEM_BYTES) {
        throw broken(key, value, "has more than " + MAX_PEM_BYTES + " bytes", null);
      }
      return bytes;
    } catch (NoSuchFileException e) {
      throw broken(key, value, "does not exist", e);
    } catch (IOException e) {
      throw broken(key, value, "cannot be read: " + e.getMessage(), e);
    }
  }

  private static RegistryException broken(
      String key, String value, String why, @Nullable Throwable cause) {
    return new RegistryException(
        "registry.tls.%s %s %s"
            .formatted(key, RegistryTls.isPem(value) ? "(PEM)" : "file " + value, why),
        cause);
  }

  SslContext context() {
    return context;
  }

  /** Those that it trusts, and its own. */
  List<X509Certificate> certificates() {
    return certificates;
  }

  /**
   * Shakes hands over a new connection and waits for the server's first byte, since a server that
   * refuses our certificate says so only then.
   *
   * @param timeoutMs bound on each of the two; a server that stays silent after the handshake is
   *     taken for a slow one
   * @throws SSLException when one of the two does not trust the other
   */
  void greet(Socket plain, String host, int port, int timeoutMs) throws IOException {
    String name = config.serverName().isEmpty() ? host : config.serverName();
    try (SSLSocket socket =
        (SSLSocket)
            ((JdkSslContext) context)
                .context()
                .getSocketFactory()
                .createSocket(plain, name, port, true)) {
      SSLParameters parameters = socket.getSSLParameters();
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      parameters.setApplicationProtocols(new String[] {"h2"});
      socket.setSSLParameters(parameters);
      socket.setSoTimeout(timeoutMs);
      socket.startHandshake();
      if (socket.getInputStream().read() < 0) {
        throw new IOException("hung up after the handshake");
      }
    } catch (SocketTimeoutException e) {
      // It takes connections, which is what was asked.
    }
  }
}
