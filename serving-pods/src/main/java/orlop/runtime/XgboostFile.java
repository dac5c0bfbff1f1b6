package orlop.runtime;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import orlop.runtime.Objective.Transform;

/**
 * Reads a model that XGBoost 1.0 or later saved as JSON or UBJSON. Trees are laid out one by one as
 * they come, so that beside the result only one tree is held as the file tells it. Owned by one
 * thread.
 */
final class XgboostFile {
  /** Outputs that a model may claim without a tree for each. */
  private static final int MAX_OUTPUTS_WITHOUT_TREES = 4096;

  private final Path file;
  private final ModelDocument doc;
  private final ForestBuilder builder;
  private final XgboostTreeReader trees;
  private final Map<String, String> attributes = new LinkedHashMap<>();
  private boolean sawLearner;
  private String booster = "";
  private String objectiveName = "";
  private String baseScore = "";
  private int features;
  private int classes;
  private int targets;
  private int parallelTrees = 1;
  private int claimedTrees = -1;
  private int @Nullable [] treeInfo;
  private int @Nullable [] starts;
  private float @Nullable [] dropWeights;
  private float @Nullable [] linearWeights;

  private XgboostFile(Path file, ModelDocument doc, boolean counting) {
    this.file = file;
    this.doc = doc;
    this.builder = new ForestBuilder(false, counting);
    this.trees = new XgboostTreeReader(doc, builder);
  }

  /**
   * @param counting whether only {@link Ensemble#sizeBytes} of the result will be asked for
   */
  static Ensemble read(Path file, boolean counting) throws IOException {
    try (ModelDocument doc = open(file)) {
      XgboostFile reader = new XgboostFile(file, doc, counting);
      doc.object(reader::rootField);
      return reader.finish();
    }
  }

  /** Tells the formats apart by the first two bytes; file names mean nothing to the library too. */
  private static ModelDocument open(Path file) throws IOException {
    byte[] head;
    try (InputStream in = Files.newInputStream(file)) {
      head = in.readNBytes(64);
    }
    int at = 0;
    while (at < head.length && Character.isWhitespace(head[at])) {
      at++;
    }
    if (at + 1 < head.length && head[at] == '{') {
      boolean json = head[at + 1] <= ' ' || head[at + 1] == '"' || head[at + 1] == '}';
      return json ? new JsonDocument(file) : new UbjDocument(file);
    }
    throw new MalformedModelException(
        file,
        "",
        "no XGBoost model in JSON or UBJSON, which begin with '{'. The old binary format is not"
            + " read: load the file with XGBoost 3.0 or earlier and save it anew,"
            + " booster.save_model(\"model.ubj\")");
  }

  private void rootField(String name) throws IOException {
    switch (name) {
      case "learner" -> {
        sawLearner = true;
        doc.object(this::learnerField);
      }
      // What pickling leaves behind: the model beside its training configuration.
      case "Model" -> doc.object(this::rootField);
      default -> doc.skip();
    }
  }

  private void learnerField(String name) throws IOException {
    switch (name) {
      case "attributes" -> doc.object(this::attribute);
      case "gradient_booster" -> doc.object(this::boosterField);
      case "learner_model_param" -> doc.object(this::learnerParameter);
      case "objective" ->
          doc.object(
              field -> {
                if (field.equals("name")) {
                  objectiveName = doc.text();
                } else {
                  doc.skip();
                }
              });
      default -> doc.skip();
    }
  }

  private void attribute(String name) throws IOException {
    if (name.equals("best_iteration") || name.equals("best_score")) {
      attributes.put("orlop." + name, doc.text());
    } else {
      doc.skip();
    }
  }

  private void learnerParameter(String name) throws IOException {
    switch (name) {
      case "base_score" -> baseScore = doc.text();
      case "num_feature" -> features = doc.number();
      case "num_class" -> classes = doc.number();
      case "num_target" -> targets = doc.number();
      default -> doc.skip();
    }
  }

  private void boosterField(String name) throws IOException {
    switch (name) {
      case "name" -> booster = doc.text();
      // Booster dart wraps gbtree; its own name may come before or after.
      case "gbtree" ->
          doc.object(
              field -> {
                if (field.equals("name")) {
                  doc.skip();
                } else {
                  boosterField(field);
                }
              });
      case "model" -> doc.object(this::modelField);
      case "weight_drop" -> dropWeights = doc.floats();
      default -> doc.skip();
    }
  }

  private void modelField(String name) throws IOException {
    switch (name) {
      case "gbtree_model_param" ->
          doc.object(
              field -> {
                switch (field) {
                  case "num_parallel_tree" -> parallelTrees = doc.number();
                  case "num_trees" -> claimedTrees = doc.number();
                  default -> doc.skip();
                }
              });
      case "tree_info" -> treeInfo = doc.ints();
      case "iteration_indptr" -> starts = doc.ints();
      case "trees" -> doc.array(trees::read);
      case "weights" -> linearWeights = doc.floats();
      default -> doc.skip();
    }
  }

