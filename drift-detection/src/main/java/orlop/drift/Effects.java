package orlop.drift;

import java.util.Arrays;

/**
 * Effect sizes: how large a change is, for people to read. None of them decides whether there is
 * one.
 *
 * @param shiftSd how far the mean moved, in standard deviations of the baseline; NaN when the
 *     baseline has no spread or the window no finite value
 * @param ks largest distance between the two cumulative distributions, 0 to 1
 * @param psi population stability index over ten groups of about equal mass
 * @param psiNull95 what PSI stays below 95 times in 100 when nothing has changed
 * @param window recent values that were compared with the baseline
 */
record Effects(double shiftSd, double ks, double psi, double psiNull95, int window) {
  /** 95th percentile of the chi-square distribution with 9 degrees of freedom. */
  private static final double CHI_SQUARE_9_95 = 16.918977604620448;

  /** Compares recent keys with the baseline. */
  static Effects of(Baseline baseline, long[] recent) {
    float[] values = new float[recent.length];
    double[] p = new double[Bins.GROUPS];
    double[] q = new double[Bins.GROUPS];
    double sum = 0;
    int finite = 0;
    for (int i = 0; i < recent.length; i++) {
      values[i] = RankKey.value(recent[i]);
      q[Bins.group(baseline.bin(recent[i]))]++;
      if (Float.isFinite(values[i])) {
        sum += values[i];
        finite++;
      }
    }
    for (int b = 0; b < Bins.COUNT; b++) {
      p[Bins.group(b)] += baseline.gaps()[b];
    }
    double shiftSd =
        finite == 0 || baseline.sd() == 0
            ? Double.NaN
            : (sum / finite - baseline.mean()) / baseline.sd();
    Arrays.sort(values);
    return new Effects(
        shiftSd,
        ks(baseline.grid(), values),
        psi(shares(p), shares(q)),
        psiNull95(recent.length, baseline.rows()),
        recent.length);
  }

  /** Kolmogorov-Smirnov distance of two samples in ascending order; equal values move together. */
  static double ks(float[] a, float[] b) {
    double distance = 0;
    int i = 0;
    int j = 0;
    while (i < a.length && j < b.length) {
      float next = Float.compare(a[i], b[j]) <= 0 ? a[i] : b[j];
      while (i < a.length && Float.compare(a[i], next) == 0) {
        i++;
      }
      while (j < b.length && Float.compare(b[j], next) == 0) {
        j++;
      }
      distance = Math.max(distance, Math.abs((double) i / a.length - (double) j / b.length));
    }
    return distance;
  }

  /** Population stability index, {@code sum (q - p) ln(q / p)}, of positive shares. */
  static double psi(double[] p, double[] q) {
    double psi = 0;
    for (int i = 0; i < p.length; i++) {
      psi += (q[i] - p[i]) * Math.log(q[i] / p[i]);
    }
    return psi;
  }

  /** Under no change PSI is about {@code (1/n + 1/m)} times a chi-square variable. */
  static double psiNull95(int n, int m) {
    return (1.0 / Math.max(1, n) + 1.0 / m) * CHI_SQUARE_9_95;
  }

  /** Counts to shares, with half a count added to each so that none is zero. */
  private static double[] shares(double[] counts) {
    double total = Arrays.stream(counts).sum() + 0.5 * counts.length;
    return Arrays.stream(counts).map(count -> (count + 0.5) / total).toArray();
  }
}
