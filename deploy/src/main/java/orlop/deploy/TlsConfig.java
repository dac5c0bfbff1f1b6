package orlop.deploy;

/**
 * Which files make this process's side of TLS; empty ones do not. Files are PEM; authorities may be
 * in several, with commas between their names, and a directory stands for those of its files that
 * end in {@code .pem} or {@code .crt}.
 *
 * @param certificate this process's own chain, its certificate first
 * @param privateKey of that certificate
 * @param passphrase of the key, where it is encrypted
 * @param clientAuth whether callers must show a certificate
 * @param clientTrust the authorities that sign callers
 * @param podTrust the authorities that sign pods and controllers; empty: the certificates of {@code
 *     certificate}, which suits pods that share one
 * @param serverTrust for a bridge: the authorities that sign pods, or {@code system} for those that
 *     the Java machine knows; empty: pods are called in the clear
 * @param serverName for a bridge: the name that pods' certificates must have; empty: the one that
 *     was called
 * @param processorTrust for a pod: the authorities that sign {@code https} payload processors;
 *     empty or {@code system}: those that the Java machine knows
 * @param reloadMs how often the files are looked at, 100 to 3,600,000
 */
record TlsConfig(
    String certificate,
    String privateKey,
    String passphrase,
    ClientAuth clientAuth,
    String clientTrust,
    String podTrust,
    String serverTrust,
    String serverName,
    String processorTrust,
    long reloadMs) {

  /** What is asked of callers. */
  enum ClientAuth {
    /** Nothing. */
    NONE,
    /** A certificate that is shown must be a known authority's. */
    OPTIONAL,
    /** One must be shown. */
    REQUIRE
  }

  TlsConfig {
    if (certificate.isEmpty() != privateKey.isEmpty()) {
      throw new IllegalArgumentException(
          certificate.isEmpty()
              ? "privateKey is set and certificate is not; TLS needs both"
              : "certificate is set and privateKey is not; TLS needs both");
    }
    if (certificate.isEmpty() && (!podTrust.isEmpty() || clientAuth != ClientAuth.NONE)) {
      throw new IllegalArgumentException(
          "%s is set and certificate is not; there is nothing to speak TLS with"
              .formatted(podTrust.isEmpty() ? "clientAuth" : "podTrust"));
    }
    if (clientAuth != ClientAuth.NONE && clientTrust.isEmpty()) {
      throw new IllegalArgumentException(
          "clientTrust is empty, clientAuth %s needs the authorities that sign callers"
              .formatted(clientAuth));
    }
    if (reloadMs < 100 || reloadMs > 3_600_000) {
      throw new IllegalArgumentException("reloadMs is " + reloadMs + ", allowed is 100 to 3600000");
    }
  }

  /** Whether this process has a certificate of its own. */
  boolean serves() {
    return !certificate.isEmpty();
  }

  /** Without the passphrase. */
  @Override
  public String toString() {
    return "TlsConfig[certificate=%s, privateKey=%s, clientAuth=%s]"
        .formatted(certificate, privateKey, clientAuth);
  }
}
