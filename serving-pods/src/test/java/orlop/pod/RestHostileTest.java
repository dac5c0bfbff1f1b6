package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What bad clients do to the REST port, and that good ones do not notice. */
@Tag("slow")
class RestHostileTest {
  private static final int MOST_BYTES = 100_000;
  private static final byte[] BODY =
      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}"
          .getBytes(StandardCharsets.UTF_8);
  private TestMesh mesh;

  @BeforeEach
  void start() throws Exception {
    mesh =
        new TestMesh(
            1, b -> b.maxMessageBytes(MOST_BYTES).inFlight(50, 400_000).restReadTimeoutMs(500));
    mesh.register("m");
  }

  @AfterEach
  void stop() {
    mesh.close();
  }

  private RestClient client() throws IOException {
    return new RestClient(mesh.pod(0).restPort());
  }

  private void assertServes() throws IOException {
    try (RestClient good = client()) {
      assertEquals(200, good.post("/v2/models/m/infer", "", BODY).status());
    }
  }

  /** Nothing is left of those who have gone. */
  private void assertClean() {
    RestFront rest = mesh.pod(0).rest();
    TestMesh.await("connections to end", () -> rest.connections() == 0);
    TestMesh.await("memory to be free", () -> rest.heldBytes() == 0);
    TestMesh.await("calls to end", () -> mesh.pod(0).inFlight() == 0);
  }

  @Test
  void answersManyRequestsOnOneConnection() throws Exception {
    try (RestClient client = client()) {
      for (int i = 0; i < 50; i++) {
        assertEquals(200, client.post("/v2/models/m/infer", "", BODY).status());
        assertEquals(404, client.get("/nowhere").status());
      }
    }
    assertClean();
  }

  @Test
  void answersPipelinedRequestsInOrder() throws Exception {
    try (RestClient client = client()) {
      StringBuilder all = new StringBuilder();
      for (int i = 0; i < 20; i++) {
        all.append("GET /v").append(i + 10).append(" HTTP/1.1\r\n\r\n");
      }
      client.send(all.toString());
      for (int i = 0; i < 20; i++) {
        assertTrue(client.read().error().endsWith("/v" + (i + 10)));
      }
    }
    assertClean();
  }

  @Test
  void endsAConnectionWhoseHeadTrickles() throws Exception {
    try (RestClient slow = client()) {
      slow.send("GET /v2 HTTP/1.1\r\nX: ");
      RestClient.Answer answer = slow.read();
      assertEquals(408, answer.status());
      assertTrue(answer.error().contains("500 ms"), answer.error());
      assertTrue(slow.ended());
    }
    try (RestClient silent = client()) {
      assertTrue(silent.ended());
    }
    assertClean();
  }

  @Test
  void endsAConnectionWhoseBodyTrickles() throws Exception {
    List<RestClient> slow = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      slow.add(
          client().send("POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 90000\r\n\r\n{\"i"));
    }
    assertServes();
    for (RestClient each : slow) {
      assertEquals(408, each.read().status());
      assertTrue(each.ended());
      each.close();
    }
    assertClean();
  }

  @Test
  void refusesABodyThatIsTooLargeBeforeItCame() throws Exception {
    try (RestClient client = client()) {
      client.send("POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 100001\r\n\r\n");
      RestClient.Answer answer = client.read();
      assertEquals(413, answer.status());
      assertTrue(answer.error().contains("100000"), answer.error());
      assertEquals("close", answer.header("connection"));
    }
    try (RestClient client = client()) {
      client.send("POST /v2/models/m/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
      for (int i = 0; i < 3; i++) {
        client.send("c350\r\n").send(new byte[50_000]).send("\r\n");
      }
      assertEquals(413, client.read().status());
    }
    assertServes();
    assertClean();
  }

  @Test
  void tellsAClientThatAsksFirst() throws Exception {
    String head =
        "POST /v2/models/m/infer HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n";
    try (RestClient client = client()) {
      assertEquals(100, client.send(head.formatted(BODY.length)).read().status());
      assertEquals(200, client.send(BODY).read().status());
    }
    try (RestClient client = client()) {
      assertEquals(413, client.send(head.formatted(1_000_000)).read().status());
    }
    try (RestClient client = client()) {
      client.send("POST /v2 HTTP/1.1\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n");
      assertEquals(417, client.read().status());
    }
  }

  @Test
  void refusesLongLinesAndHeads() throws Exception {
    try (RestClient client = client()) {
      assertEquals(414, client.get("/" + "x".repeat(20_000)).status());
    }
    try (RestClient client = client()) {
      client.send("GET /v2 HTTP/1.1\r\nX: " + "x".repeat(20_000) + "\r\n\r\n");
      RestClient.Answer answer = client.read();
      assertEquals(431, answer.status());
      assertTrue(answer.error().contains("8192"), answer.error());
      assertTrue(client.ended());
    }
    assertServes();
  }

  @Test
  void takesHeadersAsLongAsTheGrpcPortDoes() throws Exception {
    mesh.close();
    mesh = new TestMesh(1, b -> b.maxHeaderBytes(32_768));
    try (RestClient client = client()) {
      client.send("GET /v2 HTTP/1.1\r\nX: " + "x".repeat(20_000) + "\r\n\r\n");
      assertEquals(200, client.read().status());
      client.send("GET /v2 HTTP/1.1\r\nX: " + "x".repeat(40_000) + "\r\n\r\n");
      RestClient.Answer answer = client.read();
      assertEquals(431, answer.status());
      assertTrue(answer.error().contains("32768"), answer.error());
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "nonsense\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
        "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "POST /v2/models/m/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        "GET /v2 HTTP/1.1\r\nbad header\r\n\r\n",
        "\u0000\u0001\u0002\r\n\r\n"
      })
  void refusesWhatIsNoRequest(String sent) throws Exception {
    try (RestClient client = client()) {
      RestClient.Answer answer = client.send(sent).read();
      assertEquals(400, answer.status(), answer.error());
      assertTrue(answer.error().startsWith("this is not HTTP/1.1"), answer.error());
      assertTrue(client.ended());
    }
    assertServes();
  }

  @Test
  void forgetsRequestsThatEndInTheMiddle() throws Exception {
    for (String begun :
        List.of(
            "POST /v2/models/m/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc",
            "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 99000\r\n\r\n{\"inputs\":",
            "POST /v2/models/m/infer HTTP/1.1\r\nContent-Le")) {
      client().send(begun).close();
    }
    assertServes();
    assertClean();
    assertEquals(1, mesh.inferences());
  }

  @Test
  void stopsABombBeforeItGrows() throws Exception {
    ByteArrayOutputStream bomb = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(bomb)) {
      gzip.write(new byte[50_000_000]);
    }
    assertTrue(bomb.size() < MOST_BYTES);
    try (RestClient client = client()) {
      RestClient.Answer answer =
          client.post("/v2/models/m/infer", "Content-Encoding: gzip\r\n", bomb.toByteArray());
      assertEquals(413, answer.status());
      assertTrue(answer.error().contains("decompressed"), answer.error());
      answer = client.post("/v2/models/m/infer", "Content-Encoding: gzip\r\n", BODY);
      assertEquals(400, answer.status());
      answer = client.post("/v2/models/m/infer", "Content-Encoding: br\r\n", BODY);
      assertEquals(415, answer.status());
    }
    assertClean();
  }

  @Test
  void countsBodiesThatComeInAgainstTheirBound() throws Exception {
    List<RestClient> loading = new ArrayList<>();
    int refused = 0;
    for (int i = 0; i < 10; i++) {
      RestClient client = client();
      loading.add(client);
      client.send("POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 90000\r\n\r\n");
      client.send(new byte[89_999]);
    }
    for (RestClient client : loading) {
      RestClient.Answer answer = client.read();
      refused += answer.status() == 429 ? 1 : 0;
      if (answer.status() == 429) {
        assertEquals("1", answer.header("retry-after"));
      }
      client.close();
    }
    assertTrue(refused >= 6, refused + " were refused");
    assertServes();
    assertClean();
  }

  /** What is inside waits for several calls, one after the other. */
  @Test
  void countsACompressedBodyAsWhatItBecameUntilItsLastCall() throws Exception {
    FakeRuntime runtime = mesh.runtimes.getFirst();
    var input = TensorMetadata.newBuilder().setName("x").setDatatype("FP32");
    runtime.metadata.put(
        "e", ModelMetadataResponse.newBuilder().addInputs(input.addShape(-1).addShape(-1)).build());
    mesh.registerWithKey("e", "{\"orlop\":{\"task\":\"embedding\"}}");
    CountDownLatch gate = new CountDownLatch(1);
    runtime.inferGate = gate;
    String text = "{\"model\":\"e\",\"input\":[[1],[1,2]],\"user\":\"" + "x".repeat(90_000) + "\"}";
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(packed)) {
      gzip.write(text.getBytes(StandardCharsets.UTF_8));
    }
    String head =
        "POST /openai/v1/embeddings HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
            .formatted(packed.size());
    List<RestClient> waiting = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      waiting.add(client().send(head).send(packed.toByteArray()));
    }
    TestMesh.await("all of them", () -> runtime.running.get() == 4);
    assertTrue(mesh.pod(0).rest().heldBytes() >= 360_000);
    try (RestClient more = client()) {
      assertEquals(429, more.send(head).send(packed.toByteArray()).read().status());
    }
    gate.countDown();
    for (RestClient each : waiting) {
      assertEquals(200, each.read().status());
      each.close();
    }
    assertClean();
  }

  @Test
  void takesNoMoreConnectionsThanItsBound() throws Exception {
    List<RestClient> open = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      open.add(client());
    }
    int ended = 0;
    for (RestClient client : open.subList(50, 60)) {
      ended += client.ended() ? 1 : 0;
    }
    assertEquals(10, ended);
    for (RestClient client : open) {
      client.close();
    }
    TestMesh.await("connections to end", () -> mesh.pod(0).rest().connections() == 0);
    assertServes();
  }

  @Test
  void cancelsTheCallOfAClientThatHangsUp() throws Exception {
    FakeRuntime runtime = mesh.runtimes.getFirst();
    CountDownLatch gate = new CountDownLatch(1);
    runtime.inferGate = gate;
    RestClient client = client();
    client.send("POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: " + BODY.length + "\r\n\r\n");
    client.send(BODY);
    TestMesh.await("the inference", () -> runtime.running.get() == 1);
    client.close();
    TestMesh.await("the end of the inference", () -> runtime.cancelled.get() == 1);
    gate.countDown();
    assertClean();
  }

  @Test
  void refusesAnAnswerThatItMayNotHold() throws Exception {
    mesh.runtimes.getFirst().functions.put("m", RestHostileTest::answerOf16MiB);
    try (RestClient client = client()) {
      assertEquals(429, client.post("/v2/models/m/infer", "", BODY).status());
      assertEquals(404, client.get("/v2/models/other").status());
    }
    assertClean();
  }

  @Test
  void endsAConnectionThatDoesNotReadItsAnswer() throws Exception {
    mesh.close();
    mesh = new TestMesh(1, b -> b.maxMessageBytes(20 << 20).restReadTimeoutMs(500));
    mesh.register("m");
    mesh.runtimes.getFirst().functions.put("m", RestHostileTest::answerOf16MiB);
    String want =
        new String(BODY, StandardCharsets.UTF_8)
            .replaceFirst("\\{", "{\"parameters\":{\"binary_data_output\":true},");
    try (RestClient client = client()) {
      client.send(
          "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s"
              .formatted(want.length(), want));
      TestMesh.await("the answer", () -> mesh.pod(0).rest().heldBytes() > 16 << 20);
      assertClean();
    }
    try (RestClient client = client()) {
      RestClient.Answer answer =
          client.post("/v2/models/m/infer", "", want.getBytes(StandardCharsets.UTF_8));
      assertEquals(200, answer.status());
      assertTrue(answer.body().length > 16 << 20);
    }
  }

  private static inference.ModelInferResponse answerOf16MiB(inference.ModelInferRequest request) {
    int n = 16 << 20;
    return inference.ModelInferResponse.newBuilder()
        .addOutputs(
            inference.ModelInferResponse.InferOutputTensor.newBuilder()
                .setName("y")
                .setDatatype("UINT8")
                .addShape(n))
        .addRawOutputContents(com.google.protobuf.ByteString.copyFrom(new byte[n]))
        .build();
  }
}
