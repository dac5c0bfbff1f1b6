package orlop.runtime;

import java.util.Map;

/**
 * Booster gblinear: a weight per feature and output, the outputs of a feature side by side, and a
 * row of biases last. Missing values add nothing.
 *
 * @param base margin that each output starts from
 */
record XgboostLinear(
    float[] weights,
    float[] base,
    int features,
    Objective objective,
    Map<String, String> properties)
    implements Ensemble {

  @Override
  public int outputs() {
    return base.length;
  }

  @Override
  public int iterations() {
    return 0;
  }

  @Override
  public long sizeBytes() {
    return 4L * (weights.length + base.length);
  }

  @Override
  public boolean margins(
      FeatureTensor input, int fromIteration, int toIteration, double[] into, Cancellation cancel) {
    int outputs = base.length;
    float[] values = new float[features];
    for (int row = 0; row < input.rows(); row++) {
      if (cancel.isCancelled()) {
        return false;
      }
      input.floats(row * features, features, values);
      for (int output = 0; output < outputs; output++) {
        float sum = base[output] + weights[features * outputs + output];
        for (int feature = 0; feature < features; feature++) {
          if (!Float.isNaN(values[feature])) {
            sum += values[feature] * weights[feature * outputs + output];
          }
        }
        into[row * outputs + output] = sum;
      }
    }
    return true;
  }
}
