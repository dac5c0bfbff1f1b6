package orlop.runtime;

import java.lang.System.Logger.Level;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * Hands memory that the C heap holds free back to the operating system, by glibc's {@code
 * malloc_trim}. Without it the resident size of the process stays at its highest after models
 * leave. Thread-safe; does nothing where the C library has no such call.
 */
final class NativeHeap {
  private static final System.Logger LOG = System.getLogger(NativeHeap.class.getName());
  private static final @Nullable MethodHandle MALLOC_TRIM = lookUp();

  /** Trimming may take this share of the time at most, one part in so many. */
  private static final int REST_FACTOR = 50;

  private final int intervalMs;
  private final AtomicBoolean scheduled = new AtomicBoolean();
  private volatile long lastTrimMs;

  NativeHeap(int intervalMs) {
    this.intervalMs = intervalMs;
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

  private static @Nullable MethodHandle lookUp() {
    try {
      Linker linker = Linker.nativeLinker();
      return linker
          .defaultLookup()
          .find("malloc_trim")
          .map(
              address ->
                  linker.downcallHandle(
                      address, FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG)))
          .orElse(null);
    } catch (IllegalCallerException | UnsupportedOperationException e) {
      LOG.log(Level.INFO, "freed model memory is not returned early: {0}", e.getMessage());
      return null;
    }
  }
}
