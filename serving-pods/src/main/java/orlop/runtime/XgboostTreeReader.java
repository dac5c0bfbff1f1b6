package orlop.runtime;

import java.io.IOException;
import java.util.Arrays;

/**
 * Reads the elements of {@code trees} in an XGBoost model and hands each to a builder. Owned by one
 * thread; holds one tree at a time.
 */
final class XgboostTreeReader {
  private static final int[] NONE = new int[0];

  private final ModelDocument doc;
  private final ForestBuilder builder;

  private int[] left = NONE;
  private int[] right = NONE;
  private int[] feature = NONE;
  private float[] condition = new float[0];
  private int[] defaultLeft = NONE;
  private int[] splitType = NONE;
  private int[] categories = NONE;
  private int[] categoryNodes = NONE;
  private int[] categoryStarts = NONE;
  private int[] categorySizes = NONE;

  XgboostTreeReader(ModelDocument doc, ForestBuilder builder) {
    this.doc = doc;
    this.builder = builder;
  }

  void read(int index) throws IOException {
    left = right = feature = defaultLeft = splitType = NONE;
    categories = categoryNodes = categoryStarts = categorySizes = NONE;
    condition = new float[0];
    doc.object(this::field);
    checkLengths();
    try {
      builder.add(tree());
    } catch (IllegalArgumentException e) {
      throw doc.malformed(String.valueOf(e.getMessage()));
    }
  }

  private void field(String name) throws IOException {
    switch (name) {
      case "left_children" -> left = doc.ints();
      case "right_children" -> right = doc.ints();
      case "split_indices" -> feature = doc.ints();
      case "split_conditions" -> condition = doc.floats();
      case "default_left" -> defaultLeft = doc.ints();
      case "split_type" -> splitType = doc.ints();
      case "categories" -> categories = doc.ints();
      case "categories_nodes" -> categoryNodes = doc.ints();
      case "categories_segments" -> categoryStarts = doc.ints();
      case "categories_sizes" -> categorySizes = doc.ints();
      case "tree_param" -> doc.object(this::parameter);
      default -> doc.skip();
    }
  }

  private void parameter(String name) throws IOException {
    if (!name.equals("size_leaf_vector")) {
      doc.skip();
      return;
    }
    int size = doc.number();
    if (size > 1) {
      throw doc.malformed(
          size
              + ", expected 1: trees whose leaves hold vectors are not served; train with"
              + " multi_strategy=one_output_per_tree");
    }
  }

  private void checkLengths() throws IOException {
    check("right_children", right.length);
    check("split_indices", feature.length);
    check("split_conditions", condition.length);
    check("default_left", defaultLeft.length);
    if (splitType.length > 0) {
      check("split_type", splitType.length);
    }
    if (categoryStarts.length != categoryNodes.length
        || categorySizes.length != categoryNodes.length) {
      throw doc.malformed(
          "categories_nodes, _segments and _sizes have "
              + categoryNodes.length
              + ", "
              + categoryStarts.length
              + " and "
              + categorySizes.length
              + " numbers, expected as many of each");
    }
  }

  private void check(String name, int length) throws IOException {
    if (length != left.length) {
      throw doc.malformed(
          name + " has " + length + " numbers, expected " + left.length + " as left_children");
    }
  }

  private Tree tree() {
    int nodes = left.length;
    int[] sets = sets();
    Missing[] missing = new Missing[nodes];
    long[] keys = new long[nodes];
    for (int node = 0; node < nodes; node++) {
      missing[node] = defaultLeft[node] == 0 ? Missing.NAN_RIGHT : Missing.NAN_LEFT;
      if (left[node] < 0) {
        keys[node] = Float.floatToRawIntBits(condition[node]);
      } else if (splitType.length > 0 && splitType[node] != 0) {
        if (sets.length == 0 || sets[node] < 0) {
          throw new IllegalArgumentException(
              "node " + node + " splits by category, but categories_nodes does not name it");
        }
      } else {
        if (Float.isNaN(condition[node])) {
          throw new IllegalArgumentException("node " + node + " splits at NaN, expected a number");
        }
        keys[node] = FloatForest.splitKey(condition[node]);
        if (sets.length > 0) {
          sets[node] = -1;
        }
      }
    }
    return new Tree(left, right, feature, missing, keys, sets);
  }

  /** For each node where its set of categories lies, or -1; empty when no node has one. */
  private int[] sets() {
    if (categoryNodes.length == 0) {
      return NONE;
    }
    int[] sets = new int[left.length];
    Arrays.fill(sets, -1);
    // Segments that overlap would make a small file into a large model.
    if (Arrays.stream(categorySizes).asLongStream().sum() > categories.length) {
      throw new IllegalArgumentException(
          "categories_sizes add up to more than the " + categories.length + " categories");
    }
    for (int i = 0; i < categoryNodes.length; i++) {
      int node = categoryNodes[i];
      long end = (long) categoryStarts[i] + categorySizes[i];
      if (node < 0 || node >= sets.length || sets[node] >= 0) {
        throw new IllegalArgumentException(
            "categories_nodes names node " + node + ", expected each split by category once");
      }
      if (categoryStarts[i] < 0 || categorySizes[i] < 0 || end > categories.length) {
        throw new IllegalArgumentException(
            "the categories of node "
                + node
                + " end at "
                + end
                + ", expected at most "
                + categories.length);
      }
      int[] members = Arrays.copyOfRange(categories, categoryStarts[i], (int) end);
      for (int member : members) {
        if (member < 0 || member >= FloatForest.MAX_CATEGORY) {
          throw new IllegalArgumentException(
              "category " + member + " at node " + node + ", expected 0 to 2^24 - 1");
        }
      }
      sets[node] = builder.sets().add(members);
    }
    return sets;
  }
}
