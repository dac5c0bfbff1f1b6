package orlop.runtime;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Turns the blocks of a LightGBM file into trees for a builder. In the file splits and leaves are
 * numbered apart, and a negative child is the complement of a leaf; here leaf {@code j} becomes
 * node {@code splits + j}. Owned by one thread.
 */
final class LightgbmTreeReader {
  private static final int CATEGORICAL = 1;
  private static final int DEFAULT_LEFT = 2;
  private static final int[] NO_COLUMNS = new int[0];
  private static final double[] NO_WEIGHTS = new double[0];

  private final Path file;
  private final ForestBuilder builder;
  private @Nullable LinearLeaves linear;
  private int maxLinearFeature = -1;

  /** Of the block that is being read. */
  private int index;

  private Map<String, String> block = Map.of();

  LightgbmTreeReader(Path file, ForestBuilder builder) {
    this.file = file;
    this.builder = builder;
  }

  /** Null when no tree is linear. */
  @Nullable LinearLeaves linearLeaves() {
    if (linear != null) {
      linear.trim();
    }
    return linear;
  }

  /** Greatest column in any linear leaf; -1 when none is. */
  int maxLinearFeature() {
    return maxLinearFeature;
  }

  void add(int treeIndex, Map<String, String> treeBlock) throws MalformedModelException {
    index = treeIndex;
    block = treeBlock;
    double[] leaves = doubles("leaf_value", -1);
    int splits = leaves.length - 1;
    if (splits < 0) {
      throw malformed("leaf_value", "missing, expected at least one number");
    }
    String claimed = block.getOrDefault("num_leaves", "").strip();
    if (!claimed.equals(Integer.toString(leaves.length))) {
      throw malformed(
          "num_leaves", "'" + claimed + "', expected " + leaves.length + " as leaf_value");
    }
    int nodes = splits + leaves.length;
    int[] left = new int[nodes];
    int[] right = new int[nodes];
    long[] keys = new long[nodes];
    Arrays.fill(left, splits, nodes, -1);
    links("left_child", splits, leaves.length, left);
    links("right_child", splits, leaves.length, right);
    boolean isLinear = block.getOrDefault("is_linear", "0").strip().equals("1");
    if (isLinear && linear == null) {
      // Trees before the first linear one have leaves of another kind.
      LinearLeaves fresh = new LinearLeaves();
      builder.replaceLeafKeys(
          key -> {
            double value = Double.longBitsToDouble(key);
            return fresh.add(value, value, NO_COLUMNS, NO_WEIGHTS);
          });
      linear = fresh;
    }
    leafKeys(leaves, splits, isLinear, keys);
    try {
      builder.add(splits(splits, left, right, keys));
    } catch (IllegalArgumentException e) {
      throw malformed("", String.valueOf(e.getMessage()));
    }
  }

  private void links(String key, int splits, int leaves, int[] into)
      throws MalformedModelException {
    int[] children = ints(key, splits);
    for (int node = 0; node < splits; node++) {
      int child = children[node];
      if (child >= splits || child < -leaves) {
        throw malformed(
            key,
            "split "
                + node
                + " leads to "
                + child
                + ", expected "
                + -leaves
                + " to "
                + (splits - 1));
      }
      into[node] = child >= 0 ? child : splits + ~child;
    }
  }

  private Tree splits(int splits, int[] left, int[] right, long[] keys)
      throws MalformedModelException {
    int[] feature = Arrays.copyOf(ints("split_feature", splits), left.length);
    double[] threshold = doubles("threshold", splits);
    int[] decision = ints("decision_type", splits);
    Missing[] missing = new Missing[left.length];
    int[] sets = null;
    int[] setOfCategory = null;
    for (int node = 0; node < splits; node++) {
      if ((decision[node] & CATEGORICAL) == 0) {
        if (Double.isNaN(threshold[node])) {
          throw malformed("threshold", "NaN at split " + node + ", expected a number");
        }
        missing[node] = missing(node, decision[node]);
        keys[node] = DoubleForest.splitKey(threshold[node]);
        continue;
      }
      if (sets == null || setOfCategory == null) {
        sets = new int[left.length];
        Arrays.fill(sets, -1);
        setOfCategory = sets();
      }
      int number = (int) threshold[node];
      if (number < 0 || number >= setOfCategory.length) {
        throw malformed(
            "threshold",
            "set of categories "
                + number
                + " at split "
                + node
                + ", expected 0 to "
                + (setOfCategory.length - 1));
      }
      // A missing category goes right, whatever the type of missing values.
      missing[node] = Missing.NAN_RIGHT;
      sets[node] = setOfCategory[number];
    }
    return new Tree(left, right, feature, missing, keys, sets == null ? NO_COLUMNS : sets);
  }

