package orlop.pod;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import inference.ModelMetadataResponse;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Base64;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import orlop.placement.Alias;
import orlop.placement.MeshView;
import orlop.placement.Model;

/**
 * Embeddings and rerank as clients of OpenAI's interface (and of vLLM and KServe, for rerank) ask
 * for them, over tensor models that declare a {@link RestTask}. Errors take OpenAI's shape.
 */
final class RestOpenAi {
  private final PodConfig config;
  private final RestCalls calls;
  private final Supplier<MeshView> view;

  RestOpenAi(PodConfig config, RestCalls calls, Supplier<MeshView> view) {
    this.config = config;
    this.calls = calls;
    this.view = view;
  }

  RestReply answer(RestRequest request, List<String> path) throws RestError {
    if (path.size() < 3 || !path.get(1).equals("v1")) {
      throw RestFront.unknown(request);
    }
    switch (path.get(2)) {
      case "models" -> {
        RestFront.only("GET", request);
        if (path.size() == 3) {
          return models();
        }
        // Such names often hold a slash, and clients do not encode it.
        return model(String.join("/", path.subList(3, path.size())));
      }
      case "embeddings" -> {
        RestFront.only("POST", request);
        return embeddings(request);
      }
      case "rerank" -> {
        RestFront.only("POST", request);
        return rerank(request);
      }
      default -> throw RestFront.unknown(request);
    }
  }

  // ---- models

  private RestReply models() {
    MeshView now = view.get();
    Map<String, Model> declared = new TreeMap<>();
    now.eachModel(
        model -> {
          if (RestTask.of(model) != null) {
            declared.put(model.id(), model);
          }
        });
    for (Alias alias : now.aliases()) {
      Model model = now.model(alias.activeModelId());
      if (model != null && RestTask.of(model) != null) {
        declared.put(alias.name(), model);
      }
    }
    ObjectNode json = RestJson.object().put("object", "list");
    ArrayNode data = json.putArray("data");
    declared.forEach((name, model) -> data.add(described(name, model)));
    return RestJson.reply(200, json);
  }

  private RestReply model(String name) throws RestError {
    Model model = calls.model(name);
    task(name, null);
    return RestJson.reply(200, described(name, model));
  }

  private static ObjectNode described(String name, Model model) {
    return RestJson.object()
        .put("id", name)
        .put("object", "model")
        .put("created", model.registeredMs() / 1_000)
        .put("owned_by", "orlop");
  }

  /**
   * @param wanted null when any task will do
   */
  private RestTask task(String name, @org.jspecify.annotations.Nullable String wanted)
      throws RestError {
    RestTask task = RestTask.of(calls.model(name));
    if (task == null || (wanted != null && !task.task().equals(wanted))) {
      throw new RestError(
          wanted == null ? 404 : 400,
          "model '%s' declares %s; its key must hold {\"orlop\": {\"task\": \"%s\"}}"
              .formatted(
                  name,
                  task == null ? "no task" : "the task '" + task.task() + "'",
                  wanted == null ? RestTask.EMBEDDING : wanted));
    }
    return task;
  }

  private static String named(RestFields fields) throws RestError {
    String name = fields.text("model", "");
    if (name.isEmpty()) {
      throw RestError.bad("'model' is missing");
    }
    return name;
  }

  // ---- embeddings

  private RestReply embeddings(RestRequest request) throws RestError {
    RestFields fields = new RestFields(RestFront.body(request, config));
    String name = named(fields);
    RestTask task = task(name, RestTask.EMBEDDING);
    String format = fields.text("encoding_format", "float");
    if (!format.equals("float") && !format.equals("base64")) {
      throw RestError.bad("'encoding_format' is '" + format + "', expected float or base64");
    }
    int dimensions = fields.positive("dimensions", 0);
    ModelMetadataResponse signature = calls.signature(request, name);
    RestBatch batch = new RestBatch(calls, request, name, task, signature);
    RestItems items =
        RestItems.read(
            fields, "input", batch.type(task.input(), "input"), config.maxMessageBytes());
    float[][] vectors = batch.vectors(items);
    if (dimensions > 0 && dimensions != vectors[0].length) {
      throw RestError.bad(
          "'dimensions' is %d, model '%s' gives %d".formatted(dimensions, name, vectors[0].length));
    }
    return vectors(name, vectors, tokens(items), format.equals("base64"));
  }

