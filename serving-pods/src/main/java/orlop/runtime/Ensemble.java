package orlop.runtime;

import java.util.Map;

/** A model of one of the tree libraries, ready to evaluate. Thread-safe. */
sealed interface Ensemble permits XgboostTrees, XgboostLinear, LightgbmTrees {

  /** Columns that a row must have. */
  int features();

  /** Raw margins per row. */
  int outputs();

  /** Rounds of boosting; 0 for linear models, which know no ranges of them. */
  int iterations();

  Objective objective();

  /** Whether predictions come from margins divided by the number of rounds. */
  default boolean average() {
    return false;
  }

  /** Bytes on the heap, with one scratch buffer. */
  long sizeBytes();

  /** What metadata tells besides, such as the best iteration. */
  Map<String, String> properties();

  /**
   * Raw margins, row by row, of the rounds of a range.
   *
   * @return false when cancelled
   */
  boolean margins(
      FeatureTensor input, int fromIteration, int toIteration, double[] into, Cancellation cancel);
}
