package orlop.payload;

import java.net.URI;
import java.util.List;

/**
 * Observers of requests and responses, beside the payload log. Immutable. The bounds hold for each
 * observer by itself.
 *
 * @param uris {@code http://}, {@code https://} or {@code logger://}, at most 16. A query names the
 *     one model or alias it observes, a fragment the one method; without, or with {@code *}, all.
 *     Default none
 * @param parallelRequests requests to one endpoint at the same time, 1 to 64; default 2
 * @param queueBytes memory that waiting payloads may hold, 64 KiB to 1 GiB; default 16 MiB
 * @param maxPayloadBytes the largest message that is observed, 1 KiB to 512 MiB and at most {@code
 *     queueBytes}; default 4 MiB
 * @param connectTimeoutMs bound on connecting, 1 to 60,000; default 1,000
 * @param requestTimeoutMs bound on one request with its answer, 1 to 600,000; default 5,000
 * @param retryPauseMs how long nothing is sent after a request that failed, 0 to 600,000; default
 *     1,000
 */
public record ProcessorsConfig(
    List<String> uris,
    int parallelRequests,
    long queueBytes,
    int maxPayloadBytes,
    int connectTimeoutMs,
    int requestTimeoutMs,
    int retryPauseMs) {
  private static final int MAX_URIS = 16;

  public ProcessorsConfig {
    uris = List.copyOf(uris);
    if (uris.size() > MAX_URIS) {
      throw new IllegalArgumentException(
          "processors uris names " + uris.size() + " endpoints, allowed are " + MAX_URIS);
    }
    uris.forEach(ProcessorsConfig::checked);
    within("parallelRequests", parallelRequests, 1, 64);
    within("queueBytes", queueBytes, 64L << 10, 1L << 30);
    within("maxPayloadBytes", maxPayloadBytes, 1 << 10, Math.min(512L << 20, queueBytes));
    within("connectTimeoutMs", connectTimeoutMs, 1, 60_000);
    within("requestTimeoutMs", requestTimeoutMs, 1, 600_000);
    within("retryPauseMs", retryPauseMs, 0, 600_000);
  }

  /** No observers. */
  public static ProcessorsConfig defaults() {
    return new ProcessorsConfig(List.of(), 2, 16L << 20, 4 << 20, 1_000, 5_000, 1_000);
  }

  /** The defaults for these endpoints. */
  public static ProcessorsConfig of(List<String> uris) {
    ProcessorsConfig d = defaults();
    return new ProcessorsConfig(
        uris,
        d.parallelRequests,
        d.queueBytes,
        d.maxPayloadBytes,
        d.connectTimeoutMs,
        d.requestTimeoutMs,
        d.retryPauseMs);
  }

  static URI checked(String text) {
    URI uri;
    try {
      // Java knows no hierarchical URI without anything behind the slashes.
      uri = URI.create(text.replaceFirst("^logger://(?=$|[?#])", "logger:///"));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "processors uris holds '" + text + "', which is no URI", e);
    }
    String scheme = String.valueOf(uri.getScheme());
    boolean http = scheme.equals("http") || scheme.equals("https");
    if (!http && !scheme.equals("logger")) {
      throw new IllegalArgumentException(
          "processors uris holds '" + text + "', allowed are http://, https:// and logger://");
    }
    if (http && uri.getHost() == null) {
      throw new IllegalArgumentException("processors uris holds '" + text + "', without a host");
    }
    return uri;
  }

  private static void within(String key, long value, long least, long most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "processors " + key + " is " + value + ", allowed is " + least + " to " + most);
    }
  }
}
