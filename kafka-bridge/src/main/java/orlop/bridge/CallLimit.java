package orlop.bridge;

/**
 * How many records may be in the mesh at once: one more for each that succeeds, up to a ceiling,
 * and half as many when the mesh is overloaded or away, at most once in 100 ms and never below one
 * (additive increase, multiplicative decrease). Not thread-safe: owned by the poll thread.
 */
final class CallLimit {
  private static final long CALM_NS = 100_000_000;

  private final int ceiling;
  private int limit;
  private long lastCutNs;
  private boolean cut;

  CallLimit(int ceiling) {
    this.ceiling = ceiling;
    this.limit = ceiling;
  }

  int limit() {
    return limit;
  }

  void succeeded() {
    limit = Math.min(ceiling, limit + 1);
  }

  void overloaded(long nowNs) {
    if (!cut || nowNs - lastCutNs > CALM_NS) {
      limit = Math.max(1, limit / 2);
      lastCutNs = nowNs;
      cut = true;
    }
  }
}
