package orlop.placement;

/**
 * The inflation of the GreedyDual family: a level that never falls, and what it was at any moment.
 * Uses are learnt of after they happened, so the level at the time of use is looked up. Keeps 1,024
 * to 2,048 steps; older ones become coarser. O(log steps).
 */
final class InflationClock {
  private static final int STEPS = 2_048;

  private final long[] sinceNs = new long[STEPS];
  private final double[] levels = new double[STEPS];
  private int steps = 1;

  InflationClock() {
    sinceNs[0] = Long.MIN_VALUE;
  }

  double at(long timeNs) {
    if (timeNs >= sinceNs[steps - 1]) {
      return levels[steps - 1];
    }
    int low = 0;
    int high = steps - 1;
    while (low < high) {
      int middle = (low + high + 1) >>> 1;
      if (sinceNs[middle] <= timeNs) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return levels[low];
  }

  /** From now on it is at least this. */
  void riseTo(double level, long nowNs) {
    if (level <= levels[steps - 1]) {
      return;
    }
    if (sinceNs[steps - 1] < nowNs) {
      if (steps == STEPS) {
        thin();
      }
      sinceNs[steps++] = nowNs;
    }
    levels[steps - 1] = level;
  }

  private void thin() {
    int kept = 0;
    for (int i = 0; i < STEPS; i += 2) {
      sinceNs[kept] = sinceNs[i];
      levels[kept++] = levels[i];
    }
    steps = kept;
  }
}
