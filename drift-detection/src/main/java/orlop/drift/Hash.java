package orlop.drift;

/** Deterministic uniforms: the same event gives the same row and the same tie-breakers again. */
final class Hash {
  private static final long GOLDEN = 0x9E37_79B9_7F4A_7C15L;

  private Hash() {}

  /** The seed of one event: its id, and its place in the log for ids that repeat. */
  static long seed(String id, int partition, long offset) {
    long hash = 0xCBF2_9CE4_8422_2325L;
    for (int i = 0; i < id.length(); i++) {
      hash = (hash ^ id.charAt(i)) * 0x100_0000_01B3L;
    }
    return mix(mix(hash + partition) + offset);
  }

  /** The tie-breaker of feature number {@code feature} in the event with this seed. */
  static int tie(long seed, int feature) {
    return (int) (mix(seed + (feature + 1) * GOLDEN) >>> 32);
  }

  /** One of {@code rows} rows, each as likely as the other. */
  static long row(long seed, long rows) {
    return Long.remainderUnsigned(mix(seed), rows);
  }

  /** The finaliser of SplitMix64, a bijection. */
  static long mix(long value) {
    long z = value + GOLDEN;
    z = (z ^ (z >>> 30)) * 0xBF58_476D_1CE4_E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D0_49BB_1331_11EBL;
    return z ^ (z >>> 31);
  }
}
