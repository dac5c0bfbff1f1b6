package orlop.drift;

/**
 * The layout that all features share: 32 bins cut at quantiles of the reference, thin at both ends
 * (0.5, 1 and 2 percent) where a tail shows itself, and 26 equal ones between.
 */
final class Bins {
  static final int COUNT = 32;

  /** PSI is reported over this many groups of bins of about equal mass. */
  static final int GROUPS = 10;

  private static final double[] END_MASSES = {0.005, 0.01, 0.02};
  private static final double[] CUMULATIVE = cumulative();
  private static final int[] GROUP_OF = groups();

  private Bins() {}

  /** The share of the reference below the upper end of bin {@code bin}; 1 for the last. */
  static double upperMass(int bin) {
    return CUMULATIVE[bin];
  }

  /** The share of the reference inside a bin. */
  static double mass(int bin) {
    return CUMULATIVE[bin] - (bin == 0 ? 0 : CUMULATIVE[bin - 1]);
  }

  /** The group of a bin, from 0. */
  static int group(int bin) {
    return GROUP_OF[bin];
  }

  private static double[] cumulative() {
    double inner = 1;
    for (double mass : END_MASSES) {
      inner -= 2 * mass;
    }
    int ends = END_MASSES.length;
    double[] cumulative = new double[COUNT];
    double sum = 0;
    for (int b = 0; b < COUNT; b++) {
      int fromEnd = Math.min(b, COUNT - 1 - b);
      sum += fromEnd < ends ? END_MASSES[fromEnd] : inner / (COUNT - 2 * ends);
      cumulative[b] = sum;
    }
    cumulative[COUNT - 1] = 1;
    return cumulative;
  }

  private static int[] groups() {
    int[] groups = new int[COUNT];
    for (int b = 0; b < COUNT; b++) {
      double middle = CUMULATIVE[b] - mass(b) / 2;
      groups[b] = Math.min(GROUPS - 1, (int) (middle * GROUPS));
    }
    return groups;
  }
}
