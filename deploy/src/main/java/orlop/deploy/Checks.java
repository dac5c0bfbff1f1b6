package orlop.deploy;

import java.net.Socket;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.function.Function;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * Looks at a certificate during a handshake, with the {@link Certificates} of that time. Only
 * engines are used here; a socket is refused. Thread-safe.
 */
abstract class Checks extends X509ExtendedTrustManager {
  final Certificates certificates;

  Checks(Certificates certificates) {
    this.certificates = certificates;
  }

  @Override
  public X509Certificate[] getAcceptedIssuers() {
    return certificates.accepted();
  }

  private static CertificateException notHere() {
    return new CertificateException("no certificate is checked this way");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String keys, SSLEngine engine)
      throws CertificateException {
    throw notHere();
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String keys, SSLEngine engine)
      throws CertificateException {
    throw notHere();
  }

  @Override
  public final void checkClientTrusted(X509Certificate[] chain, String keys)
      throws CertificateException {
    throw notHere();
  }

  @Override
  public final void checkServerTrusted(X509Certificate[] chain, String keys)
      throws CertificateException {
    throw notHere();
  }

  @Override
  public final void checkClientTrusted(X509Certificate[] chain, String keys, Socket socket)
      throws CertificateException {
    throw notHere();
  }

  @Override
  public final void checkServerTrusted(X509Certificate[] chain, String keys, Socket socket)
      throws CertificateException {
    throw notHere();
  }

  /** Of whoever calls a pod: another pod, or a caller as {@code tls.clientAuth} wants them. */
  static final class OfCallers extends Checks {
    OfCallers(Certificates certificates) {
      super(certificates);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String keys, SSLEngine engine)
        throws CertificateException {
      if (certificates.config().clientAuth() == TlsConfig.ClientAuth.NONE) {
        // Nobody need be known; whether it is a pod is looked at when the handshake is over.
        return;
      }
      Certificates.Held now = certificates.now();
      try {
        now.pods().check(chain);
      } catch (CertificateException e) {
        now.clients().checkCaller(chain, keys);
      }
    }
  }

  /** Of a pod that a pod or controller calls: its authority counts, whatever its name. */
  static final class OfPods extends Checks {
    OfPods(Certificates certificates) {
      super(certificates);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String keys, SSLEngine engine)
        throws CertificateException {
      certificates.now().pods().check(chain);
    }
  }

  /** Of a server that is no part of the mesh to its caller: authority and name. */
  static final class OfServers extends Checks {
    private final Function<Certificates.Held, @Nullable Trust> known;

    /**
     * @param known whom to trust, of what is held at the time
     */
    OfServers(Certificates certificates, Function<Certificates.Held, @Nullable Trust> known) {
      super(certificates);
      this.known = known;
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String keys, SSLEngine engine)
        throws CertificateException {
      Trust servers = known.apply(certificates.now());
      if (servers == null) {
        throw new CertificateException("no authority is known that could vouch for it");
      }
      servers.checkServer(chain, keys, engine);
    }
  }
}
