package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** V1 and what OpenAI's clients ask, over tensor models. */
class RestTasksTest {
  private static TestMesh mesh;
  private static RestClient client;

  @BeforeAll
  static void start() throws Exception {
    mesh = new TestMesh(1);
    client = new RestClient(mesh.pod(0).restPort());
    model("one", "", List.of(tensor("x", "FP32", -1, 2)), List.of(tensor("x", "FP32", -1, 2)));
    model("column", "", List.of(tensor("x", "FP32", -1, 1)), List.of(tensor("x", "FP32", -1, 1)));
    model(
        "two",
        "",
        List.of(tensor("a", "INT64", -1), tensor("s", "BYTES", -1, 2)),
        List.of(tensor("a", "INT64", -1), tensor("s", "BYTES", -1, 2)));
    model(
        "ids",
        "{\"orlop\":{\"task\":\"embedding\",\"input\":\"ids\",\"mask\":\"mask\",\"output\":\"y\"}}",
        List.of(tensor("ids", "INT64", -1, -1), tensor("mask", "INT64", -1, -1)),
        List.of(tensor("y", "FP32", -1, -1, 2)));
    mesh.runtimes.getFirst().functions.put("ids", RestTasksTest::tokenVectors);
    model(
        "texts",
        "{\"orlop\":{\"task\":\"embedding\",\"normalize\":true}}",
        List.of(tensor("t", "BYTES", -1)),
        List.of(tensor("y", "FP32", -1, 2)));
    mesh.runtimes.getFirst().functions.put("texts", RestTasksTest::lengths);
    model(
        "judge",
        "{\"orlop\":{\"task\":\"rerank\",\"query\":\"q\",\"document\":\"d\"}}",
        List.of(tensor("q", "BYTES", -1, 1), tensor("d", "BYTES", -1, 1)),
        List.of(tensor("y", "FP32", -1, 1)));
    mesh.runtimes.getFirst().functions.put("judge", RestTasksTest::scores);
    mesh.alias("embed", "ids");
  }

  @AfterAll
  static void stop() throws IOException {
    client.close();
    mesh.close();
  }

  private static void model(
      String id, String key, List<TensorMetadata> inputs, List<TensorMetadata> outputs)
      throws Exception {
    mesh.runtimes
        .getFirst()
        .metadata
        .put(
            id,
            ModelMetadataResponse.newBuilder()
                .setName(id)
                .addAllInputs(inputs)
                .addAllOutputs(outputs)
                .build());
    mesh.registerWithKey(id, key);
  }

  private static TensorMetadata tensor(String name, String datatype, long... shape) {
    var tensor = TensorMetadata.newBuilder().setName(name).setDatatype(datatype);
    for (long dimension : shape) {
      tensor.addShape(dimension);
    }
    return tensor.build();
  }

  private static ModelInferResponse answer(long[] shape, float... values) {
    ByteBuffer raw = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    raw.asFloatBuffer().put(values);
    var output = ModelInferResponse.InferOutputTensor.newBuilder().setName("y").setDatatype("FP32");
    for (long dimension : shape) {
      output.addShape(dimension);
    }
    return ModelInferResponse.newBuilder()
        .addOutputs(output)
        .addRawOutputContents(ByteString.copyFrom(raw.array()))
        .build();
  }

  /** For each token the vector (id, 1); refuses a mask that is not of ones. */
  private static ModelInferResponse tokenVectors(ModelInferRequest request) {
    ByteBuffer ids = little(request, 0);
    ByteBuffer mask = little(request, 1);
    float[] vectors = new float[ids.remaining() / 4];
    for (int i = 0; i < vectors.length; i += 2) {
      vectors[i] = ids.getLong();
      vectors[i + 1] = mask.getLong();
    }
    return answer(
        new long[] {request.getInputs(0).getShape(0), request.getInputs(0).getShape(1), 2},
        vectors);
  }

  /** For each text the vector (bytes, 0). */
  private static ModelInferResponse lengths(ModelInferRequest request) {
    int n = (int) request.getInputs(0).getShape(0);
    float[] vectors = new float[2 * n];
    ByteBuffer texts = little(request, 0);
    for (int i = 0; i < n; i++) {
      int length = texts.getInt();
      vectors[2 * i] = length;
      texts.position(texts.position() + length);
    }
    return answer(new long[] {n, 2}, vectors);
  }

