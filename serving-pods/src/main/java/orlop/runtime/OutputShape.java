package orlop.runtime;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * The shape that one output of a model will have, as far as its runs so far tell. Each dimension is
 * taken to be always the same, or always that of one dimension of the inputs; what a run
 * contradicts is believed no more. A shape is foreseen only where all that is still believed says
 * the same, so at most one foreseen shape is wrong in the life of a model. Thread-safe.
 */
final class OutputShape {
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;

  /** One run may have any shape; a second one that agrees is a pattern. */
  private static final int LEAST_RUNS = 2;

  /** Stands for the size of the first run; the other bits for the inputs' dimensions. */
  private static final int CONSTANT = Long.SIZE - 1;

  /**
   * @param first the dimensions of the first run; not to be changed
   * @param origins what each may come from, a bit for each; not to be changed
   */
  private record Known(long[] first, long[] origins, int runs) {}

  private volatile @Nullable Known known;
  private volatile boolean unforeseeable;

  /**
   * Foresees the shape for certain inputs.
   *
   * @param inputs the dimensions of all inputs, the first {@code count} of them
   * @param out where the dimensions are written, from {@code at} on, as far as it has room
   * @return how many dimensions there are; -1 when it is not known
   */
  int foresee(long[] inputs, int count, MemorySegment out, int at) {
    Known now = known;
    if (now == null || unforeseeable || now.runs < LEAST_RUNS) {
      return -1;
    }
    int rank = now.first.length;
    if ((at + rank) * LONG.byteSize() > out.byteSize()) {
      return -1;
    }
    for (int d = 0; d < rank; d++) {
      long size = size(now, d, inputs, count);
      if (size < 0) {
        return -1;
      }
      out.setAtIndex(LONG, at + d, size);
    }
    return rank;
  }

  private static long size(Known known, int d, long[] inputs, int count) {
    long size = -1;
    for (long left = known.origins[d]; left != 0; left &= left - 1) {
      int origin = Long.numberOfTrailingZeros(left);
      if (origin != CONSTANT && origin >= count) {
        return -1;
      }
      long says = origin == CONSTANT ? known.first[d] : inputs[origin];
      if (size >= 0 && says != size) {
        return -1;
      }
      size = says;
    }
    return size;
  }

  /** Learns from what a run gave; the parameters as for {@link #foresee}. */
  void saw(long[] inputs, int count, MemorySegment shape, int at, int rank) {
    if (!unforeseeable) {
      learn(inputs, count, shape, at, rank);
    }
  }

  private synchronized void learn(long[] inputs, int count, MemorySegment shape, int at, int rank) {
    Known before = known;
    if (before != null && before.first.length != rank) {
      unforeseeable = true;
      return;
    }
    long[] dimensions = new long[rank];
    long[] origins = new long[rank];
    for (int d = 0; d < rank; d++) {
      dimensions[d] = shape.getAtIndex(LONG, at + d);
      for (int i = 0; i < Math.min(count, CONSTANT); i++) {
        origins[d] |= inputs[i] == dimensions[d] ? 1L << i : 0;
      }
      if (before == null || before.first[d] == dimensions[d]) {
        origins[d] |= 1L << CONSTANT;
      }
      if (before != null) {
        origins[d] &= before.origins[d];
      }
      unforeseeable |= origins[d] == 0;
    }
    known =
        before == null
            ? new Known(dimensions, origins, 1)
            : new Known(before.first, origins, Math.min(LEAST_RUNS, before.runs + 1));
  }

  /** It was foreseen wrongly, and is foreseen no more. */
  void wasWrong() {
    unforeseeable = true;
  }
}
