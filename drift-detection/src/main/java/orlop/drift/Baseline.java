package orlop.drift;

import java.util.Arrays;

/**
 * What a feature's values looked like while nothing was wrong. Immutable.
 *
 * <p>Of m reference values in rank order, 31 order statistics are kept as the edges between bins:
 * bin b then spans {@code gaps[b]} of the m+1 gaps that the reference leaves for the next value.
 *
 * @param edges {@link RankKey}s between neighbouring bins, ascending
 * @param gaps gaps of the reference inside each bin; they sum to {@code rows + 1}
 * @param rows m
 * @param mean of the finite values; 0 when there are none
 * @param sd standard deviation of the finite values
 * @param nonFinite number of NaN and infinite values
 * @param grid at most 256 evenly spaced order statistics, ascending, for effect sizes
 */
record Baseline(
    long[] edges, int[] gaps, int rows, double mean, double sd, int nonFinite, float[] grid) {
  /** Below this the thin bins at the ends would be empty. */
  static final int LEAST_ROWS = 50;

  private static final int GRID = 256;

  /** Summarises the first {@code rows} keys. O(rows log rows). */
  static Baseline of(long[] keys, int rows) {
    long[] sorted = Arrays.copyOf(keys, rows);
    Arrays.sort(sorted);
    long[] edges = new long[Bins.COUNT - 1];
    int[] gaps = new int[Bins.COUNT];
    int below = 0;
    for (int b = 0; b < Bins.COUNT - 1; b++) {
      // The rank, from 1, of the order statistic that ends this bin.
      int rank = (int) Math.round(Bins.upperMass(b) * (rows + 1));
      rank = Math.max(1, Math.min(rows, Math.max(rank, below)));
      edges[b] = sorted[rank - 1];
      gaps[b] = rank - below;
      below = rank;
    }
    gaps[Bins.COUNT - 1] = rows + 1 - below;
    return moments(sorted, edges, gaps);
  }

  private static Baseline moments(long[] sorted, long[] edges, int[] gaps) {
    double sum = 0;
    int finite = 0;
    for (long key : sorted) {
      float value = RankKey.value(key);
      if (Float.isFinite(value)) {
        sum += value;
        finite++;
      }
    }
    double mean = finite == 0 ? 0 : sum / finite;
    double squares = 0;
    for (long key : sorted) {
      float value = RankKey.value(key);
      if (Float.isFinite(value)) {
        squares += (value - mean) * (value - mean);
      }
    }
    double sd = finite < 2 ? 0 : Math.sqrt(squares / (finite - 1));
    return new Baseline(edges, gaps, sorted.length, mean, sd, sorted.length - finite, grid(sorted));
  }

  private static float[] grid(long[] sorted) {
    float[] grid = new float[Math.min(GRID, sorted.length)];
    for (int i = 0; i < grid.length; i++) {
      grid[i] = RankKey.value(sorted[(int) ((i + 0.5) * sorted.length / grid.length)]);
    }
    return grid;
  }

  /** The bin of a key: the number of edges below it. Five comparisons. */
  int bin(long key) {
    int low = 0;
    int high = Bins.COUNT - 1;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (edges[middle] < key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}
