package orlop.pod;

import io.grpc.Status;

/**
 * Marks a status as the refusal of a call for want of room: its caller is told when to come again,
 * by the header that gRPC's own retries obey. The mark goes from pod to pod as that header.
 */
final class Overload extends Exception {
  private static final long serialVersionUID = 1L;

  /** Such a refusal, still to be described. */
  static final Status STATUS = Status.RESOURCE_EXHAUSTED.withCause(new Overload());

  private Overload() {
    super("overload", null, false, false);
  }

  /** Whether it is one, be it described by whomever. */
  static boolean is(Status status) {
    return status.getCause() instanceof Overload;
  }
}
