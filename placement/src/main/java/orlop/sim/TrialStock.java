package orlop.sim;

import java.util.SplittableRandom;
import orlop.placement.Model;

/**
 * What a trial's models are: log-normal sizes (median 60 MB, 1 MB to 4 GB), one of three formats,
 * and how long each takes. The times vary by a fifth from model to model, so that what is learnt by
 * format is no oracle. Pure but for the models it keeps.
 */
final class TrialStock {
  /** From the store to a pod's disk. */
  static final double PULL_BYTES_PER_S = 300e6;

  private static final String[] TYPES = {"quick", "plain", "heavy"};
  private static final double[] LOAD_BYTES_PER_S = {1_500e6, 400e6, 80e6};
  private static final double SPREAD = 0.2;

  private final Model[] models;
  private final int[] formats;
  private final double[] factors;

  /**
   * @param alike whether all have the median size and the commonest format
   */
  TrialStock(long seed, int count, boolean alike) {
    Stock stock = Stock.of(seed);
    models = new Model[count];
    formats = new int[count];
    factors = new double[count];
    for (int i = 0; i < count; i++) {
      SplittableRandom random = new SplittableRandom(seed * 31 + i);
      int tenth = random.nextInt(10);
      formats[i] = alike || tenth < 6 ? 0 : tenth < 9 ? 1 : 2;
      factors[i] = Math.exp(SPREAD * random.nextGaussian());
      long bytes = alike ? stock.medianBytes() : stock.item(i).sizeBytes();
      models[i] =
          new Model(
              "model-" + i,
              TYPES[formats[i]],
              "",
              "",
              bytes,
              0,
              0,
              java.util.Set.of(),
              java.util.Set.of(),
              0);
    }
  }

  Model model(int number) {
    return models[number];
  }

  static int number(String modelId) {
    return Integer.parseInt(modelId.substring("model-".length()));
  }

  Model model(String id) {
    return models[number(id)];
  }

  /** From the disk into memory. */
  long loadMs(Model model) {
    int i = number(model.id());
    return (long)
        (factors[i] * (150 + model.sizeHintBytes() * 1000 / LOAD_BYTES_PER_S[formats[i]]));
  }

  long pullMs(Model model) {
    return (long) (factors[number(model.id())] * model.sizeHintBytes() * 1000 / PULL_BYTES_PER_S);
  }
}
