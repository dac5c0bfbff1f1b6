package orlop.runtime;

import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * Sees to it that memory of models that leave goes back to the operating system, with glibc's
 * {@code mallopt} and {@code malloc_trim}. Without it the resident size of the process stays at its
 * highest. Tells what a load takes, with {@code mallinfo2}. Thread-safe; does nothing where the C
 * library has no such calls.
 *
 * <p>Large blocks that are allocated while a model is loaded get a mapping of their own, which goes
 * when they are freed and leaves no hole. Large blocks of inferences do not: mapping 1 MB anew for
 * each takes three times as long as the inference itself.
 */
final class NativeHeap {
  private static final System.Logger LOG = System.getLogger(NativeHeap.class.getName());
  private static final @Nullable MethodHandle MALLOC_TRIM =
      lookUp("malloc_trim", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG));
  private static final @Nullable MethodHandle MALLOPT =
      lookUp(
          "mallopt",
          FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));

  /** The struct that mallinfo2 returns: ten numbers, of which two tell what is handed out. */
  private static final MemoryLayout INFO =
      MemoryLayout.structLayout(MemoryLayout.sequenceLayout(10, ValueLayout.JAVA_LONG));

  private static final int INFO_MAPPED = 4;
  private static final int INFO_IN_USE = 7;
  private static final @Nullable MethodHandle MALLINFO2 =
      lookUp("mallinfo2", FunctionDescriptor.of(INFO));

  // Parameters of mallopt, see malloc.h.
  private static final int M_TRIM_THRESHOLD = -1;
  private static final int M_MMAP_THRESHOLD = -3;
  private static final int M_MMAP_MAX = -4;
  private static final int M_ARENA_MAX = -8;

  /** A block of at least this has a mapping of its own when it is allocated during a load. */
  static final int MAPPED_BYTES = 128 << 10;

  /** A block of at least this always has; the most that the C library would come to by itself. */
  private static final int ALWAYS_MAPPED_BYTES = 32 << 20;

  /** A quarter of what Linux lets a process have, which thread stacks need too. */
  private static final int MOST_MAPPINGS = 16_384;

  /** Loads under way whose large blocks are mapped. */
  private static int mappedLoads;

  /** Loads and unloads under way, of models of any size, and how many there ever were. */
  private static int changes;

  private static long changesEver;

  /** When the heap may be measured again; by {@link System#nanoTime}. */
  private static long measureAgainNs = System.nanoTime();

  /** Trimming may take this share of the time at most, one part in so many; measuring too. */
  private static final int REST_FACTOR = 50;

  private final int intervalMs;
  private final AtomicBoolean scheduled = new AtomicBoolean();
  private volatile long lastTrimMs;

  NativeHeap(int intervalMs) {
    this.intervalMs = intervalMs;
    tune(M_ARENA_MAX, Math.max(2, Runtime.getRuntime().availableProcessors()));
    tune(M_MMAP_MAX, MOST_MAPPINGS);
    tune(M_TRIM_THRESHOLD, 2 * ALWAYS_MAPPED_BYTES);
    try (Change none = loading(MAPPED_BYTES)) {
      // What this ends with is how inferences find it.
    }
  }

  /** Held while a model is loaded or unloaded. */
  static final class Change implements AutoCloseable {
    private final boolean mapped;
    private final long number;
    private final boolean alone;
    private long before = -1;

    private Change(boolean mapped) {
      this.mapped = mapped;
      synchronized (NativeHeap.class) {
        number = ++changesEver;
        alone = ++changes == 1;
        if (mapped && ++mappedLoads == 1) {
          tune(M_MMAP_THRESHOLD, MAPPED_BYTES);
        }
      }
    }

    /** Measures what is handed out now, unless that was done too short a while ago. */
    private Change measured() {
      if (undisturbed() && mayMeasure()) {
        before = measure();
      }
      return this;
    }

    /**
     * Bytes that the C library has handed out since this began, to the whole process, less what it
     * was given back; -1 when not measured, or when another model came or went meanwhile.
     */
    long grownBytes() {
      if (before < 0 || !undisturbed()) {
        return -1;
      }
      long now = measure();
      return now >= before && undisturbed() ? now - before : -1;
    }

    private boolean undisturbed() {
      synchronized (NativeHeap.class) {
        return alone && number == changesEver;
      }
    }

    @Override
    public void close() {
      synchronized (NativeHeap.class) {
        changes--;
        if (mapped && --mappedLoads == 0) {
          tune(M_MMAP_THRESHOLD, ALWAYS_MAPPED_BYTES);
        }
      }
    }
  }

  /**
   * A load begins. Until it ends, new large blocks of the process get mappings of their own, if the
   * model is large enough to have some.
   */
  static Change loading(long expectedBytes) {
    return new Change(expectedBytes >= MAPPED_BYTES);
  }

  /** The same, and it tells how much the process has grown by it, where it can. */
  static Change loadingMeasured(long expectedBytes) {
    return loading(expectedBytes).measured();
  }

  static Change unloading() {
    return new Change(false);
  }

  /** Whether a load that begins now can be measured. */
  static synchronized boolean mayMeasure() {
    return MALLINFO2 != null && System.nanoTime() - measureAgainNs >= 0;
  }

  /** Walks all free memory, as a trim does; -1 when that failed. */
  private static long measure() {
    MethodHandle info = MALLINFO2;
    if (info == null) {
      return -1;
    }
    long startNs = System.nanoTime();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment told = (MemorySegment) info.invokeExact((SegmentAllocator) arena);
      return told.getAtIndex(ValueLayout.JAVA_LONG, INFO_MAPPED)
          + told.getAtIndex(ValueLayout.JAVA_LONG, INFO_IN_USE);
    } catch (Throwable e) {
      LOG.log(Level.WARNING, "mallinfo2 failed: {0}", e.toString());
      return -1;
    } finally {
      long nowNs = System.nanoTime();
      synchronized (NativeHeap.class) {
        measureAgainNs = Math.max(measureAgainNs, nowNs) + REST_FACTOR * (nowNs - startNs);
      }
    }
  }

  private static void tune(int parameter, int value) {
    if (MALLOPT == null) {
      return;
    }
    try {
      int done = (int) MALLOPT.invokeExact(parameter, value);
      if (done == 0) {
        LOG.log(Level.DEBUG, "mallopt({0}, {1}) was refused", parameter, value);
      }
    } catch (Throwable e) {
      LOG.log(Level.WARNING, "mallopt failed: {0}", e.toString());
    }
  }

  /** Whether this C library can trim at all. */
  static boolean canTrim() {
    return MALLOC_TRIM != null;
  }

  /**
   * Trims once, an interval from now; calls in between join that one. So the last unload of a burst
   * is always followed by a trim, and trims are never closer than the interval, nor than fifty
   * times what the last one took.
   */
  void trimSoon() {
    if (intervalMs == 0 || MALLOC_TRIM == null || !scheduled.compareAndSet(false, true)) {
      return;
    }
    // A platform thread, because the native call would hold the carrier of a virtual one.
    Thread.ofPlatform().daemon().name("orlop-malloc-trim").start(this::trimAfterInterval);
  }

  private void trimAfterInterval() {
    try {
      Thread.sleep(Math.max(intervalMs, REST_FACTOR * lastTrimMs));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      scheduled.set(false);
    }
    long startNs = System.nanoTime();
    trimNow();
    lastTrimMs = (System.nanoTime() - startNs) / 1_000_000;
  }

  /**
   * Walks all free memory: some 30 ms after 2,000 models have left, up to a second when 5,000 of
   * 10,000 have. Allocations in the part of the heap that is being walked wait for that long.
   */
  static void trimNow() {
    if (MALLOC_TRIM == null) {
      return;
    }
    try {
      int unused = (int) MALLOC_TRIM.invokeExact(0L);
    } catch (Throwable e) {
      LOG.log(Level.WARNING, "malloc_trim failed: {0}", e.toString());
    }
  }

  private static @Nullable MethodHandle lookUp(String name, FunctionDescriptor type) {
    try {
      Linker linker = Linker.nativeLinker();
      return linker
          .defaultLookup()
          .find(name)
          .map(address -> linker.downcallHandle(address, type))
          .orElse(null);
    } catch (IllegalCallerException | UnsupportedOperationException e) {
      LOG.log(Level.INFO, "freed model memory is not returned early: {0}", e.getMessage());
      return null;
    }
  }
}
