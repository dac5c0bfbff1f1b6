package orlop.registry;

import java.net.URI;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Where etcd is and how to use it.
 *
 * @param endpoints {@code http://host:port} or {@code https://host:port} of the members of one etcd
 *     cluster, at least one, all of one scheme
 * @param root first part of every key
 * @param mesh name of the mesh, second part of every key; meshes do not see one another
 * @param leaseTtlMs how long a pod's keys outlive its last sign of life; 2,000 to 600,000, rounded
 *     up to whole seconds
 * @param timeoutMs most time that one call to etcd may take; 100 to 600,000
 * @param maxInFlightWrites writes sent and not answered yet; 1 to 4,096 (etcd refuses writes at
 *     some 5,000)
 * @param pageKeys keys per page when everything is read; 1 to 100,000
 * @param user etcd user, or null without authentication
 * @param password of the user; null without
 * @param tls the certificates, where endpoints are {@code https}
 */
public record RegistryConfig(
    List<String> endpoints,
    String root,
    String mesh,
    long leaseTtlMs,
    long timeoutMs,
    int maxInFlightWrites,
    int pageKeys,
    @Nullable String user,
    @Nullable String password,
    RegistryTls tls) {

  public RegistryConfig {
    endpoints = List.copyOf(endpoints);
    if (endpoints.isEmpty()) {
      throw new IllegalArgumentException("endpoints is empty: name at least one http://host:port");
    }
    endpoints.forEach(RegistryConfig::checkEndpoint);
    long secure = endpoints.stream().filter(RegistryConfig::isSecure).count();
    if (secure != 0 && secure != endpoints.size()) {
      throw new IllegalArgumentException(
          "endpoints: " + endpoints + " mix http and https: all members speak the same");
    }
    if (secure == 0 && !tls.equals(RegistryTls.DEFAULTS)) {
      throw new IllegalArgumentException(
          "tls is set and endpoints %s are not https".formatted(endpoints));
    }
    if (root.isEmpty() || root.startsWith("/") || root.endsWith("/")) {
      throw new IllegalArgumentException(
          "root '" + root + "' must have at least one character and no '/' at its ends");
    }
    if (mesh.isEmpty()) {
      throw new IllegalArgumentException("mesh is empty: it must have at least one character");
    }
    checkRange("leaseTtlMs", leaseTtlMs, 2_000, 600_000);
    checkRange("timeoutMs", timeoutMs, 100, 600_000);
    checkRange("maxInFlightWrites", maxInFlightWrites, 1, 4_096);
    checkRange("pageKeys", pageKeys, 1, 100_000);
    if ((user == null) != (password == null)) {
      throw new IllegalArgumentException("user and password must be given together or not at all");
    }
  }

  /** The mesh {@code default} under {@code orlop} in an etcd on this machine. */
  public static RegistryConfig defaults() {
    return of("http://127.0.0.1:2379", "default");
  }

  /** Defaults but for the endpoint and the mesh. */
  public static RegistryConfig of(String endpoint, String mesh) {
    return new RegistryConfig(
        List.of(endpoint),
        "orlop",
        mesh,
        10_000,
        5_000,
        512,
        5_000,
        null,
        null,
        RegistryTls.DEFAULTS);
  }

  /** The same with another lease and timeout. */
  public RegistryConfig withTimes(long newLeaseTtlMs, long newTimeoutMs) {
    return new RegistryConfig(
        endpoints,
        root,
        mesh,
        newLeaseTtlMs,
        newTimeoutMs,
        maxInFlightWrites,
        pageKeys,
        user,
        password,
        tls);
  }

  /** Whether endpoints are {@code https}. */
  boolean secure() {
    return isSecure(endpoints.getFirst());
  }

  private static boolean isSecure(String endpoint) {
    return "https".equals(uri(endpoint).getScheme());
  }

  static URI uri(String endpoint) {
    return URI.create(endpoint);
  }

  private static void checkEndpoint(String endpoint) {
    URI uri;
    try {
      uri = uri(endpoint);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "endpoints: '" + endpoint + "' is no URI: expected http://host:port", e);
    }
    boolean known = "http".equals(uri.getScheme()) || "https".equals(uri.getScheme());
    if (!known || uri.getHost() == null || uri.getPort() < 1) {
      throw new IllegalArgumentException(
          "endpoints: '" + endpoint + "' must be http://host:port or https://host:port");
    }
  }

  private static void checkRange(String key, long value, long least, long most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "%s is %d: allowed are %d to %d".formatted(key, value, least, most));
    }
  }

  /** Without the password. */
  @Override
  public String toString() {
    return "RegistryConfig[endpoints=%s, root=%s, mesh=%s, leaseTtlMs=%d, timeoutMs=%d, maxInFlightWrites=%d, pageKeys=%d, user=%s, tls=%s]"
        .formatted(
            endpoints, root, mesh, leaseTtlMs, timeoutMs, maxInFlightWrites, pageKeys, user, tls);
  }
}