  private Ensemble finish() throws MalformedModelException {
    if (!sawLearner) {
      throw malformed("learner", "missing, expected a model as save_model writes it");
    }
    if (features < 1) {
      throw malformed("learner.learner_model_param.num_feature", features + ", expected 1 or more");
    }
    int outputs = Math.max(1, Math.max(classes, targets));
    Objective objective = XgboostObjectives.of(objectiveName, classes);
    if (objective == null) {
      throw malformed(
          "learner.objective.name",
          "'" + objectiveName + "', expected one of " + XgboostObjectives.NAMES);
    }
    if (objective.classes() > 2 && objective.classes() != outputs
        || objective.transform() == Transform.SOFTMAX && outputs < 2) {
      throw malformed(
          "learner.learner_model_param.num_class",
          classes + " beside num_target " + targets + ", expected the classes of " + objectiveName);
    }
    attributes.put("orlop.objective", objectiveName);
    return switch (booster) {
      case "gbtree", "dart" -> forest(outputs, objective);
      case "gblinear" -> linear(outputs, objective);
      default ->
          throw malformed(
              "learner.gradient_booster.name",
              "'" + booster + "', expected gbtree, dart or gblinear");
    };
  }

  private Ensemble forest(int outputs, Objective objective) throws MalformedModelException {
    String where = "learner.gradient_booster.model";
    int count = builder.trees();
    if (claimedTrees >= 0 && claimedTrees != count) {
      throw malformed(where + ".trees", count + " trees, expected num_trees = " + claimedTrees);
    }
    if (outputs > Math.max(count, MAX_OUTPUTS_WITHOUT_TREES)) {
      throw malformed(
          "learner.learner_model_param", outputs + " outputs, expected a tree for each of them");
    }
    if (builder.maxFeature() >= features) {
      throw malformed(
          where + ".trees",
          "a split tests feature "
              + builder.maxFeature()
              + ", expected less than num_feature = "
              + features);
    }
    builder.groups(groups(where, outputs, count));
    float[] weights = dropWeights;
    if (weights != null) {
      if (weights.length != count) {
        throw malformed(
            "learner.gradient_booster.weight_drop",
            weights.length + " weights, expected one for each of " + count + " trees");
      }
      for (int tree = 0; tree < count; tree++) {
        builder.scale(tree, weights[tree]);
      }
    }
    FloatForest forest = new FloatForest(builder.layout(), builder.keys(), features);
    return new XgboostTrees(
        forest,
        base(outputs),
        iterationStarts(where, outputs, count),
        objective,
        Map.copyOf(attributes));
  }

  private int[] groups(String where, int outputs, int count) throws MalformedModelException {
    int[] groups = treeInfo;
    if (groups == null || groups.length != count) {
      throw malformed(
          where + ".tree_info",
          (groups == null ? "missing" : groups.length + " numbers")
              + ", expected one for each of "
              + count
              + " trees");
    }
    for (int tree = 0; tree < count; tree++) {
      if (groups[tree] < 0 || groups[tree] >= outputs) {
        throw malformed(
            where + ".tree_info",
            "tree "
                + tree
                + " adds to output "
                + groups[tree]
                + ", expected 0 to "
                + (outputs - 1));
      }
    }
    return groups;
  }

  /** Files before XGBoost 2.0 have no index of iterations; they are then all of one size. */
  private int[] iterationStarts(String where, int outputs, int count)
      throws MalformedModelException {
    int[] given = starts;
    if (given != null && given.length > 0) {
      boolean sound = given[0] == 0 && given[given.length - 1] == count;
      for (int i = 1; i < given.length; i++) {
        sound &= given[i] >= given[i - 1];
      }
      if (!sound) {
        throw malformed(where + ".iteration_indptr", "expected a growing list from 0 to " + count);
      }
      return given;
    }
    long size = (long) outputs * Math.max(1, parallelTrees);
    if (parallelTrees < 0 || count % size != 0) {
      throw malformed(
          where + ".gbtree_model_param",
          count + " trees, expected a multiple of " + outputs + " outputs x num_parallel_tree");
    }
    int[] computed = new int[(int) (count / size) + 1];
    for (int i = 0; i < computed.length; i++) {
      computed[i] = (int) (i * size);
    }
    return computed;
  }

  private Ensemble linear(int outputs, Objective objective) throws MalformedModelException {
    float[] weights = linearWeights;
    long expected = (features + 1L) * outputs;
    if (weights == null || weights.length != expected) {
      throw malformed(
          "learner.gradient_booster.model.weights",
          (weights == null ? "missing" : weights.length + " numbers")
              + ", expected "
              + expected
              + " for "
              + features
              + " features and a bias, by "
              + outputs
              + " outputs");
    }
    float[] base = base(outputs);
    // The library takes the first number for all outputs here.
    Arrays.fill(base, base[0]);
    return new XgboostLinear(weights, base, features, objective, Map.copyOf(attributes));
  }

  /** One number for all outputs up to version 3.0, since then also a list. */
  private float[] base(int outputs) throws MalformedModelException {
    String text = baseScore.strip();
    if (text.startsWith("[") && text.endsWith("]")) {
      text = text.substring(1, text.length() - 1);
    }
    String[] parts = text.split(",", -1);
    if (parts.length != 1 && parts.length != outputs) {
      throw malformed(
          "learner.learner_model_param.base_score",
          parts.length + " numbers, expected one or " + outputs);
    }
    float[] base = new float[outputs];
    for (int i = 0; i < outputs; i++) {
      String part = parts[parts.length == 1 ? 0 : i].strip();
      try {
        base[i] = XgboostObjectives.margin(objectiveName, Float.parseFloat(part));
      } catch (NumberFormatException e) {
        throw malformed(
            "learner.learner_model_param.base_score", "'" + part + "', expected a number");
      }
    }
    return base;
  }

  private MalformedModelException malformed(String field, String what) {
    return new MalformedModelException(file, field, what);
  }
}
