package orlop.payload;

import orlop.api.PayloadEvent;

/** The sink of a log that captures nothing. */
final class NoSink implements PayloadSink {
  @Override
  public void send(PayloadEvent event, Outcome outcome) {
    outcome.accept(false);
  }

  @Override
  public void close(long timeoutMs) {}
}
