package orlop.deploy;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * What a command opened, closed once and last first: by {@link #close}, or by a shutdown hook when
 * the process ends without it (Ctrl-C, SIGTERM, System.exit).
 *
 * <p>Each thing gets {@value #STEP_TIMEOUT_MS} ms to close, or as long as it was added with; then
 * the next one is closed beside it, so one that hangs cannot keep the others open. Something added
 * while closing has begun is closed at once. Thread-safe; no lock is held while something is
 * closed.
 */
final class Teardown implements AutoCloseable {
  private static final Logger LOG = System.getLogger(Teardown.class.getName());
  static final int STEP_TIMEOUT_MS = 10_000;

  private record Step(String name, AutoCloseable closeable, long timeoutMs) {}

  private final Object lock = new Object();
  private final Deque<Step> steps = new ArrayDeque<>();
  private final CountDownLatch done = new CountDownLatch(1);
  private final Thread hook = new Thread(this::closeAll, "orlop-teardown");
  private final int stepTimeoutMs;
  private boolean closing;
  private long boundMs;

  Teardown() {
    this(STEP_TIMEOUT_MS);
  }

  Teardown(int stepTimeoutMs) {
    this.stepTimeoutMs = stepTimeoutMs;
    Runtime.getRuntime().addShutdownHook(hook);
  }

  /** Takes over closing {@code closeable}; the name is for the log line if that fails. */
  <T extends AutoCloseable> T add(String name, T closeable) {
    return add(name, closeable, 0);
  }

  /**
   * @param drainMs how long the thing itself may wait for its work before it closes; its bound is
   *     longer by so much
   */
  <T extends AutoCloseable> T add(String name, T closeable, long drainMs) {
    Step step = new Step(name, closeable, stepTimeoutMs + drainMs);
    boolean late;
    synchronized (lock) {
      late = closing;
      if (!late) {
        steps.push(step);
        boundMs += step.timeoutMs;
      }
    }
    if (late) {
      closeOne(step);
      throw new IllegalStateException(name + " was started while the mesh was closing");
    }
    return closeable;
  }

  /** Closes everything, or waits until the one who began has done so. Never throws. */
  @Override
  public void close() {
    closeAll();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException shuttingDown) {
      LOG.log(Level.DEBUG, "closed during shutdown");
    }
  }

  private void closeAll() {
    boolean mine;
    synchronized (lock) {
      mine = !closing;
      closing = true;
    }
    if (!mine) {
      awaitDone();
      return;
    }
    try {
      while (true) {
        Step step;
        synchronized (lock) {
          step = steps.poll();
        }
        if (step == null) {
          return;
        }
        closeOne(step);
      }
    } finally {
      done.countDown();
    }
  }

  private void closeOne(Step step) {
    var thread =
        Thread.ofPlatform()
            .daemon()
            .name("orlop-close-" + step.name())
            .start(
                () -> {
                  try {
                    step.closeable().close();
                  } catch (Exception | LinkageError e) {
                    LOG.log(Level.WARNING, "closing {0} failed: {1}", step.name(), e.toString());
                  }
                });
    try {
      if (!thread.join(Duration.ofMillis(step.timeoutMs))) {
        LOG.log(Level.WARNING, "{0} did not close within {1} ms", step.name(), step.timeoutMs);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void awaitDone() {
    long mostMs;
    synchronized (lock) {
      mostMs = boundMs + stepTimeoutMs;
    }
    try {
      if (!done.await(mostMs, TimeUnit.MILLISECONDS)) {
        LOG.log(Level.WARNING, "closing did not end within {0} ms", mostMs);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
