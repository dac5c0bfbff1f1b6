package orlop.runtime;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Native memory that runs need for a moment: tables of addresses, shapes, and tensors that cannot
 * be used where they are. Owned by one thread, which makes one run at a time; given back when
 * nobody knows it any more.
 */
public final class Workspace {
  static final int MOST_TENSORS = 32;
  static final int MOST_DIMENSIONS = 128;

  /** Of the engine's own tensors too: a line of the processor's cache. */
  public static final int ALIGNMENT_BYTES = 64;

  /** Larger tensors get memory of their own for the time of the run. */
  private static final int MOST_KEPT_BYTES = 4 << 20;

  private static final long FIRST_BYTES = 16 << 10;

  private final Arena arena = Arena.ofAuto();
  final MemorySegment inputNames = longs(MOST_TENSORS);
  final MemorySegment inputs = longs(MOST_TENSORS);
  final MemorySegment outputNames = longs(MOST_TENSORS);
  final MemorySegment outputs = longs(MOST_TENSORS);
  final MemorySegment data = longs(MOST_TENSORS);
  final MemorySegment dimensions = longs(MOST_DIMENSIONS);
  final MemorySegment scratch = longs(1);
  final int[] ranks = new int[MOST_TENSORS];

  /** Bytes of the outputs in an answer, and at which byte of it each begins. */
  final long[] lengths = new long[MOST_TENSORS];

  final long[] places = new long[MOST_TENSORS];
  private MemorySegment tensors = arena.allocate(FIRST_BYTES, ALIGNMENT_BYTES);

  private MemorySegment longs(int count) {
    return arena.allocate(ValueLayout.JAVA_LONG, count);
  }

  /** Whether that much is to be allocated for one run, and freed after it. */
  static boolean isLarge(long bytes) {
    return bytes > MOST_KEPT_BYTES;
  }

  /** So many aligned bytes of any content, good until the next call; not for large sizes. */
  MemorySegment tensors(long bytes) {
    if (bytes > tensors.byteSize()) {
      tensors = allocate(Arena.ofAuto(), Math.max(bytes, 2 * tensors.byteSize()));
    }
    return tensors;
  }

  static MemorySegment allocate(Arena arena, long bytes) {
    return arena.allocate(bytes, ALIGNMENT_BYTES);
  }

  static long aligned(long bytes) {
    return (bytes + ALIGNMENT_BYTES - 1) & -ALIGNMENT_BYTES;
  }
}
