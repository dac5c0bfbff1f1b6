package orlop.runtime;

import java.util.Arrays;

/**
 * The leaves of LightGBM's linear trees: each a constant and a weighted sum of some columns, and a
 * plain value for rows in which one of these columns is missing. Filled by one thread, then read by
 * any.
 */
final class LinearLeaves {
  private double[] plain = new double[16];
  private double[] constant = new double[16];
  private int[] start = new int[17];
  private int[] column = new int[0];
  private double[] weight = new double[0];
  private int leaves;

  /** Adds a leaf and tells its number. */
  int add(double plainValue, double constantTerm, int[] columns, double[] weights) {
    if (leaves == plain.length) {
      plain = Arrays.copyOf(plain, 2 * leaves);
      constant = Arrays.copyOf(constant, 2 * leaves);
      start = Arrays.copyOf(start, 2 * leaves + 1);
    }
    int from = start[leaves];
    int to = Math.addExact(from, columns.length);
    if (to > column.length) {
      column = Arrays.copyOf(column, to + (to >> 1));
      weight = Arrays.copyOf(weight, to + (to >> 1));
    }
    System.arraycopy(columns, 0, column, from, columns.length);
    System.arraycopy(weights, 0, weight, from, columns.length);
    plain[leaves] = plainValue;
    constant[leaves] = constantTerm;
    start[leaves + 1] = to;
    return leaves++;
  }

  void trim() {
    plain = Arrays.copyOf(plain, leaves);
    constant = Arrays.copyOf(constant, leaves);
    column = Arrays.copyOf(column, start[leaves]);
    weight = Arrays.copyOf(weight, start[leaves]);
    start = Arrays.copyOf(start, leaves + 1);
  }

  double value(int leaf, double[] values, int row) {
    double sum = constant[leaf];
    for (int i = start[leaf]; i < start[leaf + 1]; i++) {
      double value = values[row + column[i]];
      if (Double.isNaN(value)) {
        return plain[leaf];
      }
      sum += weight[i] * value;
    }
    return sum;
  }

  long sizeBytes() {
    return 20L * leaves + 12L * start[leaves];
  }
}
