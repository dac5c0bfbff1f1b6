package orlop.pod;

import io.grpc.ForwardingServerCall;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;
import orlop.placement.Action;
import orlop.placement.Fault;
import orlop.placement.Route;
import orlop.runtime.InferenceException;

/** What went wrong, as a gRPC status. Pure. */
final class Statuses {
  private static final int MAX_ENCODED_BYTES = 4_000;

  /** Nobody waits for the answer any more, so the call is not run. */
  static final Status LATE =
      Status.DEADLINE_EXCEEDED.withDescription("the deadline passed before the call ran");

  static final Status NAMELESS =
      Status.INVALID_ARGUMENT.withDescription(
          "the call names no model: set model_name, or header "
              + Headers.MODEL_ID
              + " or "
              + Headers.VMODEL_ID);

  private Statuses() {}

  static Status of(InferenceException e) {
    Status base =
        switch (e.code()) {
          case INVALID_ARGUMENT -> Status.INVALID_ARGUMENT;
          case RESOURCE_EXHAUSTED -> Overload.STATUS;
          case TOO_LARGE -> Status.RESOURCE_EXHAUSTED;
          case CANCELLED -> Status.CANCELLED;
          case INTERNAL -> Status.INTERNAL;
        };
    return base.withDescription(e.getMessage());
  }

  /**
   * Why a call cannot be run after the wait for its model.
   *
   * @return null when it can
   */
  static @Nullable Status of(Action.Outcome outcome, String modelId, String podId) {
    return switch (outcome) {
      case Action.Outcome.Ready() -> null;
      case Action.Outcome.Failed(Fault fault, String reason, long _) ->
          of(fault)
              .withDescription(
                  "model '%s' failed to load in pod '%s': %s".formatted(modelId, podId, reason));
      case Action.Outcome.NoRoom(String why) ->
          Overload.STATUS.withDescription(
              "no room for model '%s' in pod '%s': %s".formatted(modelId, podId, why));
      case Action.Outcome.Leaving() ->
          // No overload: a copy that is busy would keep the call from being loaded elsewhere.
          Status.UNAVAILABLE.withDescription(
              "model '%s' leaves pod '%s', and others hold it".formatted(modelId, podId));
      case Action.Outcome.Draining() ->
          Status.UNAVAILABLE.withDescription(
              "pod '%s' is draining and does not load model '%s'".formatted(podId, modelId));
    };
  }

  /**
   * Whether a runtime says in this way that it does not hold the model. Beside NOT_FOUND there are
   * Triton, which says UNAVAILABLE, and MLServer, which says INVALID_ARGUMENT; both name the model.
   */
  static boolean saysMissing(Status status, String modelId) {
    return switch (status.getCode()) {
      case NOT_FOUND -> true;
      case UNAVAILABLE, INVALID_ARGUMENT -> {
        String text = String.valueOf(status.getDescription());
        String said = text.toLowerCase(Locale.ROOT);
        yield text.contains(modelId) && (said.contains("not found") || said.contains("unknown"));
      }
      default -> false;
    };
  }

  /** What is told of a place that gave no answer. */
  static String lost(Outlet.Target target, Status status) {
    return "%s%s %s: %s"
        .formatted(
            target.pod() ? "pod '" + target.id() + "' at " : "the runtime at ",
            target.address(),
            status.getCode() == Status.Code.CANCELLED ? "gave the call up" : "cannot be reached",
            status.getDescription());
  }

  /** Whether somebody must change something before it can work, or time and room may do. */
  static Status of(Fault fault) {
    return switch (fault) {
      case PERMANENT, CONFIGURATION -> Status.FAILED_PRECONDITION;
      case CAPACITY -> Overload.STATUS;
      case TRANSIENT -> Status.UNAVAILABLE;
    };
  }

  /**
   * Why no pod takes a call.
   *
   * @param fault why loads of the model failed, if any did
   */
  static Status of(Route.Cause cause, @Nullable Fault fault) {
    return switch (cause) {
      case UNKNOWN_MODEL -> Status.NOT_FOUND;
      case NOT_HERE, EXHAUSTED -> Status.UNAVAILABLE;
      case NO_ROOM -> Overload.STATUS;
      case LOAD_FAILED -> fault == null ? Status.UNAVAILABLE : of(fault);
    };
  }

  /** Ends every call as the router does, whatever service answers it. */
  static final ServerInterceptor ENDS =
      new ServerInterceptor() {
        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
          return next.startCall(
              new ForwardingServerCall.SimpleForwardingServerCall<Q, A>(call) {
                @Override
                public void close(Status status, Metadata trailers) {
                  if (Overload.is(status)) {
                    trailers.put(
                        Named.ascii(Wire.RETRY_PUSHBACK.toString()), Wire.RETRY_AFTER.toString());
                  }
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
