package orlop.pod;

import com.fasterxml.jackson.databind.node.ObjectNode;
import inference.ModelMetadataResponse;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The REST front: V2 with binary tensors and the repository, V1, and what OpenAI's clients expect
 * of embedding and rerank models. One virtual thread per request; what needs a model goes the way
 * of the gRPC calls. Every V1 and V2 error is {@code {"error": text}} with a fitting status.
 */
final class RestFront implements AutoCloseable {
  private final PodConfig config;
  private final Front front;
  private final RestCalls calls;
  private final RestRepository repository;
  private final RestSettings settings;
  private final RestV1 v1;
  private final RestOpenAi openAi;
  private final RestServer server;

  /** Which model, and what of it. */
  private record Target(String model, String version, String verb) {}

  /**
   * @throws IOException naming the port that cannot be opened
   */
  RestFront(PodConfig config, Front front, Dispatcher dispatcher) throws IOException {
    this.config = config;
    this.front = front;
    calls = new RestCalls(config, dispatcher);
    repository = new RestRepository(config, front.repository);
    settings = new RestSettings(config, front.settings, dispatcher.sharedMemory);
    v1 = new RestV1(config, calls, front::ready, repository);
    openAi = new RestOpenAi(config, calls, dispatcher.registry::view);
    server = new RestServer(config, this::answer, dispatcher.tls, dispatcher.handshakes);
  }

  int port() {
    return server.port();
  }

  /** Connections that are open. */
  int connections() {
    return server.connections();
  }

  /** Bytes of requests that come in and answers that go out. */
  long heldBytes() {
    return server.heldBytes();
  }

  private RestReply answer(RestRequest request) {
    try {
      List<String> path = segments(request.rawPath);
      return switch (path.isEmpty() ? "" : path.getFirst()) {
        case "v2" -> v2(request, path);
        case "v1" -> v1.answer(request, path);
        case "openai" -> openAi.answer(request, path);
        case "" -> {
          only("GET", request);
          yield RestJson.reply(200, RestJson.object().put("status", "alive"));
        }
        default -> throw unknown(request);
      };
    } catch (RestError e) {
      return e.replyAt(request.rawPath);
    }
  }

  private static List<String> segments(String rawPath) throws RestError {
    List<String> segments = new ArrayList<>();
    for (String raw : rawPath.split("/", -1)) {
      if (!raw.isEmpty()) {
        try {
          // A plus is a plus in a path; the decoder is made for forms.
          segments.add(URLDecoder.decode(raw.replace("+", "%2B"), StandardCharsets.UTF_8));
        } catch (IllegalArgumentException e) {
          throw RestError.bad("path segment '" + raw + "' is not URL-encoded: " + e.getMessage());
        }
      }
    }
    return segments;
  }

  private RestReply v2(RestRequest request, List<String> path) throws RestError {
    if (path.size() == 1) {
      only("GET", request);
      return serverMetadata();
    }
    return switch (path.get(1)) {
      case "health" -> health(request, path);
      case "repository" -> repository.answer(request, path);
      case "systemsharedmemory", "cudasharedmemory", "logging", "trace" ->
          settings.answer(request, path);
      case "models" -> {
        if (path.size() == 2) {
          only("GET", request);
          yield repository.names();
        }
        if (path.size() == 3 && path.get(2).equals("stats") && !repository.knows("stats")) {
          only("GET", request);
          yield repository.stats();
        }
        if (path.size() == 5 && path.get(3).equals("trace") && path.get(4).equals("setting")) {
          // Of one model that there is; they are the same for all.
          Named unused = repository.named(path.get(2), "");
          yield settings.answer(request, List.of("v2", "trace", "setting"));
        }
        yield model(request, target(request, path));
      }
      default -> throw unknown(request);
    };
  }

  private static Target target(RestRequest request, List<String> path) throws RestError {
    String version = "";
    int rest = 3;
    if (path.size() >= 5 && path.get(3).equals("versions")) {
      version = path.get(4);
      rest = 5;
    }
    if (path.size() > rest + 1) {
      throw unknown(request);
    }
    return new Target(path.get(2), version, path.size() > rest ? path.get(rest) : "");
  }

  private RestReply health(RestRequest request, List<String> path) throws RestError {
    only("GET", request);
    String which = path.size() == 3 ? path.get(2) : "";
    return switch (which) {
      case "live" -> RestJson.reply(200, RestJson.object().put("live", true));
      case "ready" -> {
        if (!front.serverReady()) {
          throw new RestError(503, "pod '" + config.id() + "' is starting or draining");
        }
        yield RestJson.reply(200, RestJson.object().put("ready", true));
      }
      default -> throw unknown(request);
    };
  }

