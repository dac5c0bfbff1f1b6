package orlop.runtime;

import java.lang.System.Logger.Level;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * Sees to it that memory of models that leave goes back to the operating system, with glibc's
 * {@code mallopt} and {@code malloc_trim}. Without it the resident size of the process stays at its
 * highest. Thread-safe; does nothing where the C library has no such calls.
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

  private static int loads;

  /** Trimming may take this share of the time at most, one part in so many. */
  private static final int REST_FACTOR = 50;

  private final int intervalMs;
  private final AtomicBoolean scheduled = new AtomicBoolean();
  private volatile long lastTrimMs;

  NativeHeap(int intervalMs) {
    this.intervalMs = intervalMs;
    tune(M_ARENA_MAX, Math.max(2, Runtime.getRuntime().availableProcessors()));
    tune(M_MMAP_MAX, MOST_MAPPINGS);
    tune(M_TRIM_THRESHOLD, 2 * ALWAYS_MAPPED_BYTES);
    try (Loading none = loading()) {
      // What this ends with is how inferences find it.
    }
  }

  /** Held while a model with large blocks is loaded. */
  interface Loading extends AutoCloseable {
    @Override
    void close();
  }

  /** From now until it is closed, new large blocks of the process get mappings of their own. */
  static Loading loading() {
    count(1);
    return () -> count(-1);
  }

  private static synchronized void count(int more) {
    boolean before = loads > 0;
    loads += more;
    if (before != loads > 0) {
      tune(M_MMAP_THRESHOLD, loads > 0 ? MAPPED_BYTES : ALWAYS_MAPPED_BYTES);
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
