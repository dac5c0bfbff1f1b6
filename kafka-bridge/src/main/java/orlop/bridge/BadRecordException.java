package orlop.bridge;

/** A record whose value cannot be scored by any model, and why. */
final class BadRecordException extends Exception {
  private static final long serialVersionUID = 1;

  final Outcome.Reason reason;

  BadRecordException(Outcome.Reason reason, String message) {
    super(message, null, false, false);
    this.reason = reason;
  }
}
