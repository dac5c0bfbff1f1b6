package orlop.runtime;

import java.util.List;
import orlop.runtime.Objective.Transform;

/** What the objectives of LightGBM do to raw scores. Stateless. */
final class LightgbmObjectives {
  private static final List<String> REGRESSIONS =
      List.of("regression", "regression_l1", "huber", "fair", "quantile", "mape");
  private static final List<String> EXPONENTIALS = List.of("poisson", "gamma", "tweedie");
  private static final List<String> RANKINGS = List.of("lambdarank", "rank_xendcg");

  private LightgbmObjectives() {}

  /**
   * @param line name and settings, as in {@code binary sigmoid:1}; empty for a custom objective
   * @param classes as the head of the file tells
   * @throws IllegalArgumentException with what was expected
   */
  static Objective of(String line, int classes) {
    List<String> tokens = List.of(line.split(" +"));
    String name = tokens.getFirst();
    return switch (name) {
      case "binary" -> objective(line, Transform.SIGMOID, 2, sigmoid(tokens));
      case "multiclass", "softmax" -> objective(line, Transform.SOFTMAX, classes, 1);
      case "multiclassova" -> objective(line, Transform.SIGMOID, classes, sigmoid(tokens));
      case "cross_entropy" -> objective(line, Transform.SIGMOID, 0, 1);
      case "cross_entropy_lambda" -> objective(line, Transform.LOG1P_EXP, 0, 1);
      case "", "custom", "none" -> objective(line, Transform.IDENTITY, 0, 1);
      default -> {
        if (REGRESSIONS.contains(name)) {
          boolean squared = tokens.contains("sqrt");
          yield objective(line, squared ? Transform.SIGNED_SQUARE : Transform.IDENTITY, 0, 1);
        }
        if (EXPONENTIALS.contains(name)) {
          yield objective(line, Transform.EXP, 0, 1);
        }
        if (RANKINGS.contains(name)) {
          yield objective(line, Transform.IDENTITY, 0, 1);
        }
        throw new IllegalArgumentException(
            "expected binary, multiclass, multiclassova, cross_entropy, cross_entropy_lambda, one"
                + " of "
                + REGRESSIONS
                + ", "
                + EXPONENTIALS
                + ", "
                + RANKINGS
                + ", or none");
      }
    };
  }

  private static double sigmoid(List<String> tokens) {
    for (String token : tokens) {
      if (token.startsWith("sigmoid:")) {
        double value = Double.parseDouble(token.substring("sigmoid:".length()));
        if (value > 0 && value < Double.POSITIVE_INFINITY) {
          return value;
        }
        throw new IllegalArgumentException("expected a positive sigmoid");
      }
    }
    return 1;
  }

  private static Objective objective(
      String line, Transform transform, int classes, double steepness) {
    return new Objective(line, transform, classes, steepness, false);
  }
}
