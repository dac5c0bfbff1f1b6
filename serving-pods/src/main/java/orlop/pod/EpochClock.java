package orlop.pod;

/**
 * Nanoseconds since the epoch that never run backwards in this process: the wall clock at the
 * start, carried on by the monotonic one. Good until the year 2262. Thread-safe.
 */
final class EpochClock {
  private final long offsetNs = System.currentTimeMillis() * 1_000_000 - System.nanoTime();

  long nowNs() {
    return offsetNs + System.nanoTime();
  }

  long nowMs() {
    return nowNs() / 1_000_000;
  }
}