  /** A document's score is how many bytes it is longer than the query. */
  private static ModelInferResponse scores(ModelInferRequest request) {
    int n = (int) request.getInputs(0).getShape(0);
    float[] scores = new float[n];
    ByteBuffer queries = little(request, 0);
    ByteBuffer documents = little(request, 1);
    for (int i = 0; i < n; i++) {
      int query = queries.getInt();
      queries.position(queries.position() + query);
      int document = documents.getInt();
      documents.position(documents.position() + document);
      scores[i] = document - query;
    }
    return answer(new long[] {n, 1}, scores);
  }

  private static ByteBuffer little(ModelInferRequest request, int input) {
    return request.getRawInputContents(input).asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  private static RestClient.Answer post(String path, String body) throws IOException {
    return client.post(path, "", body.getBytes(StandardCharsets.UTF_8));
  }

  private static JsonNode json(String text) throws IOException {
    return RestJson.MAPPER.readTree(text.replace('\'', '"'));
  }

  // ---- V1

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "one|{'instances':[[1,2],[3,4]]}|[[1.0,2.0],[3.0,4.0]]",
        "one|{'signature_name':'x','instances':[{'x':[1,2]},{'x':[3,4]}]}|[[1.0,2.0],[3.0,4.0]]",
        "one|{'inputs':[[1,2]]}|[[1.0,2.0]]",
        "one|{'inputs':{'x':[[1,2]]}}|[[1.0,2.0]]",
        "column|{'instances':[1,2,3]}|[[1.0],[2.0],[3.0]]",
        "two|{'instances':[{'a':1,'s':['x','y']},{'s':['ä',{'b64':'eg=='}],'a':2}]}|[{'a':1,'s':['x','y']},{'a':2,'s':['ä','z']}]",
        "two|{'inputs':{'a':[1],'s':[['x','y']]}}|{'a':[1],'s':[['x','y']]}",
        "texts|{'instances':[{'b64':'eg=='},{'b64':'/wB6'}]}|[[1.0,0.0],[3.0,0.0]]",
        "texts|{'instances':[{'t':'x'},{'t':{'b64':'/wB6'}}]}|[[1.0,0.0],[3.0,0.0]]"
      })
  void predictsRowsAndColumns(String model, String body, String expected) throws Exception {
    RestClient.Answer answer = post("/v1/models/" + model + ":predict", body.replace('\'', '"'));
    assertEquals(200, answer.status(), answer.error());
    // Outputs of the echo come in the order of the request's inputs.
    assertEquals(json(expected), answer.json().path("predictions"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "one|{}|'instances'",
        "one|{'instances':[]}|empty",
        "one|{'instances':[[1,2],[3]]}|ragged",
        "one|{'instances':[[1,2],{'x':[1,2]}]}|one kind",
        "one|{'instances':[['a','b']]}|a number",
        "one|{'instances':[{'z':1}]}|no input 'z'",
        "one|{'instances':[[1,2]],'inputs':[[1,2]]}|twice",
        "two|{'instances':[1]}|objects that name them",
        "two|{'instances':[{'a':1,'s':['x','y']},{'a':1}]}|not, other rows do",
        "two|{'instances':[{'a':1,'a':1}]}|more often",
        "two|{'instances':[{'b64':'eg=='}]}|no input 'b64'",
        "one|{'instances':[{'b64':'eg=='}]}|a number",
        "texts|{'instances':[{'b64':'eg==','t':'x'}]}|b64",
        "texts|{'instances':[{'t':'x','b64':'eg=='}]}|more often"
      })
  void saysWhatIsWrongWithAPrediction(String model, String body, String expected) throws Exception {
    RestClient.Answer answer = post("/v1/models/" + model + ":predict", body.replace('\'', '"'));
    assertEquals(400, answer.status());
    assertTrue(answer.error().contains(expected), answer.error());
  }

  @Test
  void tellsOfModelsByV1() throws Exception {
    assertTrue(client.get("/v1/models").json().path("models").toString().contains("\"embed\""));
    assertEquals(json("{'name':'one','ready':true}"), client.get("/v1/models/one").json());
    assertEquals(200, client.get("/v1/models/one/versions/1").status());
    assertEquals(404, client.get("/v1/models/one/versions/7").status());
    assertEquals(404, client.get("/v1/models/no").status());
    assertEquals(404, post("/v1/models/no:predict", "{'instances':[1]}").status());
    assertEquals(501, post("/v1/models/one:explain", "{}").status());
    assertEquals(404, post("/v1/models/no:explain", "{}").status());
    assertEquals(405, client.get("/v1/models/one:predict").status());
    assertEquals(json("{'status':'alive'}"), client.get("/").json());
  }

  @Test
  void tellsConfigurationAndStatistics() throws Exception {
    JsonNode config = client.get("/v2/models/two/config").json();
    assertEquals("TYPE_STRING", config.path("input").get(1).path("data_type").asText());
    assertEquals(json("[2]"), config.path("input").get(1).path("dims"), "without the batch");
    assertTrue(config.path("max_batch_size").asInt() > 0);
    post("/v1/models/two:predict", "{\"inputs\":{\"a\":[1],\"s\":[[\"x\",\"y\"]]}}");
    JsonNode stats = client.get("/v2/models/two/stats").json().path("model_stats").get(0);
    assertTrue(stats.path("inference_count").asLong() > 0, stats.toString());
    assertTrue(client.get("/v2/models/stats").json().path("model_stats").size() > 0);
    assertEquals(404, client.get("/v2/models/no/stats").status());
  }

  // ---- OpenAI

  private static RestClient.Answer embed(String body) throws IOException {
    return post("/openai/v1/embeddings", body.replace('\'', '"'));
  }

  @Test
  void embedsTokenIdsOfAnyLengths() throws Exception {
    JsonNode answer = embed("{'input':[[1,3],[5],[7,9]],'model':'embed'}").json();
    assertEquals("list", answer.path("object").asText());
    assertEquals("embed", answer.path("model").asText());
    assertEquals(5, answer.path("usage").path("prompt_tokens").asInt());
    assertEquals(json("[2.0,1.0]"), answer.path("data").get(0).path("embedding"));
    assertEquals(json("[5.0,1.0]"), answer.path("data").get(1).path("embedding"));
    assertEquals(json("[8.0,1.0]"), answer.path("data").get(2).path("embedding"));
    JsonNode single = embed("{'model':'ids','input':[4,6]}").json();
    assertEquals(1, single.path("data").size());
    assertEquals(json("[5.0,1.0]"), single.path("data").get(0).path("embedding"));
  }

  @Test
  void embedsTextsInBothFormats() throws Exception {
    JsonNode answer = embed("{'model':'texts','input':['one two','x']}").json();
    assertEquals(json("[1.0,0.0]"), answer.path("data").get(1).path("embedding"));
    assertEquals(3, answer.path("usage").path("total_tokens").asInt());
    JsonNode packed = embed("{'encoding_format':'base64','model':'texts','input':'x'}").json();
    byte[] bytes = Base64.getDecoder().decode(packed.at("/data/0/embedding").asText());
    assertEquals(1f, ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getFloat());
  }

  @Test
  void ranksDocuments() throws Exception {
    RestClient.Answer answer =
        post(
            "/openai/v1/rerank",
            "{\"model\":\"judge\",\"query\":\"ab\",\"documents\":[\"a\",{\"text\":\"abcd\"},\"abc\"],\"top_n\":2}");
    assertEquals(200, answer.status(), answer.json().toString());
    JsonNode results = answer.json().path("results");
    assertEquals(2, results.size());
    assertEquals(1, results.get(0).path("index").asInt());
    assertEquals("abcd", results.at("/0/document/text").asText());
    assertEquals(2.0, results.get(0).path("relevance_score").asDouble());
    assertEquals(2, results.get(1).path("index").asInt());
    assertEquals(6, answer.json().at("/usage/total_tokens").asInt());
  }

  /** A query goes along with each document, so that they take more together than they came in. */
  @Test
  void ranksInAsManyCallsAsItTakes() throws Exception {
    String query = "q".repeat(1 << 20);
    String documents = "\"d\"" + ",\"d\"".repeat(39);
    RestClient.Answer answer =
        post(
            "/openai/v1/rerank",
            "{\"model\":\"judge\",\"query\":\"%s\",\"documents\":[%s,\"%s\"]}"
                .formatted(query, documents, "x".repeat(10)));
    assertEquals(200, answer.status(), answer.json().toString());
    JsonNode results = answer.json().path("results");
    assertEquals(41, results.size());
    assertEquals(40, results.get(0).path("index").asInt());
    assertEquals(1 - (1 << 20), results.get(1).path("relevance_score").asDouble());
  }

  @Test
  void callsOfOneRequestTakeNoLongerThanOneMay() throws Exception {
    try (TestMesh own = new TestMesh(1, b -> b.maxWaitMs(500));
        RestClient caller = new RestClient(own.pod(0).restPort())) {
      FakeRuntime runtime = own.runtimes.getFirst();
      runtime.metadata.put(
          "slow",
          ModelMetadataResponse.newBuilder()
              .addInputs(tensor("x", "FP32", -1, -1))
              .addOutputs(tensor("x", "FP32", -1, -1))
              .build());
      runtime.functions.put("slow", RestTasksTest::tenMilliseconds);
      own.registerWithKey("slow", "{\"orlop\":{\"task\":\"embedding\"}}");
      StringBuilder items = new StringBuilder("[1]");
      for (int length = 2; length <= 200; length++) {
        items.append(",[1").append(",1".repeat(length - 1)).append("]");
      }
      String body = "{\"model\":\"slow\",\"input\":[" + items + "]}";
      RestClient.Answer answer =
          caller.post("/openai/v1/embeddings", "", body.getBytes(StandardCharsets.UTF_8));
      assertEquals(504, answer.status());
      assertTrue(runtime.inferences.get() < 60, runtime.inferences.get() + " calls");
    }
  }

  private static ModelInferResponse tenMilliseconds(ModelInferRequest request) {
    for (long end = System.nanoTime() + 10_000_000; System.nanoTime() < end; ) {
      Thread.onSpinWait();
    }
    long width = request.getInputs(0).getShape(1);
    return answer(new long[] {1, width}, new float[(int) width]);
  }

  @Test
  void listsModelsThatDeclareATask() throws Exception {
    JsonNode data = client.get("/openai/v1/models").json().path("data");
    assertEquals(List.of("embed", "ids", "judge", "texts"), data.findValuesAsText("id"));
    assertEquals("model", client.get("/openai/v1/models/embed").json().path("object").asText());
    assertEquals(404, client.get("/openai/v1/models/one").status());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'input':'x'}|400|'model' is missing",
        "{'model':'no','input':'x'}|404|'no'",
        "{'model':'one','input':'x'}|400|no task",
        "{'model':'judge','input':'x'}|400|rerank",
        "{'model':'texts'}|400|'input' is missing",
        "{'model':'texts','input':[]}|400|empty",
        "{'model':'texts','input':[1]}|400|takes text",
        "{'model':'ids','input':'text'}|400|token ids",
        "{'model':'ids','input':[[1.5]]}|400|an integer",
        "{'model':'texts','input':'x','dimensions':7}|400|gives 2",
        "{'model':'texts','input':'x','encoding_format':'hex'}|400|base64",
        "nonsense|400|not JSON"
      })
  void tellsErrorsInOpenAisShape(String body, int status, String expected) throws Exception {
    RestClient.Answer answer = embed(body);
    assertEquals(status, answer.status());
    JsonNode error = answer.json().path("error");
    assertTrue(error.path("message").asText().contains(expected), error.toString());
    assertEquals("invalid_request_error", error.path("type").asText());
    assertTrue(error.path("code").isTextual());
  }

  @Test
  void tellsThatABodyIsTooLargeInOpenAisShape() throws Exception {
    try (RestClient own = new RestClient(mesh.pod(0).restPort())) {
      own.send("POST /openai/v1/embeddings HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n");
      RestClient.Answer answer = own.read();
      assertEquals(413, answer.status());
      assertEquals("invalid_request_error", answer.json().at("/error/type").asText());
    }
  }
}
