package orlop.runtime;

import java.util.Arrays;

/**
 * Sets of categories, one after the other in one array: a head and then either a bit per category
 * or, where that would take more room, the sorted members. Filled by one thread, then read by any.
 */
final class CategorySets {
  /** Sets of small numbers are bits even when they hold few: 512 categories in 64 bytes. */
  private static final int SMALL_WORDS = 16;

  private int[] data = new int[0];
  private int used;

  /** Adds a set and tells where it lies. Negative members must have been refused. */
  int add(int[] members) {
    int max = Arrays.stream(members).max().orElse(0);
    int words = (max >>> 5) + 1;
    if (words > SMALL_WORDS + members.length) {
      int[] sorted = Arrays.stream(members).sorted().distinct().toArray();
      return append(-sorted.length, sorted, 0, sorted.length);
    }
    int[] bits = new int[words];
    for (int member : members) {
      bits[member >>> 5] |= 1 << member;
    }
    return append(words, bits, 0, words);
  }

  /** Adds a set given as bits, lowest first. */
  int addBits(int[] words, int from, int to) {
    return append(to - from, words, from, to);
  }

  /** Word count of a bit set, negated member count of a list; then its words. */
  private int append(int head, int[] words, int from, int to) {
    int at = used;
    int needed = Math.addExact(used, 1 + to - from);
    if (needed > data.length) {
      data = Arrays.copyOf(data, Math.max(needed, data.length + (data.length >> 1)));
    }
    data[at] = head;
    System.arraycopy(words, from, data, at + 1, to - from);
    used = needed;
    return at;
  }

  void trim() {
    data = Arrays.copyOf(data, used);
  }

  boolean contains(int set, int category) {
    int head = data[set];
    if (head < 0) {
      return Arrays.binarySearch(data, set + 1, set + 1 - head, category) >= 0;
    }
    int word = category >>> 5;
    return word < head && (data[set + 1 + word] >>> category & 1) != 0;
  }

  long sizeBytes() {
    return 4L * used;
  }
}
