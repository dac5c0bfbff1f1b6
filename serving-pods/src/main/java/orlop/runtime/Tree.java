package orlop.runtime;

/**
 * One tree as its file tells it, checked for lengths but not for shape. Node 0 is the root.
 *
 * @param left child taken when the test fails to send the row right; negative at a leaf
 * @param right the other child
 * @param feature column that the node tests
 * @param missing what of that column counts as missing
 * @param value at a split the greatest key that goes left, at a leaf what it gives; both as {@link
 *     ForestBuilder} asks for
 * @param categories at a split by category, where its set lies in the {@link CategorySets}; else -1
 */
record Tree(
    int[] left, int[] right, int[] feature, Missing[] missing, long[] value, int[] categories) {

  int nodes() {
    return left.length;
  }

  boolean isLeaf(int node) {
    return left[node] < 0;
  }

  boolean isCategorical(int node) {
    return categories.length > 0 && categories[node] >= 0;
  }
}
