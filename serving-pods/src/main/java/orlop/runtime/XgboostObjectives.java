package orlop.runtime;

import java.util.List;
import org.jspecify.annotations.Nullable;
import orlop.runtime.Objective.Transform;

/** What the objectives of XGBoost do to margins, and to the base score. Stateless. */
final class XgboostObjectives {

  /** All that are known, for messages. */
  static final List<String> NAMES =
      List.of(
          "binary:hinge",
          "binary:logistic",
          "binary:logitraw",
          "count:poisson",
          "multi:softmax",
          "multi:softprob",
          "rank:map",
          "rank:ndcg",
          "rank:pairwise",
          "reg:absoluteerror",
          "reg:gamma",
          "reg:linear",
          "reg:logistic",
          "reg:pseudohubererror",
          "reg:quantileerror",
          "reg:squarederror",
          "reg:squaredlogerror",
          "reg:tweedie",
          "survival:aft",
          "survival:cox");

  private XgboostObjectives() {}

  /** Null when there is none of that name. */
  static @Nullable Objective of(String name, int classes) {
    return switch (name) {
      case "binary:logistic" -> objective(name, Transform.SIGMOID, 2);
      case "reg:logistic" -> objective(name, Transform.SIGMOID, 0);
      case "binary:hinge" -> objective(name, Transform.STEP, 0);
      case "multi:softprob" -> objective(name, Transform.SOFTMAX, classes);
      case "multi:softmax" -> objective(name, Transform.ARGMAX, classes);
      case "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft" ->
          objective(name, Transform.EXP, 0);
      default -> NAMES.contains(name) ? objective(name, Transform.IDENTITY, 0) : null;
    };
  }

  /** The margin that a base score stands for; the file keeps it as a prediction. */
  static float margin(String name, float baseScore) {
    return switch (name) {
      case "binary:logistic", "reg:logistic" -> (float) -Math.log(1f / baseScore - 1f);
      case "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft" ->
          (float) Math.log(baseScore);
      default -> baseScore;
    };
  }

  private static Objective objective(String name, Transform transform, int classes) {
    return new Objective(name, transform, classes, 1, true);
  }
}
