package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import io.grpc.Metadata;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Triton's extensions over REST: versions, raw requests, classes, shared memory, settings. */
class RestExtensionsTest {
  private static TestMesh mesh;
  private static RestClient client;

  private static TensorMetadata tensor(String type, long... shape) {
    TensorMetadata.Builder tensor = TensorMetadata.newBuilder().setName("x").setDatatype(type);
    Arrays.stream(shape).forEach(tensor::addShape);
    return tensor.build();
  }

  private static ModelMetadataResponse both(TensorMetadata tensor) {
    return ModelMetadataResponse.newBuilder().addInputs(tensor).addOutputs(tensor).build();
  }

  /** Answers raw, with the input under the same name. */
  private static ModelInferResponse echo(ModelInferRequest request) {
    ModelInferRequest.InferInputTensor input = request.getInputs(0);
    return ModelInferResponse.newBuilder()
        .addOutputs(
            ModelInferResponse.InferOutputTensor.newBuilder()
                .setName(input.getName())
                .setDatatype(input.getDatatype())
                .addAllShape(input.getShapeList()))
        .addRawOutputContents(ByteString.copyFrom(request.getRawInputContents(0).toByteArray()))
        .build();
  }

  @BeforeAll
  static void start() throws Exception {
    mesh = new TestMesh(1);
    FakeRuntime runtime = mesh.runtimes.getFirst();
    for (String id : new String[] {"rows", "text", "open"}) {
      mesh.register(id);
      runtime.functions.put(id, RestExtensionsTest::echo);
    }
    runtime.metadata.put("rows", both(tensor("FP32", -1, 2)));
    runtime.metadata.put("text", both(tensor("BYTES", 1)));
    runtime.metadata.put("open", both(tensor("INT8", -1, -1, -1)));
    client = new RestClient(mesh.pod(0).restPort());
  }

  @AfterAll
  static void stop() throws Exception {
    client.close();
    mesh.close();
  }