  private RestReply serverMetadata() {
    ObjectNode json = RestJson.object();
    json.put("name", front.metadata().getName());
    json.put("version", front.metadata().getVersion());
    front.metadata().getExtensionsList().forEach(json.putArray("extensions")::add);
    return RestJson.reply(200, json);
  }

  private RestReply model(RestRequest request, Target target) throws RestError {
    return switch (target.verb) {
      case "" -> {
        only("GET", request);
        yield metadata(calls.metadata(request, target.model, target.version));
      }
      case "ready" -> {
        only("GET", request);
        yield ready(target);
      }
      case "config" -> {
        only("GET", request);
        yield repository.config(repository.named(target.model, target.version));
      }
      case "stats" -> {
        only("GET", request);
        yield repository.stats(repository.named(target.model, target.version));
      }
      case "infer" -> {
        only("POST", request);
        yield infer(request, target);
      }
      default -> throw unknown(request);
    };
  }

  /** Triton's clients look at the status alone, and take 200 for ready. */
  private RestReply ready(Target target) throws RestError {
    if (!front.ready(repository.named(target.model, target.version))) {
      throw new RestError(503, "model '" + target.model + "' is not ready: its last load failed");
    }
    return RestJson.reply(200, RestJson.object().put("name", target.model).put("ready", true));
  }

  private RestReply infer(RestRequest request, Target target) throws RestError {
    Sent sent = read(request, target);
    // The call counts the message from now on.
    request.freeBody();
    return RestWriter.reply(calls.infer(request, target.model, sent.message), sent.wanted);
  }

  /** What is kept of a request while its call is under way. */
  private record Sent(byte[] message, RestReader.Wanted wanted) {}

  private Sent read(RestRequest request, Target target) throws RestError {
    String headerLength = request.header(RestWriter.HEADER_LENGTH);
    if (headerLength != null && headerLength.strip().equals("0")) {
      RestReader.Infer raw =
          RestReader.raw(
              body(request, config),
              calls.signature(request, target.model),
              target.model,
              target.version);
      return new Sent(calls.encoded(raw.request()), raw.wanted());
    }
    RestReader.Infer asked =
        RestReader.read(
            body(request, config),
            headerLength,
            target.model,
            target.version,
            config.maxMessageBytes());
    return new Sent(calls.encoded(asked.request()), asked.wanted());
  }

  /** The body as its sender wrote it, decompressed; counted as that until it is freed. */
  static byte[] body(RestRequest request, PodConfig config) throws RestError {
    byte[] sent = request.takeBody();
    byte[] plain =
        RestEncoding.decoded(sent, request.header("content-encoding"), config.maxMessageBytes());
    request.grown(Math.max(0, plain.length - sent.length));
    return plain;
  }

  private static RestReply metadata(ModelMetadataResponse metadata) {
    ObjectNode json = RestJson.object();
    json.put("name", metadata.getName());
    metadata.getVersionsList().forEach(json.putArray("versions")::add);
    json.put("platform", metadata.getPlatform());
    tensors(json, "inputs", metadata.getInputsList());
    tensors(json, "outputs", metadata.getOutputsList());
    return RestJson.reply(200, json);
  }

  private static void tensors(
      ObjectNode json, String key, List<ModelMetadataResponse.TensorMetadata> tensors) {
    var array = json.putArray(key);
    for (ModelMetadataResponse.TensorMetadata tensor : tensors) {
      ObjectNode one = array.addObject();
      one.put("name", tensor.getName());
      one.put("datatype", tensor.getDatatype());
      tensor.getShapeList().forEach(one.putArray("shape")::add);
    }
  }

  /** Refuses other methods; HEAD goes where GET goes. */
  static void only(String method, RestRequest request) throws RestError {
    boolean head = method.equals("GET") && request.method.equals("HEAD");
    if (!request.method.equals(method) && !head) {
      throw RestError.notAllowed(request, method);
    }
  }

  static RestError unknown(RestRequest request) {
    return new RestError(404, "nothing is served at " + request.rawPath);
  }

  /** Takes no new requests and waits for those under way. */
  void stop(long timeoutMs) throws InterruptedException {
    server.stop(timeoutMs);
  }

  @Override
  public void close() {
    server.close();
  }
}
