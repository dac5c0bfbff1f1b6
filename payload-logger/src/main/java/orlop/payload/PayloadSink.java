package orlop.payload;

import orlop.api.PayloadEvent;

/**
 * Where captured events go. All methods but the outcomes run on the log's drain thread or, for
 * {@link #close}, on the closing thread after the drain thread has ended.
 */
public interface PayloadSink {

  /** Told once what became of one event, from any thread; must not block. */
  @FunctionalInterface
  interface Outcome {
    void accept(boolean sent);
  }

  /**
   * Whether the sink can take events now. May wait up to {@code timeoutMs} to find out. While it
   * says no, events stay queued, and once the budget is spent new ones are dropped.
   */
  default boolean awaitReady(long timeoutMs) {
    return true;
  }

  /**
   * Takes one event and reports later. May block for a short, bounded time; a throw counts as a
   * loss of this event.
   */
  void send(PayloadEvent event, Outcome outcome);

  /**
   * Finishes what was sent within {@code timeoutMs} and gives up on the rest. Every outcome has
   * been reported when it returns; one that was not counts as lost.
   */
  void close(long timeoutMs);
}