  private static RestClient.Answer post(String path, String body) throws Exception {
    return client.post(path, "", body.replace('\'', '"').getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void carriesTheTraceToARuntimeBesideThePod() throws Exception {
    String trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    try (TestMesh own = new TestMesh(1, b -> b.payloadHeaders(Set.of()));
        FakeSidecar sidecar = new FakeSidecar();
        RestClient caller = new RestClient(own.pod(0).restPort())) {
      own.runtimes.getFirst().sidecar = sidecar.address();
      own.register("m");
      caller.post(
          "/v2/models/m/infer",
          "traceparent: " + trace + "\r\ntracestate: vendor=1\r\n",
          ROWS.formatted("").replace('\'', '"').getBytes(StandardCharsets.UTF_8));
      Metadata seen = sidecar.headers.getLast();
      assertEquals(trace, seen.get(Named.ascii("traceparent")));
      assertEquals("vendor=1", seen.get(Named.ascii("tracestate")));
    }
  }

  private static final String ROWS =
      "{'inputs':[{'name':'x','datatype':'FP32','shape':[1,2],'data':[1,2]}]%s}";

  @Test
  void aVersionIsCheckedOnEveryPathAndToldInTheAnswer() throws Exception {
    JsonNode answer = post("/v2/models/rows/versions/1/infer", ROWS.formatted("")).json();
    assertEquals("1", answer.path("model_version").asText());
    assertEquals(404, post("/v2/models/rows/versions/2/infer", ROWS.formatted("")).status());
    for (String verb : new String[] {"", "/ready", "/config", "/stats"}) {
      assertEquals(200, client.get("/v2/models/rows/versions/1" + verb).status(), verb);
      RestClient.Answer unknown = client.get("/v2/models/rows/versions/2" + verb);
      assertEquals(404, unknown.status(), verb);
      assertEquals("model 'rows' has no version '2', it has version 1", unknown.error());
    }
  }

  @Test
  void aRawRequestIsTheDataOfTheOnlyInput() throws Exception {
    byte[] row = {0, 0, (byte) 0x80, 0x3f, 0, 0, 0, 0x40};
    RestClient.Answer answer =
        client.post("/v2/models/rows/infer", "Inference-Header-Content-Length: 0\r\n", row);
    assertEquals(200, answer.status(), () -> new String(answer.body(), StandardCharsets.UTF_8));
    int head = Integer.parseInt(answer.header("inference-header-content-length"));
    byte[] tail = Arrays.copyOfRange(answer.body(), head, answer.body().length);
    assertArrayEquals(row, tail);
    JsonNode json = RestJson.MAPPER.readTree(answer.body(), 0, head);
    assertEquals("[1,2]", json.path("outputs").get(0).path("shape").toString());

    RestClient.Answer text =
        client.post(
            "/v2/models/text/infer",
            "Inference-Header-Content-Length: 0\r\n",
            "hello".getBytes(StandardCharsets.UTF_8));
    head = Integer.parseInt(text.header("inference-header-content-length"));
    assertEquals("hello", new String(text.body(), head + 4, 5, StandardCharsets.UTF_8));

    RestClient.Answer odd =
        client.post("/v2/models/rows/infer", "Inference-Header-Content-Length: 0\r\n", new byte[7]);
    assertEquals(400, odd.status());
    RestClient.Answer open =
        client.post("/v2/models/open/infer", "Inference-Header-Content-Length: 0\r\n", new byte[8]);
    assertEquals(400, open.status());
    assertTrue(open.error().contains("more than one dimension"), open.error());
  }

  @Test
  void outputsComeAsTheirBestClasses() throws Exception {
    String asked = ",'outputs':[{'name':'x','parameters':{'classification':1}}]";
    JsonNode output = post("/v2/models/rows/infer", ROWS.formatted(asked)).json().at("/outputs/0");
    assertEquals("BYTES", output.path("datatype").asText());
    assertEquals("[1,1]", output.path("shape").toString());
    assertEquals("[\"2.000000:1\"]", output.path("data").toString());
  }

  @Test
  void tensorsLieInSharedMemory() throws Exception {
    assumeTrue(Files.isDirectory(Path.of("/dev/shm")), "this machine has no /dev/shm");
    Path file = Files.createTempFile(Path.of("/dev/shm"), "orlop-test-", "");
    try {
      byte[] content = new byte[64];
      content[3] = 0x40;
      Files.write(file, content);
      String region = "/v2/systemsharedmemory/region/r";
      String body = "{'key':'/%s','offset':0,'byte_size':64}".formatted(file.getFileName());
      assertEquals(200, post(region + "/register", body).status());
      assertEquals(409, post(region + "/register", body).status());
      JsonNode status = client.get("/v2/systemsharedmemory/status").json();
      assertEquals(64, status.get(0).path("byte_size").asInt());
      assertEquals(1, client.get(region + "/status").json().size());
      String request =
          "{'inputs':[{'name':'x','datatype':'FP32','shape':[1,2],'parameters':"
              + "{'shared_memory_region':'r','shared_memory_byte_size':8}}],'outputs':[{'name':'x',"
              + "'parameters':{'shared_memory_region':'r','shared_memory_byte_size':8,"
              + "'shared_memory_offset':32}}]}";
      RestClient.Answer answer = post("/v2/models/rows/infer", request);
      JsonNode output = answer.json().at("/outputs/0");
      assertEquals(8, output.at("/parameters/shared_memory_byte_size").asInt(), answer::toString);
      assertTrue(output.path("data").isMissingNode(), output.toString());
      assertEquals(0x40, Files.readAllBytes(file)[35]);
      assertEquals(200, post(region + "/unregister", "").status());
      assertEquals(400, post("/v2/models/rows/infer", request).status());
      assertEquals(404, client.get(region + "/status").status());
      assertEquals(400, post(region + "/register", "{'key':'../x','byte_size':8}").status());
    } finally {
      Files.deleteIfExists(file);
    }
    assertEquals("[]", client.get("/v2/cudasharedmemory/status").json().toString());
    assertEquals(501, post("/v2/cudasharedmemory/region/g/register", "{}").status());
    assertEquals(200, post("/v2/cudasharedmemory/unregister", "").status());
  }

  @Test
  void settingsAreToldAndChanged() throws Exception {
    assertEquals(
        "[\"OFF\"]", client.get("/v2/trace/setting").json().path("trace_level").toString());
    assertEquals(501, post("/v2/trace/setting", "{'trace_level':['TIMESTAMPS']}").status());
    String ofModel = "/v2/models/rows/trace/setting";
    JsonNode traces = client.get(ofModel).json();
    assertEquals(client.get("/v2/trace/setting").json(), traces);
    assertEquals(traces, post(ofModel, "{'trace_level':['OFF'],'trace_rate':null}").json());
    assertEquals(501, post(ofModel, "{'trace_level':['TIMESTAMPS']}").status());
    assertEquals(400, post(ofModel, "{'loudness':'1'}").status());
    assertEquals(404, client.get("/v2/models/nobody/trace/setting").status());
    assertEquals(404, client.get("/v2/models/rows/trace/level").status());
    JsonNode told = client.get("/v2/logging").json();
    assertTrue(told.path("log_info").isBoolean(), told.toString());
    JsonNode same =
        post("/v2/logging", "{'log_info':" + told.path("log_info").asBoolean() + "}").json();
    assertEquals(told, same);
    assertEquals(400, post("/v2/logging", "{'loud':true}").status());
    assertEquals(
        405,
        client
            .send("PUT /v2/logging HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            .read()
            .status());
    JsonNode extensions = client.get("/v2").json().path("extensions");
    assertTrue(extensions.toString().contains("system_shared_memory"), extensions.toString());
  }
}
