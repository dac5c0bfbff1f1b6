package orlop.pod;

import com.fasterxml.jackson.core.JsonGenerator;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** V1, the older protocol of TensorFlow Serving and KServe, over models that speak V2. */
final class RestV1 {
  private static final String PREDICT = ":predict";
  private static final String EXPLAIN = ":explain";

  private final PodConfig config;
  private final RestCalls calls;
  private final Predicate<Named> ready;
  private final RestRepository repository;

  /**
   * @param ready whether a model can be called
   */
  RestV1(PodConfig config, RestCalls calls, Predicate<Named> ready, RestRepository repository) {
    this.config = config;
    this.calls = calls;
    this.ready = ready;
    this.repository = repository;
  }

  RestReply answer(RestRequest request, List<String> path) throws RestError {
    if (path.size() < 2 || !path.get(1).equals("models")) {
      throw RestFront.unknown(request);
    }
    if (path.size() == 2) {
      RestFront.only("GET", request);
      return repository.names();
    }
    boolean versioned = path.size() == 5 && path.get(3).equals("versions");
    if (path.size() != 3 && !versioned) {
      throw RestFront.unknown(request);
    }
    String last = path.getLast();
    String verb = last.endsWith(PREDICT) ? PREDICT : last.endsWith(EXPLAIN) ? EXPLAIN : "";
    String bare = last.substring(0, last.length() - verb.length());
    String name = versioned ? path.get(2) : bare;
    String version = versioned ? bare : "";
    return switch (verb) {
      case PREDICT -> {
        RestFront.only("POST", request);
        yield predict(request, name, version);
      }
      case EXPLAIN -> {
        RestFront.only("POST", request);
        calls.model(name);
        throw new RestError(501, "model '" + name + "' has no explainer");
      }
      default -> {
        RestFront.only("GET", request);
        yield status(name, version);
      }
    };
  }

  private RestReply status(String name, String version) throws RestError {
    boolean is = ready.test(repository.named(name, version));
    return RestJson.reply(is ? 200 : 503, RestJson.object().put("name", name).put("ready", is));
  }

  private RestReply predict(RestRequest request, String name, String version) throws RestError {
    ModelMetadataResponse signature = calls.signature(request, name);
    boolean[] rows = new boolean[1];
    byte[] message = message(request, signature, name, version, rows);
    // The call counts the message from now on.
    request.freeBody();
    ModelInferResponse response = calls.infer(request, name, message);
    return predictions(RestTensor.of(response), rows[0]);
  }

  /** Apart from the wait, so that the body is let go before it. */
  private byte[] message(
      RestRequest request,
      ModelMetadataResponse signature,
      String name,
      String version,
      boolean[] rows)
      throws RestError {
    byte[] body = RestFront.body(request, config);
    RestRows read = RestRows.read(body, signature, config.maxMessageBytes());
    rows[0] = read.rowWise();
    return calls.encoded(read.request().setModelName(name).setModelVersion(version).build());
  }

  private static RestReply predictions(List<RestTensor> tensors, boolean rows) throws RestError {
    long bytes = 256;
    for (RestTensor tensor : tensors) {
      bytes += 2L * tensor.raw().remaining();
    }
    RestJson.Bytes out = new RestJson.Bytes((int) Math.min(1 << 24, bytes));
    try (JsonGenerator json = RestJson.generator(out)) {
      json.writeStartObject();
      json.writeFieldName("predictions");
      if (tensors.size() == 1) {
        tensors.getFirst().nested(json, 0);
      } else if (rows) {
        rows(json, tensors);
      } else {
        json.writeStartObject();
        for (RestTensor tensor : tensors) {
          json.writeFieldName(tensor.name());
          tensor.nested(json, 0);
        }
        json.writeEndObject();
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new IllegalStateException("memory refused to be written", e);
    }
    List<ByteBuffer> parts = List.of(out.view());
    return new RestReply(200, RestReply.JSON, Map.of(), parts);
  }

  private static void rows(JsonGenerator json, List<RestTensor> tensors)
      throws IOException, RestError {
    long rows = tensors.isEmpty() ? 0 : rows(tensors.getFirst());
    for (RestTensor tensor : tensors) {
      if (rows(tensor) != rows) {
        throw RestError.bad(
            "the outputs differ in their number of rows (%s has %d, %s has %d); ask by 'inputs'"
                .formatted(tensors.getFirst().name(), rows, tensor.name(), rows(tensor)));
      }
    }
    json.writeStartArray();
    for (long row = 0; row < rows; row++) {
      json.writeStartObject();
      for (RestTensor tensor : tensors) {
        json.writeFieldName(tensor.name());
        tensor.nested(json, 1);
      }
      json.writeEndObject();
    }
    json.writeEndArray();
  }

  private static long rows(RestTensor tensor) {
    return tensor.shape().length == 0 ? -1 : tensor.shape()[0];
  }
}
