package orlop.pod;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.grpc.Status;
import java.util.Map;

/** Why a REST request is answered with an error: an HTTP status and a text for the caller. */
final class RestError extends Exception {
  private static final long serialVersionUID = 1L;
  private static final Map<String, String> LATER = Map.of("Retry-After", "1");

  final int status;

  /** Headers of the answer. */
  @SuppressWarnings("serial") // Errors are never serialized.
  private final Map<String, String> headers;

  private RestError(int status, String message, Map<String, String> headers) {
    super(message, null, false, false);
    this.status = status;
    this.headers = headers;
  }

  RestError(int status, String message) {
    this(status, message, status == 429 ? LATER : Map.of());
  }

  static RestError notAllowed(RestRequest request, String allowed) {
    return new RestError(
        405,
        request.rawPath + " takes " + allowed + ", not " + request.method,
        Map.of("Allow", allowed));
  }

  /** The request does not follow the protocol; the message says where and what was expected. */
  static RestError bad(String message) {
    return new RestError(400, message);
  }

  static RestError unknownModel(String name) {
    return new RestError(404, "no model or alias '" + name + "' is registered");
  }

  /** A call's end, as HTTP tells it. */
  static RestError of(Status status) {
    int http =
        switch (status.getCode()) {
          case INVALID_ARGUMENT, OUT_OF_RANGE -> 400;
          case UNAUTHENTICATED -> 401;
          case PERMISSION_DENIED -> 403;
          case NOT_FOUND -> 404;
          case ALREADY_EXISTS, ABORTED -> 409;
          case RESOURCE_EXHAUSTED -> 429;
          case CANCELLED -> 499;
          case UNIMPLEMENTED -> 501;
          case UNAVAILABLE, FAILED_PRECONDITION -> 503;
          case DEADLINE_EXCEEDED -> 504;
          case OK, UNKNOWN, INTERNAL, DATA_LOSS -> 500;
        };
    String text = status.getDescription();
    boolean again = Overload.is(status) || status.getCode() == Status.Code.UNAVAILABLE;
    return new RestError(
        http, text == null ? status.getCode().name() : text, again ? LATER : Map.of());
  }

  String text() {
    return String.valueOf(getMessage());
  }

  /** In the shape that callers of this path expect. */
  RestReply replyAt(String path) {
    return path.startsWith("/openai/") ? openAiReply() : reply();
  }

  /** {@code {"error": text}}, with a hint to come again where that may help. */
  RestReply reply() {
    return reply(RestJson.object().put("error", text()));
  }

  /** The shape that clients of OpenAI's interface parse. */
  RestReply openAiReply() {
    String type =
        switch (status) {
          case 429 -> "rate_limit_error";
          case 401 -> "authentication_error";
          case 403 -> "permission_error";
          default -> status < 500 ? "invalid_request_error" : "server_error";
        };
    String code =
        switch (status) {
          case 404 -> "not_found";
          case 429 -> "rate_limit_exceeded";
          case 503 -> "unavailable";
          case 504 -> "timeout";
          default -> status < 500 ? "invalid_request" : "internal_error";
        };
    ObjectNode error = RestJson.object();
    error.put("message", text()).put("type", type).putNull("param").put("code", code);
    return reply(RestJson.object().set("error", error));
  }

  private RestReply reply(ObjectNode body) {
    RestReply reply = RestJson.reply(status, body);
    return new RestReply(status, reply.type(), headers, reply.parts());
  }
}
