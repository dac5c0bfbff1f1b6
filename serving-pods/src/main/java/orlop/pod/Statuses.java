package orlop.pod;

import io.grpc.Status;
import orlop.runtime.InferenceException;

/** What went wrong, as a gRPC status. Pure. */
final class Statuses {
  private static final int MAX_CHARS = 2_000;

  private Statuses() {}

  static Status of(InferenceException e) {
    Status base =
        switch (e.code()) {
          case INVALID_ARGUMENT -> Status.INVALID_ARGUMENT;
          case RESOURCE_EXHAUSTED -> Status.RESOURCE_EXHAUSTED;
          case CANCELLED -> Status.CANCELLED;
          case INTERNAL -> Status.INTERNAL;
        };
    return base.withDescription(e.getMessage());
  }

  /** A status travels in a header block of at most 8 KiB. */
  static Status shortened(Status status) {
    String text = status.getDescription();
    return text == null || text.length() <= MAX_CHARS
        ? status
        : status.withDescription(text.substring(0, MAX_CHARS) + "…");
  }
}
