package orlop.runtime;

import java.util.Map;

/**
 * A LightGBM model. Adds in doubles from zero, tree by tree, as the library does.
 *
 * @param outputs trees per iteration, one for each output
 * @param average whether predictions come from the mean over the iterations (random forests)
 */
record LightgbmTrees(
    DoubleForest forest,
    int outputs,
    boolean average,
    Objective objective,
    Map<String, String> properties)
    implements Ensemble {

  @Override
  public int features() {
    return forest.features;
  }

  @Override
  public int iterations() {
    return forest.trees() / outputs;
  }

  @Override
  public long sizeBytes() {
    return forest.sizeBytes();
  }

  @Override
  public boolean margins(
      FeatureTensor input, int fromIteration, int toIteration, double[] into, Cancellation cancel) {
    return forest.add(
        input, input.rows(), fromIteration * outputs, toIteration * outputs, outputs, into, cancel);
  }
}
