package orlop.runtime;

import java.util.Arrays;
import java.util.Map;

/**
 * Booster gbtree or dart. Adds in floats, the base first and then tree by tree, as the library
 * does, so margins are the library's bit for bit.
 *
 * @param base margin that each output starts from
 * @param starts first tree of each iteration, and the end
 */
record XgboostTrees(
    FloatForest forest,
    float[] base,
    int[] starts,
    Objective objective,
    Map<String, String> properties)
    implements Ensemble {

  @Override
  public int features() {
    return forest.features;
  }

  @Override
  public int outputs() {
    return base.length;
  }

  @Override
  public int iterations() {
    return starts.length - 1;
  }

  @Override
  public long sizeBytes() {
    return forest.sizeBytes() + 4L * (base.length + starts.length);
  }

  @Override
  public boolean margins(
      FeatureTensor input, int fromIteration, int toIteration, double[] into, Cancellation cancel) {
    float[] sums = new float[into.length];
    if (base.length == 1) {
      Arrays.fill(sums, base[0]);
    } else {
      for (int at = 0; at < sums.length; at += base.length) {
        System.arraycopy(base, 0, sums, at, base.length);
      }
    }
    boolean done =
        forest.add(
            input,
            input.rows(),
            starts[fromIteration],
            starts[toIteration],
            base.length,
            sums,
            cancel);
    for (int i = 0; i < sums.length; i++) {
      into[i] = sums[i];
    }
    return done;
  }
}
