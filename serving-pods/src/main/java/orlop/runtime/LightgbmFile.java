package orlop.runtime;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Reads a model that LightGBM 2 or later saved as text: a head of {@code key=value} lines, a block
 * of such for each tree, and what follows {@code end of trees}, which is not needed. Owned by one
 * thread.
 */
final class LightgbmFile {
  private static final Set<String> HEAD_KEYS =
      Set.of("num_class", "num_tree_per_iteration", "max_feature_idx", "objective", "tree_sizes");
  private static final Set<String> TREE_KEYS =
      Set.of(
          "num_leaves",
          "split_feature",
          "threshold",
          "decision_type",
          "left_child",
          "right_child",
          "leaf_value",
          "cat_boundaries",
          "cat_threshold",
          "is_linear",
          "leaf_const",
          "num_features",
          "leaf_features",
          "leaf_coeff");

  private final Path file;
  private final BufferedReader in;
  private final ForestBuilder builder;
  private final LightgbmTreeReader trees;
  private final Map<String, String> head = new LinkedHashMap<>();
  private boolean average;
  private @Nullable String line;

  private LightgbmFile(Path file, BufferedReader in, boolean counting) {
    this.file = file;
    this.in = in;
    this.builder = new ForestBuilder(true, counting);
    this.trees = new LightgbmTreeReader(file, builder);
  }

  /**
   * @param counting whether only {@link Ensemble#sizeBytes} of the result will be asked for
   */
  static Ensemble read(Path file, boolean counting) throws IOException {
    // Names of features may be in any encoding; nothing here depends on them.
    try (BufferedReader in = Files.newBufferedReader(file, StandardCharsets.ISO_8859_1)) {
      return new LightgbmFile(file, in, counting).read();
    }
  }

  private Ensemble read() throws IOException {
    if (!"tree".equals(next())) {
      throw malformed(
          "line 1", "expected 'tree': a LightGBM model as Booster.save_model writes it, as text");
    }
    readHead();
    int index = 0;
    while (line != null && line.startsWith("Tree=")) {
      Map<String, String> block = readBlock();
      trees.add(index++, block);
    }
    if (!"end of trees".equals(line)) {
      throw malformed(
          "after tree " + (index - 1), "expected 'end of trees', the file seems to be cut off");
    }
    return finish();
  }

  private void readHead() throws IOException {
    for (String text = next(); text != null && !isBoundary(text); text = next()) {
      if (text.equals("average_output")) {
        average = true;
      } else {
        keep(text, HEAD_KEYS, head);
      }
    }
  }

  private Map<String, String> readBlock() throws IOException {
    Map<String, String> block = new LinkedHashMap<>();
    for (String text = next(); text != null && !isBoundary(text); text = next()) {
      keep(text, TREE_KEYS, block);
    }
    return block;
  }

  private static boolean isBoundary(String line) {
    return line.startsWith("Tree=") || line.equals("end of trees");
  }

  private static void keep(String line, Set<String> keys, Map<String, String> into) {
    int equals = line.indexOf('=');
    if (equals > 0 && keys.contains(line.substring(0, equals))) {
      into.put(line.substring(0, equals), line.substring(equals + 1));
    }
  }

  private @Nullable String next() throws IOException {
    line = in.readLine();
    return line;
  }

  private Ensemble finish() throws MalformedModelException {
    int count = builder.trees();
    int outputs = number("num_tree_per_iteration", 1);
    int classes = number("num_class", 1);
    int features = number("max_feature_idx", 0) + 1;
    if (count == 0 || count % outputs != 0) {
      throw malformed(
          "num_tree_per_iteration", outputs + " beside " + count + " trees, expected a divisor");
    }
    String sizes = head.get("tree_sizes");
    if (sizes != null && !sizes.isBlank() && sizes.strip().split(" +").length != count) {
      throw malformed("tree_sizes", count + " trees found, expected one for each size");
    }
    int maxFeature = Math.max(builder.maxFeature(), trees.maxLinearFeature());
    if (features <= maxFeature) {
      throw malformed(
          "max_feature_idx",
          (features - 1) + ", but a tree uses feature " + maxFeature + ", expected at least that");
    }
    String objectiveLine = head.getOrDefault("objective", "").strip();
    Objective objective;
    try {
      objective = LightgbmObjectives.of(objectiveLine, classes);
    } catch (IllegalArgumentException e) {
      throw malformed("objective", "'" + objectiveLine + "', " + e.getMessage());
    }
    if (objective.classes() > 2 && objective.classes() != outputs) {
      throw malformed(
          "num_class",
          classes + " beside num_tree_per_iteration = " + outputs + ", expected both alike");
    }
    int[] groups = new int[count];
    for (int tree = 0; tree < count; tree++) {
      groups[tree] = tree % outputs;
    }
    builder.groups(groups);
    DoubleForest forest =
        new DoubleForest(builder.layout(), builder.wideKeys(), trees.linearLeaves(), features);
    return new LightgbmTrees(
        forest, outputs, average, objective, Map.of("orlop.objective", objectiveLine));
  }

  private int number(String key, int least) throws MalformedModelException {
    String text = head.get(key);
    if (text == null) {
      throw malformed(key, "missing, expected a whole number");
    }
    try {
      int value = Integer.parseInt(text.strip());
      if (value >= least && value < Integer.MAX_VALUE) {
        return value;
      }
    } catch (NumberFormatException e) {
      // Told below, with the numbers that are out of range.
    }
    throw malformed(key, "'" + text + "', expected a whole number of at least " + least);
  }

  private MalformedModelException malformed(String field, String what) {
    return new MalformedModelException(file, field, what);
  }
}
