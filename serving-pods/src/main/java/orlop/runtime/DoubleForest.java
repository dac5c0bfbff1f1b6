package orlop.runtime;

import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * A forest that compares and adds as LightGBM does: in doubles, left if the value is not greater
 * than the threshold, trees in the order of the file. 16 bytes per node.
 */
final class DoubleForest extends Forest {
  private static final long MISSING_LEFT = Long.MIN_VALUE;
  private static final long MISSING_RIGHT = Long.MAX_VALUE;

  /** What LightGBM takes for zero: the float nearest to 1e-35, as a double. */
  private static final double ZERO = 1e-35f;

  private static final Missing[] MISSING = Missing.values();

  private final long[] keys;
  private final @Nullable LinearLeaves linear;
  private final AtomicReference<@Nullable Scratch> spare = new AtomicReference<>();

  /** Room for one block of rows: values, with tiny ones made 0, and slots. */
  private record Scratch(double[] values, long[] slots) {}

  /**
   * @param linear when the leaves hold linear models; their keys are then numbers of such
   */
  DoubleForest(Layout layout, long[] keys, @Nullable LinearLeaves linear, int features) {
    super(layout, features);
    this.keys = keys;
    this.linear = linear;
  }

  /** The key of a split that sends {@code value <= threshold} left; not for NaN. */
  static long splitKey(double threshold) {
    return ordered(threshold);
  }

  private static long ordered(double value) {
    long bits = Double.doubleToRawLongBits(value + 0.0);
    return bits ^ (bits >> 63 & Long.MAX_VALUE);
  }

  /**
   * Adds what the trees of a range give to each row's outputs.
   *
   * @param sums row by row, {@code outputs} each
   * @return false when cancelled, with some rows undone
   */
  boolean add(
      FeatureTensor input,
      int rows,
      int fromTree,
      int toTree,
      int outputs,
      double[] sums,
      Cancellation cancellation) {
    int block = Math.min(rows, blockRows());
    Scratch scratch = borrow(block);
    for (int first = 0; first < rows; first += block) {
      if (cancellation.isCancelled()) {
        return false;
      }
      int n = Math.min(block, rows - first);
      input.doubles(first * features, n * features, scratch.values);
      for (int i = 0; i < n * features; i++) {
        // The library drops them when it takes a row; NaN stays.
        if (Math.abs(scratch.values[i]) <= ZERO) {
          scratch.values[i] = 0;
        }
      }
      for (int row = 0; row < n; row++) {
        fill(scratch, row);
      }
      addBlock(scratch, n, fromTree, toTree, outputs, sums, first * outputs);
    }
    spare.set(scratch);
    return true;
  }

  @Override
  long sizeBytes() {
    return layout.sizeBytes()
        + 8L * layout.nodes()
        + (linear == null ? 0 : linear.sizeBytes())
        + 8L * blockRows() * (layout.slots() + (long) features);
  }

  private Scratch borrow(int rows) {
    Scratch found = spare.getAndSet(null);
    if (found != null && found.slots.length >= blockSlots(rows)) {
      return found;
    }
    return new Scratch(new double[blockValues(rows)], new long[blockSlots(rows)]);
  }

  private void fill(Scratch scratch, int row) {
    int[] slotFeature = layout.slotFeature();
    byte[] slotMissing = layout.slotMissing();
    int from = row * features;
    int to = row * slotFeature.length;
    scratch.slots[to] = Long.MIN_VALUE;
    for (int slot = 1; slot < slotFeature.length; slot++) {
      double value = scratch.values[from + slotFeature[slot]];
      scratch.slots[to + slot] = slotKey(value, MISSING[slotMissing[slot]]);
    }
  }

  private static long slotKey(double value, Missing missing) {
    boolean nan = Double.isNaN(value);
    return switch (missing) {
      case NONE -> nan ? 0 : ordered(value);
      case NAN_LEFT -> nan ? MISSING_LEFT : ordered(value);
      case NAN_RIGHT -> nan ? MISSING_RIGHT : ordered(value);
      case ZERO_LEFT -> nan || value == 0 ? MISSING_LEFT : ordered(value);
      case ZERO_RIGHT -> nan || value == 0 ? MISSING_RIGHT : ordered(value);
    };
  }

