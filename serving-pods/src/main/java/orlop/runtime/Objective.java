package orlop.runtime;

/**
 * What becomes of raw margins: the output transform that the library applies in {@code predict}.
 *
 * @param name as in the file, told in metadata
 * @param classes of a classifier, two for a binary one; 0 when it is none
 * @param steepness factor inside the sigmoid
 * @param single whether the library computes in 32-bit floats
 */
record Objective(String name, Transform transform, int classes, double steepness, boolean single) {

  /** The output transforms of both libraries. */
  enum Transform {
    IDENTITY,
    /** 1 / (1 + e^-x). */
    SIGMOID,
    EXP,
    /** Over the outputs of a row. */
    SOFTMAX,
    /** Index of the greatest output of a row, the first of several. */
    ARGMAX,
    /** 1 above 0, else 0. */
    STEP,
    /** x·|x|. */
    SIGNED_SQUARE,
    /** log(1 + e^x). */
    LOG1P_EXP
  }

  /** Numbers per row of {@link #predict}, given those of the margins. */
  int predictions(int outputs) {
    return transform == Transform.ARGMAX ? 1 : outputs;
  }

  double[] predict(double[] margins, int rows, int outputs) {
    if (transform == Transform.SOFTMAX) {
      return softmax(margins, rows, outputs);
    }
    if (transform == Transform.ARGMAX) {
      double[] best = new double[rows];
      for (int row = 0; row < rows; row++) {
        best[row] = greatest(margins, row * outputs, outputs);
      }
      return best;
    }
    double[] result = new double[rows * outputs];
    for (int i = 0; i < result.length; i++) {
      result[i] = single ? one((float) margins[i]) : one(margins[i]);
    }
    return result;
  }

  /** A column for each class; only for classifiers. */
  double[] probabilities(double[] margins, double[] predictions, int rows, int outputs) {
    if (transform == Transform.ARGMAX) {
      return softmax(margins, rows, outputs);
    }
    if (outputs > 1) {
      return predictions;
    }
    double[] both = new double[2 * rows];
    for (int row = 0; row < rows; row++) {
      double one = predictions[row];
      both[2 * row] = single ? 1f - (float) one : 1 - one;
      both[2 * row + 1] = one;
    }
    return both;
  }

  /** Index of the most likely class of each row, the first of several. */
  static long[] classes(double[] probabilities, int rows, int classes) {
    long[] best = new long[rows];
    for (int row = 0; row < rows; row++) {
      best[row] = greatest(probabilities, row * classes, classes);
    }
    return best;
  }

  private static int greatest(double[] values, int from, int count) {
    int best = 0;
    for (int i = 1; i < count; i++) {
      if (values[from + i] > values[from + best]) {
        best = i;
      }
    }
    return best;
  }

  private double one(double x) {
    return switch (transform) {
      case SIGMOID -> 1 / (1 + Math.exp(-steepness * x));
      case EXP -> Math.exp(x);
      case SIGNED_SQUARE -> x * Math.abs(x);
      case LOG1P_EXP -> Math.log1p(Math.exp(x));
      case STEP -> x > 0 ? 1 : 0;
      case IDENTITY, SOFTMAX, ARGMAX -> x;
    };
  }

  private float one(float x) {
    return switch (transform) {
      // The bound is the library's: e^x stays finite.
      case SIGMOID -> 1f / ((float) Math.exp(Math.min(-x, 88.7f)) + 1f);
      case EXP -> (float) Math.exp(x);
      default -> (float) one((double) x);
    };
  }

  private double[] softmax(double[] margins, int rows, int outputs) {
    double[] result = new double[rows * outputs];
    for (int row = 0; row < rows; row++) {
      int from = row * outputs;
      double max = margins[from + greatest(margins, from, outputs)];
      double sum = 0;
      for (int i = from; i < from + outputs; i++) {
        result[i] =
            single
                ? (float) Math.exp((float) margins[i] - (float) max)
                : Math.exp(margins[i] - max);
        sum += result[i];
      }
      for (int i = from; i < from + outputs; i++) {
        result[i] = single ? (float) result[i] / (float) sum : result[i] / sum;
      }
    }
    return result;
  }
}
