package orlop.pod;

/**
 * Marks a status as the refusal of a call that was not run because too many others are: its caller
 * is told when to come again, by the header that gRPC's own retries obey.
 */
final class Overload extends Exception {
  private static final long serialVersionUID = 1L;

  /** The only one. */
  static final Overload MARK = new Overload();

  private Overload() {
    super("overload", null, false, false);
  }
}