  private static long tokens(RestItems items) {
    return items.items().stream().mapToLong(RestItems.Item::tokens).sum();
  }

  private static RestReply vectors(String name, float[][] vectors, long tokens, boolean base64) {
    RestJson.Bytes out = new RestJson.Bytes(1_024);
    try (JsonGenerator json = RestJson.generator(out)) {
      json.writeStartObject();
      json.writeStringField("object", "list");
      json.writeArrayFieldStart("data");
      for (int i = 0; i < vectors.length; i++) {
        json.writeStartObject();
        json.writeStringField("object", "embedding");
        json.writeNumberField("index", i);
        json.writeFieldName("embedding");
        vector(json, vectors[i], base64);
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeStringField("model", name);
      json.writeObjectFieldStart("usage");
      json.writeNumberField("prompt_tokens", tokens);
      json.writeNumberField("total_tokens", tokens);
      json.writeEndObject();
      json.writeEndObject();
    } catch (IOException e) {
      throw new IllegalStateException("memory refused to be written", e);
    }
    return new RestReply(200, RestReply.JSON, Map.of(), List.of(out.view()));
  }

  private static void vector(JsonGenerator json, float[] vector, boolean base64)
      throws IOException {
    if (base64) {
      ByteBuffer bytes = ByteBuffer.allocate(4 * vector.length).order(ByteOrder.LITTLE_ENDIAN);
      bytes.asFloatBuffer().put(vector);
      json.writeString(Base64.getEncoder().encodeToString(bytes.array()));
      return;
    }
    json.writeStartArray();
    for (float value : vector) {
      json.writeNumber(value);
    }
    json.writeEndArray();
  }

  // ---- rerank

  private RestReply rerank(RestRequest request) throws RestError {
    RestFields fields = new RestFields(RestFront.body(request, config));
    String name = named(fields);
    RestTask task = task(name, RestTask.RERANK);
    int top = fields.positive("top_n", Integer.MAX_VALUE);
    boolean withDocuments = fields.flag("return_documents", true);
    ModelMetadataResponse signature = calls.signature(request, name);
    RestBatch batch = new RestBatch(calls, request, name, task, signature);
    boolean apart = !task.query().isEmpty();
    RestType queryType = batch.type(apart ? task.query() : task.input(), "query");
    RestType documentType = apart ? batch.type(task.document(), "document") : queryType;
    RestItems query = RestItems.read(fields, "query", queryType, config.maxMessageBytes());
    if (query.items().size() != 1) {
      throw RestError.bad("'query' holds " + query.items().size() + " queries, expected one");
    }
    RestItems documents =
        RestItems.read(fields, "documents", documentType, config.maxMessageBytes());
    double[] scores = batch.scores(query.items().getFirst(), documents);
    ObjectNode json = RestJson.object();
    json.put("id", "rerank-" + UUID.randomUUID()).put("model", name);
    long tokens = tokens(query) * scores.length + tokens(documents);
    json.putObject("usage").put("total_tokens", tokens);
    ArrayNode results = json.putArray("results");
    IntStream.range(0, scores.length)
        .boxed()
        .sorted(Comparator.comparingDouble((Integer i) -> -scores[i]))
        .limit(top)
        .forEach(
            i -> {
              ObjectNode result = results.addObject().put("index", i);
              String text = documents.items().get(i).text();
              if (withDocuments && documents.type() == RestType.BYTES) {
                result.putObject("document").put("text", text);
              }
              result.put("relevance_score", scores[i]);
            });
    return RestJson.reply(200, json);
  }
}
