package orlop.runtime;

/**
 * Trees in flat tables. Immutable but for a scratch buffer that is lent; any number of threads may
 * evaluate at once.
 *
 * <p>A row is first turned into <em>slots</em>: for each pair of feature and {@link Missing} that
 * the trees test, a whole number that orders as the values do, with missing ones at the end they
 * shall go to. Then every numerical split of the forest is one comparison of integers, whatever the
 * kind of missing values, and exact. Slot 0 is below every key. The node word is slot and first
 * child; the children are neighbours, and a leaf is its own child under slot 0. So several trees
 * walk in step without a branch, and one that has arrived stays where it is.
 */
abstract sealed class Forest permits FloatForest, DoubleForest {
  /** Rows of a block share the trees that were brought to the cache. */
  private static final int BLOCK_ROWS = 64;

  private static final int BLOCK_SLOTS = 8192;

  /**
   * The tables that do not depend on the width of keys.
   *
   * @param links slot in the upper half, first child in the lower; a negative slot is the
   *     complement of one that is tested against a set of categories
   * @param roots first node of each tree
   * @param groups which output each tree adds to
   * @param categorical which trees test categories
   * @param slotFeature the column behind each slot; slot 0 has none
   * @param slotMissing ordinal of {@link Missing} of each slot
   * @param nodes of all trees
   */
  record Layout(
      long[] links,
      int[] roots,
      int[] groups,
      boolean[] categorical,
      int[] slotFeature,
      byte[] slotMissing,
      CategorySets sets,
      int nodes) {

    int slots() {
      return slotFeature.length;
    }

    /** Bytes of the tables, without keys. */
    long sizeBytes() {
      return 8L * nodes + 9L * roots.length + 5L * slots() + sets.sizeBytes();
    }
  }

  final Layout layout;
  final int features;

  Forest(Layout layout, int features) {
    this.layout = layout;
    this.features = features;
  }

  final int trees() {
    return layout.roots().length;
  }

  /** Rows that are evaluated together. */
  final int blockRows() {
    int widest = Math.max(layout.slots(), features);
    return Math.clamp(BLOCK_SLOTS / widest, 1, BLOCK_ROWS);
  }

  /** Values of a block of that many rows. */
  final int blockValues(int rows) {
    return Math.multiplyExact(Math.min(rows, blockRows()), features);
  }

  final int blockSlots(int rows) {
    return Math.multiplyExact(Math.min(rows, blockRows()), layout.slots());
  }

  /** Bytes of all tables and of one scratch buffer. */
  abstract long sizeBytes();
}