  private void addBlock(
      Scratch scratch, int rows, int fromTree, int toTree, int outputs, double[] sums, int at) {
    long[] slots = scratch.slots;
    int width = layout.slots();
    int tree = fromTree;
    while (tree < toTree) {
      if (tree + 4 <= toTree && !anyCategorical(tree)) {
        for (int row = 0; row < rows; row++) {
          addFour(scratch, row * width, row * features, tree, sums, at + row * outputs);
        }
        tree += 4;
      } else {
        int group = layout.groups()[tree];
        int root = layout.roots()[tree];
        boolean categorical = layout.categorical()[tree];
        for (int row = 0; row < rows; row++) {
          int leaf =
              categorical ? walkSets(slots, row * width, root) : walk(slots, row * width, root);
          sums[at + row * outputs + group] += leafValue(leaf, scratch.values, row * features);
        }
        tree++;
      }
    }
  }

  private boolean anyCategorical(int tree) {
    boolean[] categorical = layout.categorical();
    return categorical[tree]
        || categorical[tree + 1]
        || categorical[tree + 2]
        || categorical[tree + 3];
  }

  /** Walks four trees in step, so that their loads overlap, and adds them in order. */
  private void addFour(Scratch scratch, int row, int values, int tree, double[] sums, int at) {
    long[] links = layout.links();
    long[] nodeKeys = keys;
    long[] slots = scratch.slots;
    int[] roots = layout.roots();
    int a = roots[tree];
    int b = roots[tree + 1];
    int c = roots[tree + 2];
    int d = roots[tree + 3];
    long moving;
    do {
      long linkA = links[a];
      long linkB = links[b];
      long linkC = links[c];
      long linkD = links[d];
      a = (int) linkA + above(slots[row + (int) (linkA >>> 32)], nodeKeys[a]);
      b = (int) linkB + above(slots[row + (int) (linkB >>> 32)], nodeKeys[b]);
      c = (int) linkC + above(slots[row + (int) (linkC >>> 32)], nodeKeys[c]);
      d = (int) linkD + above(slots[row + (int) (linkD >>> 32)], nodeKeys[d]);
      moving = (linkA | linkB | linkC | linkD) >>> 32;
    } while (moving != 0);
    int[] groups = layout.groups();
    sums[at + groups[tree]] += leafValue(a, scratch.values, values);
    sums[at + groups[tree + 1]] += leafValue(b, scratch.values, values);
    sums[at + groups[tree + 2]] += leafValue(c, scratch.values, values);
    sums[at + groups[tree + 3]] += leafValue(d, scratch.values, values);
  }

  private double leafValue(int leaf, double[] values, int row) {
    return linear == null
        ? Double.longBitsToDouble(keys[leaf])
        : linear.value((int) keys[leaf], values, row);
  }

  private int walk(long[] slots, int row, int root) {
    long[] links = layout.links();
    int node = root;
    long link = links[node];
    while (link >>> 32 != 0) {
      node = (int) link + above(slots[row + (int) (link >>> 32)], keys[node]);
      link = links[node];
    }
    return node;
  }

  /** As {@link #walk}, in a tree that tests categories too. */
  private int walkSets(long[] slots, int row, int root) {
    long[] links = layout.links();
    int node = root;
    long link = links[node];
    while (link >>> 32 != 0) {
      int slot = (int) (link >> 32);
      int right =
          slot < 0
              ? categoryGoesRight((int) keys[node], slots[row + ~slot])
              : above(slots[row + slot], keys[node]);
      node = (int) link + right;
      link = links[node];
    }
    return node;
  }

  /** A category of the set goes left; a missing one, or any other, right. */
  private int categoryGoesRight(int set, long slot) {
    if (slot == MISSING_RIGHT) {
      return 1;
    }
    double value = Double.longBitsToDouble(slot ^ (slot >> 63 & Long.MAX_VALUE));
    // Cut towards zero, as the library does: -0.5 is category 0. Out of range is in no set.
    int category = (int) value;
    boolean left = category >= 0 && value < (1L << 31) && layout.sets().contains(set, category);
    return left ? 0 : 1;
  }

  /** 1 if the slot is greater than the key, else 0; becomes a conditional move. */
  private static int above(long slot, long key) {
    return slot > key ? 1 : 0;
  }
}
