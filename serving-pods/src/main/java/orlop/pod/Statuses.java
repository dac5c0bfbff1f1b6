package orlop.pod;

import io.grpc.ForwardingServerCall;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import orlop.runtime.InferenceException;

/** What went wrong, as a gRPC status. Pure. */
final class Statuses {
  private static final int MAX_ENCODED_BYTES = 4_000;

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

  /** Shortens the status of every call, whatever service answers it. */
  static final ServerInterceptor SHORT =
      new ServerInterceptor() {
        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
          return next.startCall(
              new ForwardingServerCall.SimpleForwardingServerCall<Q, A>(call) {
                @Override
                public void close(Status status, Metadata trailers) {
                  super.close(shortened(status), trailers);
                }
              },
              headers);
        }
      };

  /**
   * A status travels in a header block of at most 8 KiB, of which its text may take about half. On
   * the way a byte of UTF-8 that is not printable ASCII, and a percent sign, becomes three bytes.
   */
  static Status shortened(Status status) {
    String text = status.getDescription();
    if (text == null || text.length() * 9L <= MAX_ENCODED_BYTES) {
      return status;
    }
    int bytes = 0;
    for (int at = 0; at < text.length(); ) {
      int c = text.codePointAt(at);
      bytes += encodedBytes(c);
      if (bytes > MAX_ENCODED_BYTES) {
        return status.withDescription(text.substring(0, at) + "…");
      }
      at += Character.charCount(c);
    }
    return status;
  }

  private static int encodedBytes(int codePoint) {
    if (codePoint < 0x80) {
      return codePoint >= ' ' && codePoint <= '~' && codePoint != '%' ? 1 : 3;
    }
    return codePoint < 0x800 ? 6 : codePoint < 0x1_0000 ? 9 : 12;
  }
}
