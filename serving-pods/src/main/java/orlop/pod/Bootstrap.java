package orlop.pod;

import java.lang.System.Logger.Level;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/**
 * The first minutes of a pod, in which it may say that it is not ready so that a roll-out waits or
 * stops. Thread-safe.
 *
 * <p>It begins as not ready while another pod drains: pods are replaced one after the other. And it
 * becomes not ready, for good, when its loads fail: what is wrong with the new version, or with its
 * place, shall not reach the next pod. Once the time is over nothing changes any more.
 */
final class Bootstrap {
  private static final System.Logger LOG = System.getLogger(Bootstrap.class.getName());
  private static final int MAX_FATAL = 2;
  private static final int FEW_LOADS = 20;

  private final PodConfig config;
  private final Supplier<MeshView> view;
  private final LongSupplier nowNs;
  private final long startNs;
  private volatile boolean admitted;
  private volatile boolean failed;

  // Guarded by this.
  private int loads;
  private int failures;
  private int fatal;

  /**
   * @param nowNs monotonic
   */
  Bootstrap(PodConfig config, Supplier<MeshView> view, LongSupplier nowNs) {
    this.config = config;
    this.view = view;
    this.nowNs = nowNs;
    this.startNs = nowNs.getAsLong();
  }

  private boolean over() {
    return nowNs.getAsLong() - startNs >= TimeUnit.MILLISECONDS.toNanos(config.bootstrapMs());
  }

  /** Whether traffic may come, as far as this is concerned. */
  boolean admits() {
    if (failed) {
      return false;
    }
    if (!admitted && (over() || draining() == null)) {
      admitted = true;
    }
    return admitted;
  }

  /** Why not, in one line; empty when it does. */
  String why() {
    if (admits()) {
      return "";
    }
    return failed
        ? "loads failed soon after the start, see the log"
        : "pod '" + draining() + "' drains, and this one starts after it";
  }

  private @Nullable String draining() {
    for (Pod pod : view.get().pods()) {
      if (pod.draining() && !pod.id().equals(config.id())) {
        return pod.id();
      }
    }
    return null;
  }

  /**
   * A load has ended.
   *
   * @param ok whether the model stands
   * @param ofRuntime whether it was the runtime that failed, and not the model or its store
   */
  void loadEnded(boolean ok, boolean ofRuntime) {
    if (!config.failFast() || failed || over()) {
      return;
    }
    synchronized (this) {
      loads++;
      failures += ok ? 0 : 1;
      fatal += !ok && ofRuntime ? 1 : 0;
      if (fatal <= MAX_FATAL && (loads <= FEW_LOADS || 2 * failures <= loads)) {
        return;
      }
      failed = true;
    }
    LOG.log(
        Level.ERROR,
        "pod ''{0}'' stays not ready: of {1} loads in its first {2} ms {3} failed, {4} in the"
            + " runtime",
        config.id(),
        String.valueOf(loads),
        String.valueOf(config.bootstrapMs()),
        String.valueOf(failures),
        String.valueOf(fatal));
  }
}
