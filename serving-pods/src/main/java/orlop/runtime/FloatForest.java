package orlop.runtime;

import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * A forest that compares and adds as XGBoost does: in 32-bit floats, left if the value is less than
 * the threshold, trees in the order of the file. 12 bytes per node.
 */
final class FloatForest extends Forest {
  private static final int MISSING_LEFT = Integer.MIN_VALUE;
  private static final int MISSING_RIGHT = Integer.MAX_VALUE;

  /** Categories of XGBoost are whole numbers below this. */
  static final int MAX_CATEGORY = 1 << 24;

  private final int[] keys;
  private final AtomicReference<@Nullable Scratch> spare = new AtomicReference<>();

  /** Room for one block of rows: values as they come, and slots. */
  private record Scratch(float[] values, int[] slots) {}

  FloatForest(Layout layout, int[] keys, int features) {
    super(layout, features);
    this.keys = keys;
  }

  /** The key of a split that sends {@code value < threshold} left. */
  static int splitKey(float threshold) {
    // Slots are greater than the key when they are no less than the threshold.
    return ordered(threshold) - 1;
  }

  /** Orders as the floats do, both zeros alike; not for NaN. */
  static int ordered(float value) {
    int bits = Float.floatToRawIntBits(value + 0.0f);
    return bits ^ (bits >> 31 & Integer.MAX_VALUE);
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
      float[] sums,
      Cancellation cancellation) {
    int block = Math.min(rows, blockRows());
    Scratch scratch = borrow(block);
    for (int first = 0; first < rows; first += block) {
      if (cancellation.isCancelled()) {
        return false;
      }
      int n = Math.min(block, rows - first);
      input.floats(first * features, n * features, scratch.values);
      for (int row = 0; row < n; row++) {
        fill(scratch, row);
      }
      addBlock(scratch.slots, n, fromTree, toTree, outputs, sums, first * outputs);
    }
    spare.set(scratch);
    return true;
  }

  @Override
  long sizeBytes() {
    return layout.sizeBytes()
        + 4L * layout.nodes()
        + 4L * blockRows() * (layout.slots() + (long) features);
  }

  private Scratch borrow(int rows) {
    Scratch found = spare.getAndSet(null);
    if (found != null && found.slots.length >= blockSlots(rows)) {
      return found;
    }
    return new Scratch(new float[blockValues(rows)], new int[blockSlots(rows)]);
  }

  private void fill(Scratch scratch, int row) {
    int[] slotFeature = layout.slotFeature();
    byte[] slotMissing = layout.slotMissing();
    int from = row * features;
    int to = row * slotFeature.length;
    scratch.slots[to] = Integer.MIN_VALUE;
    for (int slot = 1; slot < slotFeature.length; slot++) {
      float value = scratch.values[from + slotFeature[slot]];
      int key;
      if (Float.isNaN(value)) {
        key = slotMissing[slot] == 0 ? MISSING_LEFT : MISSING_RIGHT;
      } else {
        key = ordered(value);
      }
      scratch.slots[to + slot] = key;
    }
  }

  private void addBlock(
      int[] slots, int rows, int fromTree, int toTree, int outputs, float[] sums, int at) {
    int width = layout.slots();
    int tree = fromTree;
    while (tree < toTree) {
      if (tree + 4 <= toTree && !anyCategorical(tree)) {
        for (int row = 0; row < rows; row++) {
          addFour(slots, row * width, tree, sums, at + row * outputs);
        }
        tree += 4;
      } else {
        int group = layout.groups()[tree];
        int root = layout.roots()[tree];
        boolean categorical = layout.categorical()[tree];
        for (int row = 0; row < rows; row++) {
          int leaf =
              categorical ? walkSets(slots, row * width, root) : walk(slots, row * width, root);
          sums[at + row * outputs + group] += Float.intBitsToFloat(keys[leaf]);
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
  private void addFour(int[] slots, int row, int tree, float[] sums, int at) {
    long[] links = layout.links();
    int[] nodeKeys = keys;
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
    sums[at + groups[tree]] += Float.intBitsToFloat(nodeKeys[a]);
    sums[at + groups[tree + 1]] += Float.intBitsToFloat(nodeKeys[b]);
    sums[at + groups[tree + 2]] += Float.intBitsToFloat(nodeKeys[c]);
    sums[at + groups[tree + 3]] += Float.intBitsToFloat(nodeKeys[d]);
  }

  private int walk(int[] slots, int row, int root) {
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
  private int walkSets(int[] slots, int row, int root) {
    long[] links = layout.links();
    int node = root;
    long link = links[node];
    while (link >>> 32 != 0) {
      int slot = (int) (link >> 32);
      int right =
          slot < 0
              ? categoryGoesRight(keys[node], slots[row + ~slot])
              : above(slots[row + slot], keys[node]);
      node = (int) link + right;
      link = links[node];
    }
    return node;
  }

  /** A category of the set goes right; what is no category, or not of the set, left. */
  private int categoryGoesRight(int set, int slot) {
    if (slot == MISSING_LEFT || slot == MISSING_RIGHT) {
      return slot == MISSING_RIGHT ? 1 : 0;
    }
    float value = Float.intBitsToFloat(slot ^ (slot >> 31 & Integer.MAX_VALUE));
    return value >= 0 && value < MAX_CATEGORY && layout.sets().contains(set, (int) value) ? 1 : 0;
  }

  /** 1 if the slot is greater than the key, else 0, without a branch. */
  private static int above(int slot, int key) {
    return (int) ((long) key - slot >>> 63);
  }
}
