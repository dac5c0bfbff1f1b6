package orlop.runtime;

import java.lang.System.Logger.Level;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * By how much more, or less, memory the models of this process take than the formula says: one
 * factor for all of them, because memory in use cannot be told apart by model. What is within
 * {@link #SLACK_BYTES} is left to the formula, since others use the same memory. Thread-safe.
 *
 * <p>Measured is what the C library has handed out and not got back, less Java's direct buffers,
 * against the same without models; at the end of a load while no other runs, once a second at most.
 */
final class SizeCorrection {
  static final SizeCorrection OF_PROCESS =
      new SizeCorrection(SizeCorrection::modelBytes, System::nanoTime);

  /** What inferences under way and the virtual machine itself may take in between. */
  static final long SLACK_BYTES = 32L << 20;

  static final double LEAST = 0.5;
  static final double MOST = 4;

  private static final System.Logger LOG = System.getLogger(SizeCorrection.class.getName());
  private static final long REST_NS = TimeUnit.SECONDS.toNanos(1);
  private static final double WORTH_A_LINE = 0.1;

  private final LongSupplier inUse;
  private final LongSupplier nowNs;
  private long withoutModels;
  private long saidBytes;
  private int loads;
  private long measuredNs;
  private double logged = 1;
  private volatile double factor = 1;

  /**
   * @param inUse bytes of native memory in use, models and all; negative where nobody knows
   */
  SizeCorrection(LongSupplier inUse, LongSupplier nowNs) {
    this.inUse = inUse;
    this.nowNs = nowNs;
    this.measuredNs = nowNs.getAsLong() - REST_NS;
  }

  private static long modelBytes() {
    long all = NativeHeap.inUseBytes();
    for (BufferPoolMXBean pool : ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class)) {
      if (all >= 0 && pool.getName().equals("direct")) {
        all = Math.max(0, all - pool.getMemoryUsed());
      }
    }
    return all;
  }

  double factor() {
    return factor;
  }

  /** What a model is to be taken for that the formula says takes so many bytes. */
  long told(long formulaBytes) {
    return (long) (formulaBytes * factor);
  }

  /** A load begins; {@link #loaded} or {@link #failed} follows. */
  synchronized void begins() {
    if (loads == 0 && saidBytes == 0) {
      withoutModels = inUse.getAsLong();
    }
    loads++;
  }

  synchronized void failed() {
    loads--;
  }

  /** A load has ended well; {@link #left} follows. */
  synchronized void loaded(long formulaBytes) {
    loads--;
    saidBytes += formulaBytes;
    if (loads == 0 && nowNs.getAsLong() - measuredNs >= REST_NS) {
      measuredNs = nowNs.getAsLong();
      measure();
    }
  }

  /** A model was closed. */
  synchronized void left(long formulaBytes) {
    saidBytes -= formulaBytes;
  }

  /** At once, whenever that was done last and whatever is under way. */
  synchronized void measure() {
    long now = inUse.getAsLong();
    if (now < 0 || withoutModels < 0 || saidBytes <= 0) {
      return;
    }
    long more = now - withoutModels - saidBytes;
    long certain = Math.max(0, Math.abs(more) - SLACK_BYTES);
    factor = Math.clamp(1 + Math.signum((double) more) * certain / saidBytes, LEAST, MOST);
    if (Math.abs(factor - logged) > WORTH_A_LINE) {
      logged = factor;
      LOG.log(
          Level.INFO,
          "models are taken for {0} times what their files say: of {1} bytes said, {2} are in use",
          factor,
          saidBytes,
          now - withoutModels);
    }
  }
}
