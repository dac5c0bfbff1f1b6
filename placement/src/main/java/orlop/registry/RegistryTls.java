package orlop.registry;

/**
 * The certificates between this process and etcd, for endpoints that are {@code https}. Each of the
 * first three is a PEM file or, where it begins with {@code -----BEGIN}, PEM itself.
 *
 * @param trust the authorities that sign etcd's certificates; empty: those that the Java machine
 *     knows
 * @param certificate this process's own chain, its certificate first, for an etcd that asks for
 *     one; empty: none is shown
 * @param privateKey of that certificate, PKCS #8 and not encrypted
 * @param serverName the name that etcd's certificates must have; empty: the endpoint's host
 */
public record RegistryTls(String trust, String certificate, String privateKey, String serverName) {
  /** Nothing of one's own, and the authorities that the Java machine knows. */
  public static final RegistryTls DEFAULTS = new RegistryTls("", "", "", "");

  public RegistryTls {
    if (certificate.isEmpty() != privateKey.isEmpty()) {
      throw new IllegalArgumentException(
          certificate.isEmpty()
              ? "privateKey is set and certificate is not; etcd is shown both or neither"
              : "certificate is set and privateKey is not; etcd is shown both or neither");
    }
  }

  static boolean isPem(String value) {
    return value.stripLeading().startsWith("-----BEGIN");
  }

  private static String shown(String value) {
    return isPem(value) ? "(PEM)" : value;
  }

  /** Without what PEM holds. */
  @Override
  public String toString() {
    return "RegistryTls[trust=%s, certificate=%s, privateKey=%s, serverName=%s]"
        .formatted(shown(trust), shown(certificate), shown(privateKey), serverName);
  }
}
