package orlop.pod;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse;
import inference.ServerMetadataResponse;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * V2 REST: health, metadata and JSON inference, one virtual thread per request. What needs a model
 * goes the way of the gRPC calls. Every error is {@code {"error": text}} with a fitting status.
 */
final class RestFront implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(RestFront.class.getName());

  private final PodConfig config;
  private final Front front;
  private final Dispatcher dispatcher;
  private final HttpServer server;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();

  /** Why a request is answered with an error. */
  private static final class HttpError extends Exception {
    private static final long serialVersionUID = 1L;
    private final int status;

    HttpError(int status, String message) {
      super(message);
      this.status = status;
    }
  }

  /** Which model, and what of it. */
  private record Target(String model, String version, String verb) {}

  /**
   * @throws IOException naming the port that cannot be opened
   */
  RestFront(PodConfig config, Front front, Dispatcher dispatcher) throws IOException {
    this.config = config;
    this.front = front;
    this.dispatcher = dispatcher;
    server = Pages.open(config.host(), config.restPort(), "restPort");
    server.createContext("/", this::handle);
    server.setExecutor(threads);
    server.start();
  }

  int port() {
    return server.getAddress().getPort();
  }

  private void handle(HttpExchange exchange) throws IOException {
    int status = 200;
    byte[] body;
    try {
      body = answer(exchange);
    } catch (HttpError e) {
      status = e.status;
      body = error(e.getMessage());
    } catch (RestTensors.BadRequest e) {
      status = 400;
      body = error(e.getMessage());
    } catch (RuntimeException e) {
      LOG.log(Level.WARNING, "REST request failed", e);
      status = 500;
      body = error(e.toString());
    }
    Pages.send(exchange, status, "application/json", body);
  }

  private byte[] answer(HttpExchange exchange)
      throws IOException, HttpError, RestTensors.BadRequest {
    List<String> path = segments(exchange.getRequestURI().getRawPath());
    if (path.isEmpty() || !path.getFirst().equals("v2")) {
      throw unknown(exchange);
    }
    if (path.size() == 1) {
      only("GET", exchange);
      return serverMetadata();
    }
    return switch (path.get(1)) {
      case "health" -> health(exchange, path);
      case "models" -> model(exchange, target(exchange, path));
      default -> throw unknown(exchange);
    };
  }

  private static List<String> segments(String rawPath) throws HttpError {
    List<String> segments = new ArrayList<>();
    for (String raw : rawPath.split("/", -1)) {
      if (!raw.isEmpty()) {
        try {
          // A plus is a plus in a path; the decoder is made for forms.
          segments.add(URLDecoder.decode(raw.replace("+", "%2B"), StandardCharsets.UTF_8));
        } catch (IllegalArgumentException e) {
          throw new HttpError(
              400, "path segment '" + raw + "' is not URL-encoded: " + e.getMessage());
        }
      }
    }
    return segments;
  }

  private static Target target(HttpExchange exchange, List<String> path) throws HttpError {
    if (path.size() < 3) {
      throw unknown(exchange);
    }
    String version = "";
    int rest = 3;
    if (path.size() >= 5 && path.get(3).equals("versions")) {
      version = path.get(4);
      rest = 5;
    }
    if (path.size() > rest + 1) {
      throw unknown(exchange);
    }
    return new Target(path.get(2), version, path.size() > rest ? path.get(rest) : "");
  }

  private byte[] health(HttpExchange exchange, List<String> path) throws IOException, HttpError {
    only("GET", exchange);
    String which = path.size() == 3 ? path.get(2) : "";
    return switch (which) {
      case "live" -> bytes(RestTensors.JSON.createObjectNode().put("live", true));
      case "ready" -> {
        if (!front.serverReady()) {
          throw new HttpError(503, "pod '" + config.id() + "' is starting or draining");
        }
        yield bytes(RestTensors.JSON.createObjectNode().put("ready", true));
      }
      default -> throw unknown(exchange);
    };
  }

  private byte[] serverMetadata() throws IOException {
    ServerMetadataResponse metadata = front.metadata();
    ObjectNode json = RestTensors.JSON.createObjectNode();
    json.put("name", metadata.getName());
    json.put("version", metadata.getVersion());
    json.set("extensions", RestTensors.JSON.valueToTree(List.copyOf(metadata.getExtensionsList())));
    return bytes(json);
  }

  private byte[] model(HttpExchange exchange, Target target)
      throws IOException, HttpError, RestTensors.BadRequest {
    return switch (target.verb) {
      case "" -> {
        only("GET", exchange);
        ModelMetadataRequest request =
            ModelMetadataRequest.newBuilder()
                .setName(target.model)
                .setVersion(target.version)
                .build();
        byte[] answer = call(exchange, Op.METADATA, target.model, request.toByteArray());
        yield bytes(RestTensors.metadata(ModelMetadataResponse.parseFrom(answer)));
      }
      case "ready" -> {
        only("GET", exchange);
        Boolean ready = front.modelReady(new Metadata(), target.model);
        if (ready == null) {
          throw new HttpError(404, "no model or alias '" + target.model + "' is registered");
        }
        yield bytes(
            RestTensors.JSON.createObjectNode().put("name", target.model).put("ready", ready));
      }
      case "infer" -> {
        only("POST", exchange);
        if (exchange.getRequestHeaders().containsKey("Inference-Header-Content-Length")) {
          throw new HttpError(501, "binary tensors are not served over REST; use gRPC or JSON");
        }
        byte[] request =
            RestTensors.request(body(exchange), target.model, target.version).toByteArray();
        byte[] answer = call(exchange, Op.INFER, target.model, request);
        yield RestTensors.answer(ModelInferResponse.parseFrom(answer));
      }
      default -> throw unknown(exchange);
    };
  }

  private byte[] body(HttpExchange exchange) throws IOException, HttpError {
    int most = config.maxMessageBytes();
    byte[] body = exchange.getRequestBody().readNBytes(most + 1);
    if (body.length > most) {
      throw new HttpError(413, "the body has more than " + most + " bytes, the limit");
    }
    return body;
  }

  private byte[] call(HttpExchange exchange, Op op, String model, byte[] request) throws HttpError {
    CompletableFuture<byte[]> answer = new CompletableFuture<>();
    Deadline deadline = Deadline.after(config.maxWaitMs(), TimeUnit.MILLISECONDS);
    Call call =
        dispatcher.begin(
            op,
            request,
            headers(exchange),
            model,
            deadline,
            (status, trailers, message) -> {
              if (message != null) {
                answer.complete(message);
              } else {
                answer.completeExceptionally(status.asRuntimeException());
              }
            });
    try {
      return answer.get(config.maxWaitMs() + 1_000, TimeUnit.MILLISECONDS);
    } catch (ExecutionException e) {
      throw error(Status.fromThrowable(e));
    } catch (TimeoutException | InterruptedException e) {
      call.cancel();
      throw new HttpError(504, "no answer in " + config.maxWaitMs() + " ms");
    }
  }

  /** What of the HTTP headers goes with the call: those that payload events may carry. */
  private Metadata headers(HttpExchange exchange) {
    Metadata headers = new Metadata();
    for (String name : config.payloadHeaders()) {
      String value = exchange.getRequestHeaders().getFirst(name);
      if (value != null) {
        headers.put(Named.ascii(name), value);
      }
    }
    String id = exchange.getRequestHeaders().getFirst("x-request-id");
    if (id != null && !config.payloadHeaders().contains("x-request-id")) {
      headers.put(Named.ascii("x-request-id"), id);
    }
    return headers;
  }

  private static HttpError error(Status status) {
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
    return new HttpError(http, text == null ? status.getCode().name() : text);
  }

  private static void only(String method, HttpExchange exchange) throws HttpError {
    if (!exchange.getRequestMethod().equals(method)) {
      exchange.getResponseHeaders().set("Allow", method);
      throw new HttpError(
          405,
          exchange.getRequestURI().getRawPath()
              + " takes "
              + method
              + ", not "
              + exchange.getRequestMethod().toUpperCase(Locale.ROOT));
    }
  }

  private static HttpError unknown(HttpExchange exchange) {
    return new HttpError(404, "nothing is served at " + exchange.getRequestURI().getRawPath());
  }

  private static byte[] error(@Nullable String text) {
    try {
      return RestTensors.JSON.writeValueAsBytes(Map.of("error", text == null ? "" : text));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a string cannot be written as JSON", e);
    }
  }

  private static byte[] bytes(JsonNode json) throws IOException {
    return RestTensors.JSON.writeValueAsBytes(json);
  }

  /** Takes no new requests and waits for those under way. */
  void stop(long timeoutMs) throws InterruptedException {
    server.stop((int) Math.min(Integer.MAX_VALUE, (timeoutMs + 999) / 1_000));
  }

  @Override
  public void close() {
    server.stop(0);
    threads.shutdown();
  }
}
