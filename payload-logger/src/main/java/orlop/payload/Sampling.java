package orlop.payload;

/**
 * Which calls are chosen: a function of the id and the rate alone, so request and response agree,
 * and so do all pods. Immutable.
 */
final class Sampling {
  private final long below;

  /**
   * @param rate share of the calls, 0 to 1
   */
  Sampling(double rate) {
    below = Math.round(rate * (1L << 32));
  }

  /** Whether any call can be chosen. */
  boolean any() {
    return below > 0;
  }

  boolean chooses(String correlationId) {
    return (mix(correlationId.hashCode()) & 0xFFFF_FFFFL) < below;
  }

  /** The finaliser of SplitMix64: spreads the 32 bits of a string's hash over 64. */
  private static long mix(int hash) {
    long z = hash * 0x9E37_79B9_7F4A_7C15L;
    z = (z ^ (z >>> 30)) * 0xBF58_476D_1CE4_E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D0_49BB_1331_11EBL;
    return z ^ (z >>> 31);
  }
}
