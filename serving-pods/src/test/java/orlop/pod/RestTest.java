package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import orlop.placement.CopyState;
import orlop.runtime.InferenceException;
import orlop.runtime.ModelLoadException;

/** The V2 REST contract, from the outside; the model echoes its inputs. */
class RestTest {
  private static final String BODY =
      "{\"id\":\"7\",\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[2,2],"
          + "\"data\":[[1,2.5],[-3,4]]}]}";
  private static TestMesh mesh;
  private static HttpClient http;

  private record Answer(int status, JsonNode json) {
    String error() {
      return json.path("error").asText();
    }
  }

  @BeforeAll
  static void start() throws Exception {
    mesh = new TestMesh(2, b -> b.maxMessageBytes(100_000));
    mesh.register("m-v1");
    mesh.register("a/b c+d%ü");
    mesh.alias("m", "m-v1");
    http = HttpClient.newHttpClient();
  }

  @AfterAll
  static void stop() {
    http.close();
    mesh.close();
  }

  private static Answer send(String method, String path, String body) throws Exception {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + mesh.pod(0).restPort() + path))
            .timeout(Duration.ofSeconds(60))
            .method(method, HttpRequest.BodyPublishers.ofString(body))
            .build();
    HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
    assertEquals("application/json", response.headers().firstValue("content-type").orElse(""));
    return new Answer(response.statusCode(), json(response.body()));
  }

  private static JsonNode json(String text) throws IOException {
    return RestJson.MAPPER.readTree(text);
  }

  private static Answer get(String path) throws Exception {
    return send("GET", path, "");
  }

  private static Answer infer(String model, String body) throws Exception {
    return send("POST", "/v2/models/" + model + "/infer", body);
  }

  @Test
  void tellsHealthAndItself() throws Exception {
    assertEquals(json("{\"live\":true}"), get("/v2/health/live").json);
    assertEquals(json("{\"ready\":true}"), get("/v2/health/ready").json);
    JsonNode server = get("/v2").json;
    assertEquals("orlop", server.get("name").asText());
    assertTrue(server.get("extensions").isArray());
  }

  @Test
  void tellsOfAModel() throws Exception {
    Answer metadata = get("/v2/models/m");
    assertEquals(200, metadata.status);
    assertEquals("m", metadata.json.get("name").asText());
    assertTrue(metadata.json.get("inputs").isArray());
    assertEquals(200, get("/v2/models/m/versions/1").status);
    assertEquals(json("{\"name\":\"m\",\"ready\":true}"), get("/v2/models/m/ready").json);
    assertEquals(
        json("{\"name\":\"m\",\"ready\":true}"), get("/v2/models/m/versions/1/ready").json);
  }

  @Test
  void tellsByItsStatusThatAModelIsNotReady() throws Exception {
    mesh.register("broken");
    for (FakeRuntime runtime : mesh.runtimes) {
      runtime.loadFailures.put(
          "broken",
          new ModelLoadException(ModelLoadException.Reason.BAD_MODEL, "not a model", null));
    }
    assertEquals(503, infer("broken", BODY).status);
    TestMesh.await(
        "the failed load",
        () ->
            mesh.registry.view().copies("broken").stream()
                .anyMatch(copy -> copy.state() instanceof CopyState.FailedToLoad));
    Answer answer = get("/v2/models/broken/ready");
    assertEquals(503, answer.status);
    assertTrue(answer.error().contains("'broken' is not ready"), answer.error());
    assertEquals(503, get("/v1/models/broken").status);
  }

  @Test
  void takesNestedTensorsAndAnswersFlat() throws Exception {
    Answer answer = infer("m", BODY);
    assertEquals(200, answer.status);
    assertEquals("m", answer.json.get("model_name").asText());
    assertEquals("7", answer.json.get("id").asText());
    JsonNode output = answer.json.get("outputs").get(0);
    assertEquals(json("[2,2]"), output.get("shape"));
    assertEquals("[1.0,2.5,-3.0,4.0]", output.get("data").toString());
    Answer versioned = send("POST", "/v2/models/m/versions/1/infer", BODY);
    assertEquals(200, versioned.status);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "BOOL|[true,false]",
        "INT8|[-128,127]",
        "UINT8|[0,255]",
        "INT16|[-32768,32767]",
        "UINT16|[0,65535]",
        "INT32|[-2147483648,2147483647]",
        "UINT32|[0,4294967295]",
        "INT64|[-9223372036854775808,9223372036854775807]",
        "UINT64|[0,18446744073709551615]",
        "FP32|[1.5,-0.25]",
        "FP64|[1.0E300,-0.1]",
        "BYTES|[\"ä\",\"\"]"
      })
  void carriesEveryDatatype(String datatype, String data) throws Exception {
    Answer answer =
        infer(
            "m",
            "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"%s\",\"shape\":[2],\"data\":%s}]}"
                .formatted(datatype, data));
    assertEquals(200, answer.status, answer.error());
    assertEquals(data, answer.json.get("outputs").get(0).get("data").toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "not json|the body is not JSON",
        "{\"inputs\":[]} {}|the body is not JSON",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1e39]}]}|3.402823",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP64\",\"shape\":[1],\"data\":[-1e400]}]}|1.797693",
        "[]|must be a JSON object",
        "{}|'inputs' must be an array",
        "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"data\":[1]}]}|'datatype' must be a string",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP99\",\"shape\":[1],\"data\":[1]}]}|'FP99'",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP16\",\"shape\":[1],\"data\":[1]}]}|FP16",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"INT8\",\"shape\":[1],\"data\":[128]}]}|-128 to 127",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[\"a\"]}]}|a number",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[3],\"data\":[1]}]}|needs 3",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1],\"data\":[1]}]}|integers from 0"
      })
  void saysWhatIsWrongWithARequest(String body, String expected) throws Exception {
    Answer answer = infer("m", body);
    assertEquals(400, answer.status);
    assertTrue(answer.error().contains(expected), answer.error());
  }

  @Test
  void answersErrorsWithTheFittingStatus() throws Exception {
    Answer unknown = infer("nope", BODY);
    assertEquals(404, unknown.status);
    assertTrue(unknown.error().contains("'nope'"), unknown.error());
    assertEquals(404, get("/v2/models/nope/ready").status);
    assertEquals(404, get("/v3").status);
    assertEquals(404, get("/v2/models/m/nonsense").status);
    assertEquals(405, get("/v2/models/m/infer").status);
    assertEquals(405, send("POST", "/v2", "").status);
    Answer large = infer("m", " ".repeat(100_001));
    assertEquals(413, large.status);
    assertTrue(large.error().contains("100000"), large.error());
    for (FakeRuntime runtime : mesh.runtimes) {
      runtime.inferenceFailures.put(
          "m-v1", new InferenceException(InferenceException.Code.INVALID_ARGUMENT, "no input 'x'"));
    }
    try {
      Answer refused = infer("m", BODY);
      assertEquals(400, refused.status);
      assertEquals("no input 'x'", refused.error());
    } finally {
      mesh.runtimes.forEach(runtime -> runtime.inferenceFailures.clear());
    }
  }

  @Test
  void takesNamesThatNeedEncoding() throws Exception {
    String name = "a/b c+d%ü";
    String encoded = URLEncoder.encode(name, StandardCharsets.UTF_8).replace("+", "%20");
    Answer answer = infer(encoded, BODY);
    assertEquals(200, answer.status, answer.error());
    assertEquals(name, answer.json.get("model_name").asText());
  }
}
