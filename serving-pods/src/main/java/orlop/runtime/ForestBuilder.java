package orlop.runtime;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.LongUnaryOperator;

/**
 * Lays trees out for {@link Forest}, one after the other. Refuses links that leave the tree, meet
 * or run in a circle. Owned by one thread; a builder that only counts keeps no nodes.
 *
 * <p>Keys of nodes are given ready: at a split the row goes right if its slot is greater than the
 * key.
 */
final class ForestBuilder {
  private static final int MAX_NODES = 1 << 30;

  private final boolean counting;
  private final boolean wide;
  private final Map<Long, Integer> slots = new HashMap<>();
  private final CategorySets sets = new CategorySets();
  private int[] slotFeature = new int[] {0};
  private byte[] slotMissing = new byte[] {0};
  private long[] links = new long[0];
  private int[] keys = new int[0];
  private long[] wideKeys = new long[0];
  private int[] roots = new int[8];
  private int[] groups = new int[0];
  private boolean[] categorical = new boolean[8];
  private int nodes;
  private int leaves;
  private int trees;
  private int maxFeature = -1;

  /**
   * @param wide whether keys take 64 bits, else 32
   * @param counting whether only sizes are asked for
   */
  ForestBuilder(boolean wide, boolean counting) {
    this.wide = wide;
    this.counting = counting;
  }

  CategorySets sets() {
    return sets;
  }

  int trees() {
    return trees;
  }

  /** Greatest column that any split tests; -1 when none does. */
  int maxFeature() {
    return maxFeature;
  }

  /**
   * Appends one tree.
   *
   * @throws IllegalArgumentException with what is wrong with it
   */
  void add(Tree tree) {
    if (tree.nodes() == 0) {
      throw new IllegalArgumentException("no nodes, expected at least one");
    }
    int root = nodes;
    if (trees == roots.length) {
      roots = Arrays.copyOf(roots, 2 * trees);
      categorical = Arrays.copyOf(categorical, 2 * trees);
    }
    roots[trees++] = reserve(1);
    boolean[] seen = new boolean[tree.nodes()];
    seen[0] = true;
    // Two numbers per waiting node; each node waits once, because it is seen once.
    int[] waiting = new int[64];
    int depth = 0;
    waiting[depth++] = 0;
    waiting[depth++] = root;
    while (depth > 0) {
      int place = waiting[--depth];
      int node = waiting[--depth];
      if (tree.isLeaf(node)) {
        leaves++;
        put(place, 0, place, tree.value()[node]);
        continue;
      }
      int left = child(tree, seen, node, tree.left()[node]);
      int right = child(tree, seen, node, tree.right()[node]);
      int pair = reserve(2);
      putSplit(tree, node, place, pair);
      if (depth + 4 > waiting.length) {
        waiting = Arrays.copyOf(waiting, 2 * waiting.length);
      }
      waiting[depth++] = right;
      waiting[depth++] = pair + 1;
      waiting[depth++] = left;
      waiting[depth++] = pair;
    }
  }

  private static int child(Tree tree, boolean[] seen, int parent, int child) {
    if (child <= 0 || child >= tree.nodes()) {
      throw new IllegalArgumentException(
          "node " + parent + " has child " + child + ", expected 1 to " + (tree.nodes() - 1));
    }
    if (seen[child]) {
      throw new IllegalArgumentException(
          "node " + child + " is a child of node " + parent + " and of another, expected a tree");
    }
    seen[child] = true;
    return child;
  }

  private void putSplit(Tree tree, int node, int place, int pair) {
    int feature = tree.feature()[node];
    if (feature < 0) {
      throw new IllegalArgumentException(
          "node " + node + " tests feature " + feature + ", expected 0 or more");
    }
    maxFeature = Math.max(maxFeature, feature);
    int slot = slot(feature, tree.missing()[node]);
    if (tree.isCategorical(node)) {
      categorical[trees - 1] = true;
      put(place, ~slot, pair, tree.categories()[node]);
    } else {
      put(place, slot, pair, tree.value()[node]);
    }
  }

  private int slot(int feature, Missing missing) {
    long key = (long) feature << 8 | missing.ordinal();
    Integer known = slots.get(key);
    if (known != null) {
      return known;
    }
    int slot = slots.size() + 1;
    slots.put(key, slot);
    if (slot >= slotFeature.length) {
      slotFeature = Arrays.copyOf(slotFeature, 2 * slot + 8);
      slotMissing = Arrays.copyOf(slotMissing, 2 * slot + 8);
    }
    slotFeature[slot] = feature;
    slotMissing[slot] = (byte) missing.ordinal();
    return slot;
  }

  private int reserve(int count) {
    int first = nodes;
    if (first > MAX_NODES - count) {
      throw new IllegalArgumentException("more than " + MAX_NODES + " nodes in all");
    }
    nodes += count;
    if (!counting && nodes > links.length) {
      int room = Math.max(64, nodes + (nodes >> 1));
      links = Arrays.copyOf(links, room);
      if (wide) {
        wideKeys = Arrays.copyOf(wideKeys, room);
      } else {
        keys = Arrays.copyOf(keys, room);
      }
    }
    return first;
  }

  private void put(int place, int slot, int child, long key) {
    if (counting) {
      return;
    }
    links[place] = (long) slot << 32 | child;
    if (wide) {
      wideKeys[place] = key;
    } else {
      keys[place] = (int) key;
    }
  }

  /** Which output each tree adds to; as many as there are trees. */
  void groups(int[] groupOfTree) {
    groups = groupOfTree;
  }

  /** Multiplies what the leaves of one tree give; only where keys take 32 bits. */
  void scale(int tree, float weight) {
    int end = tree + 1 < trees ? roots[tree + 1] : nodes;
    for (int node = roots[tree]; !counting && node < end; node++) {
      if (links[node] >>> 32 == 0) {
        keys[node] = Float.floatToRawIntBits(Float.intBitsToFloat(keys[node]) * weight);
      }
    }
  }

  /** Puts other keys into all leaves so far; only where keys take 64 bits. */
  void replaceLeafKeys(LongUnaryOperator replacement) {
    if (counting) {
      for (int i = 0; i < leaves; i++) {
        long unused = replacement.applyAsLong(0);
      }
      return;
    }
    for (int node = 0; node < nodes; node++) {
      if (links[node] >>> 32 == 0) {
        wideKeys[node] = replacement.applyAsLong(wideKeys[node]);
      }
    }
  }

  Forest.Layout layout() {
    sets.trim();
    int slotCount = slots.size() + 1;
    return new Forest.Layout(
        Arrays.copyOf(links, counting ? 0 : nodes),
        Arrays.copyOf(roots, trees),
        Arrays.copyOf(groups, trees),
        Arrays.copyOf(categorical, trees),
        Arrays.copyOf(slotFeature, slotCount),
        Arrays.copyOf(slotMissing, slotCount),
        sets,
        nodes);
  }

  int[] keys() {
    return Arrays.copyOf(keys, counting ? 0 : nodes);
  }

  long[] wideKeys() {
    return Arrays.copyOf(wideKeys, counting ? 0 : nodes);
  }
}
