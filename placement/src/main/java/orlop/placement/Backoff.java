package orlop.placement;

/**
 * Pauses between tries: doubling from the first to the longest, less a share of up to a quarter
 * that depends on the name alone, so that what failed together is not retried together.
 */
final class Backoff {
  private Backoff() {}

  /**
   * @param failures how many there were, at least 1
   */
  static long delayMs(long firstMs, long maxMs, int failures, String name) {
    long delayMs = firstMs;
    for (int i = 1; i < failures && delayMs < maxMs; i++) {
      delayMs = Math.min(maxMs, delayMs * 2);
    }
    long share = Math.floorMod(Rendezvous.weight(name, "backoff"), 256L);
    return delayMs - delayMs / 4 * share / 256;
  }
}