  /** Bits 2 and 3 tell what is missing, bit 1 where that goes. */
  private Missing missing(int node, int decision) throws MalformedModelException {
    boolean toLeft = (decision & DEFAULT_LEFT) != 0;
    return switch (decision >> 2 & 3) {
      case 0 -> Missing.NONE;
      case 1 -> toLeft ? Missing.ZERO_LEFT : Missing.ZERO_RIGHT;
      case 2 -> toLeft ? Missing.NAN_LEFT : Missing.NAN_RIGHT;
      default ->
          throw malformed(
              "decision_type", decision + " at split " + node + ", expected missing type 0 to 2");
    };
  }

  /** Adds the sets of the block and tells where each lies. */
  private int[] sets() throws MalformedModelException {
    int[] bounds = ints("cat_boundaries", -1);
    int[] words = ints("cat_threshold", -1);
    int[] places = new int[Math.max(0, bounds.length - 1)];
    for (int i = 0; i < places.length; i++) {
      if (bounds[i] < 0 || bounds[i] > bounds[i + 1] || bounds[i + 1] > words.length) {
        throw malformed(
            "cat_boundaries",
            bounds[i] + " to " + bounds[i + 1] + ", expected to grow up to " + words.length);
      }
      places[i] = builder.sets().addBits(words, bounds[i], bounds[i + 1]);
    }
    return places;
  }

  private void leafKeys(double[] leaves, int splits, boolean isLinear, long[] keys)
      throws MalformedModelException {
    LinearLeaves all = linear;
    if (all == null) {
      for (int leaf = 0; leaf < leaves.length; leaf++) {
        keys[splits + leaf] = Double.doubleToRawLongBits(leaves[leaf]);
      }
      return;
    }
    double[] constants = isLinear ? doubles("leaf_const", leaves.length) : leaves;
    int[] sizes = isLinear ? ints("num_features", leaves.length) : new int[leaves.length];
    int[] columns = isLinear ? ints("leaf_features", -1) : NO_COLUMNS;
    double[] weights = isLinear ? doubles("leaf_coeff", columns.length) : NO_WEIGHTS;
    int at = 0;
    for (int leaf = 0; leaf < leaves.length; leaf++) {
      if (sizes[leaf] < 0 || sizes[leaf] > columns.length - at) {
        throw malformed(
            "num_features",
            sizes[leaf] + " at leaf " + leaf + ", expected 0 to " + (columns.length - at));
      }
      int[] own = Arrays.copyOfRange(columns, at, at + sizes[leaf]);
      for (int column : own) {
        if (column < 0) {
          throw malformed("leaf_features", column + " at leaf " + leaf + ", expected 0 or more");
        }
        maxLinearFeature = Math.max(maxLinearFeature, column);
      }
      double[] ownWeights = Arrays.copyOfRange(weights, at, at + sizes[leaf]);
      keys[splits + leaf] = all.add(leaves[leaf], constants[leaf], own, ownWeights);
      at += sizes[leaf];
    }
  }

  /**
   * @param length expected; -1 for any
   */
  private int[] ints(String key, int length) throws MalformedModelException {
    double[] numbers = doubles(key, length);
    int[] result = new int[numbers.length];
    for (int i = 0; i < result.length; i++) {
      // Words of category sets are unsigned.
      if (numbers[i] != Math.rint(numbers[i]) || Math.abs(numbers[i]) > 0xffffffffL) {
        throw malformed(key, numbers[i] + " at index " + i + ", expected a whole number");
      }
      result[i] = (int) (long) numbers[i];
    }
    return result;
  }

  private double[] doubles(String key, int length) throws MalformedModelException {
    String text = block.getOrDefault(key, "");
    double[] numbers = new double[Math.clamp(length, 0, text.length() / 2 + 1)];
    int n = 0;
    int at = 0;
    while (at < text.length()) {
      int end = text.indexOf(' ', at);
      end = end < 0 ? text.length() : end;
      if (end > at) {
        if (n == numbers.length) {
          numbers = Arrays.copyOf(numbers, 2 * n + 1);
        }
        numbers[n++] = number(key, n - 1, text.substring(at, end));
      }
      at = end + 1;
    }
    if (length >= 0 && n != length) {
      throw malformed(key, n + " numbers, expected " + length);
    }
    return Arrays.copyOf(numbers, n);
  }

  private double number(String key, int position, String text) throws MalformedModelException {
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      return switch (text) {
        case "inf" -> Double.POSITIVE_INFINITY;
        case "-inf" -> Double.NEGATIVE_INFINITY;
        case "nan", "-nan" -> Double.NaN;
        default ->
            throw malformed(key, "'" + text + "' at index " + position + ", expected a number");
      };
    }
  }

  private MalformedModelException malformed(String key, String what) {
    String field = "Tree=" + index + (key.isEmpty() ? "" : "." + key);
    return new MalformedModelException(file, field, what);
  }
}
