package orlop.payload;

import java.util.concurrent.atomic.AtomicLong;

/**
 * A token bucket of one second's worth, as the generic cell rate algorithm: one number, the time at
 * which the bucket will be full again. Thread-safe, lock-free, O(1). Times in nanoseconds from any
 * monotonic origin.
 */
final class RateLimit {
  private static final long BURST_NS = 1_000_000_000L;

  private final long costNs;
  private final AtomicLong fullAtNs;

  /** {@code perSecond} 0 means no limit. */
  RateLimit(int perSecond, long nowNs) {
    this.costNs = perSecond == 0 ? 0 : Math.max(1, BURST_NS / perSecond);
    this.fullAtNs = new AtomicLong(nowNs);
  }

  /** Takes one token, or says that there is none. */
  boolean take(long nowNs) {
    if (costNs == 0) {
      return true;
    }
    while (true) {
      long fullAt = fullAtNs.get();
      // Compared by difference: nanoTime may be negative and may wrap.
      long after = (fullAt - nowNs > 0 ? fullAt : nowNs) + costNs;
      if (after - nowNs > BURST_NS) {
        return false;
      }
      if (fullAtNs.compareAndSet(fullAt, after)) {
        return true;
      }
    }
  }
}
