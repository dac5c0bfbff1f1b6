package orlop.deploy;

import java.net.Socket;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.concurrent.atomic.AtomicReference;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;
import org.jspecify.annotations.Nullable;

/**
 * Shows the one certificate that this process has at the time of a handshake. Thread-safe.
 *
 * <p>A handshake asks for a name first and for key and chain of that name then; in between the
 * files may change. So names stand for one reading of the files, and the last two are known.
 */
final class OwnKey extends X509ExtendedKeyManager {
  private record Named(String name, Certificates.Own own, @Nullable Named before) {}

  private final Certificates certificates;
  private final AtomicReference<@Nullable Named> last = new AtomicReference<>();

  OwnKey(Certificates certificates) {
    this.certificates = certificates;
  }

  private @Nullable String name(String... kinds) {
    Certificates.Own own = certificates.now().own();
    if (own == null) {
      return null;
    }
    Named named =
        last.updateAndGet(
            old -> {
              if (old != null && old.own == own) {
                return old;
              }
              Named before = old == null ? null : new Named(old.name, old.own, null);
              return new Named(Integer.toHexString(System.identityHashCode(own)), own, before);
            });
    String algorithm = own.key().getAlgorithm();
    for (String kind : kinds) {
      // "EC_RSA" and the like ask for an EC key that somebody signed with RSA.
      if (named != null && (kind.equals(algorithm) || kind.startsWith(algorithm + "_"))) {
        return named.name;
      }
    }
    return null;
  }

  private Certificates.@Nullable Own own(String name) {
    for (Named one = last.get(); one != null; one = one.before) {
      if (one.name.equals(name)) {
        return one.own;
      }
    }
    return null;
  }

  @Override
  public @Nullable String chooseEngineServerAlias(
      String keyType, Principal @Nullable [] issuers, @Nullable SSLEngine engine) {
    return name(keyType);
  }

  @Override
  public @Nullable String chooseEngineClientAlias(
      String[] keyType, Principal @Nullable [] issuers, @Nullable SSLEngine engine) {
    return name(keyType);
  }

  @Override
  public @Nullable String chooseServerAlias(
      String keyType, Principal @Nullable [] issuers, @Nullable Socket socket) {
    return name(keyType);
  }

  @Override
  public @Nullable String chooseClientAlias(
      String[] keyType, Principal @Nullable [] issuers, @Nullable Socket socket) {
    return name(keyType);
  }

  @Override
  public X509Certificate @Nullable [] getCertificateChain(String name) {
    Certificates.Own own = own(name);
    return own == null ? null : own.chain();
  }

  @Override
  public @Nullable PrivateKey getPrivateKey(String name) {
    Certificates.Own own = own(name);
    return own == null ? null : own.key();
  }

  @Override
  public String @Nullable [] getClientAliases(String keyType, Principal @Nullable [] issuers) {
    String name = name(keyType);
    return name == null ? null : new String[] {name};
  }

  @Override
  public String @Nullable [] getServerAliases(String keyType, Principal @Nullable [] issuers) {
    return getClientAliases(keyType, issuers);
  }
}
