package orlop.runtime;

import ai.onnxruntime.OrtException;
import org.jspecify.annotations.Nullable;

/**
 * A caller's means to stop one running inference from another thread. One per request. Thread-safe.
 *
 * <p>The engine looks at the flag between two operators, so a run stops after the operator it is
 * in. Cancelling before the run refuses it, cancelling after it does nothing.
 */
public final class Cancellation {

  /** For inferences that nobody will stop; cheaper, and {@link #cancel} on it is a mistake. */
  public static final Cancellation NEVER = new Cancellation();

  /*
   * The lock guards the life of what the stop needs: it must not be freed while another thread
   * sets their flag. Nothing under it waits or calls out beyond storing that flag.
   */
  private final Object lock = new Object();
  private boolean cancelled;
  private @Nullable Stop running;

  /** Makes a run end early; may be called while it has not begun. */
  interface Stop {
    void stop() throws OrtException;
  }

  /**
   * Stops the inference that runs with this, or refuses the one that will. Idempotent.
   *
   * @throws IllegalStateException on {@link #NEVER}
   */
  public void cancel() {
    if (this == NEVER) {
      throw new IllegalStateException(
          "Cancellation.NEVER is shared by all and cannot be cancelled");
    }
    synchronized (lock) {
      cancelled = true;
      if (running != null) {
        terminate(running);
      }
    }
  }

  public boolean isCancelled() {
    if (this == NEVER) {
      return false;
    }
    synchronized (lock) {
      return cancelled;
    }
  }

  /** Whether a run is tied to it now. */
  boolean runs() {
    synchronized (lock) {
      return running != null;
    }
  }

  /** Ties a run that is about to start; it is stopped at once if it is too late. */
  void begin(Stop stop) {
    synchronized (lock) {
      running = stop;
      if (cancelled) {
        terminate(stop);
      }
    }
  }

  /** Unties them; from here on the caller may free them. */
  void end() {
    synchronized (lock) {
      running = null;
    }
  }

  private static void terminate(Stop stop) {
    try {
      stop.stop();
    } catch (OrtException e) {
      throw new IllegalStateException("the engine refused to take the terminate flag", e);
    }
  }
}
