package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.zip.DeflaterOutputStream;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Tensors as binary data, compression, NaN: what goes beside plain JSON. The model echoes. */
class RestBinaryTest {
  private static TestMesh mesh;
  private static RestClient client;

  @BeforeAll
  static void start() throws Exception {
    mesh = new TestMesh(2);
    mesh.register("m");
    client = new RestClient(mesh.pod(0).restPort());
  }

  @AfterAll
  static void stop() throws IOException {
    client.close();
    mesh.close();
  }

  private static RestClient.Answer infer(String headers, byte[] body) throws IOException {
    return client.post("/v2/models/m/infer", headers, body);
  }

  /** The JSON, and what comes behind it. */
  private static RestClient.Answer inferWith(String json, byte[]... tails) throws IOException {
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    body.writeBytes(json.getBytes(StandardCharsets.UTF_8));
    int length = body.size();
    for (byte[] tail : tails) {
      body.writeBytes(tail);
    }
    return infer("Inference-Header-Content-Length: " + length + "\r\n", body.toByteArray());
  }

  private static JsonNode head(RestClient.Answer answer) throws IOException {
    int length = Integer.parseInt(answer.header("inference-header-content-length"));
    return RestJson.MAPPER.readTree(answer.body(), 0, length);
  }

  private static byte[] tail(RestClient.Answer answer) {
    int length = Integer.parseInt(answer.header("inference-header-content-length"));
    return Arrays.copyOfRange(answer.body(), length, answer.body().length);
  }

  @Test
  void takesAndGivesBinaryTensorsBesideJson() throws Exception {
    byte[] half = {0, 60, 0, 64};
    byte[] text = {2, 0, 0, 0, (byte) 0xff, 0, 0, 0, 0, 0};
    RestClient.Answer answer =
        inferWith(
            """
            {"id":"9","parameters":{"binary_data_output":true},"inputs":[
             {"name":"h","datatype":"FP16","shape":[2],"parameters":{"binary_data_size":4}},
             {"name":"j","datatype":"INT32","shape":[1],"data":[7]},
             {"name":"b","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":10}}],
             "outputs":[{"name":"h"},{"name":"j","parameters":{"binary_data":false}},{"name":"b"}]}\
            """,
            half,
            text);
    assertEquals(200, answer.status());
    assertEquals("application/octet-stream", answer.header("content-type"));
    JsonNode head = head(answer);
    assertEquals("9", head.path("id").asText());
    JsonNode outputs = head.path("outputs");
    assertEquals(4, outputs.get(0).path("parameters").path("binary_data_size").asInt());
    assertFalse(outputs.get(0).has("data"));
    assertEquals("[7]", outputs.get(1).path("data").toString());
    assertEquals(10, outputs.get(2).path("parameters").path("binary_data_size").asInt());
    assertArrayEquals(ByteBuffer.allocate(14).put(half).put(text).array(), tail(answer));
  }

  @Test
  void givesOneOutputAsBinaryDataWhenItAsks() throws Exception {
    RestClient.Answer answer =
        infer(
            "",
            """
            {"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1.5,-2]},
                       {"name":"y","datatype":"FP32","shape":[1],"data":[3]}],
             "outputs":[{"name":"x","parameters":{"binary_data":true}},{"name":"y"}]}\
            """
                .getBytes(StandardCharsets.UTF_8));
    ByteBuffer raw = ByteBuffer.wrap(tail(answer)).order(ByteOrder.LITTLE_ENDIAN);
    assertEquals(1.5f, raw.getFloat());
    assertEquals(-2f, raw.getFloat());
    assertEquals("[3.0]", head(answer).path("outputs").get(1).path("data").toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'binary_data_size':8|8|needs 4",
        "'binary_data_size':4|3|3 bytes are left",
        "'binary_data_size':4|5|5 bytes follow the JSON",
        "'binary_data_size':-4|4|integer from 0",
        "'binary_data_size':'4'|4|integer from 0",
        "'other':1|4|expected either an array 'data'",
        "'shared_memory_region':'r','binary_data_size':4|4|expected one of them"
      })
  void refusesBinaryDataThatDoesNotFit(String parameter, int bytes, String expected)
      throws Exception {
    String json =
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"parameters\":{%s}}]}"
            .formatted(parameter.replace('\'', '"'));
    RestClient.Answer answer = inferWith(json, new byte[bytes]);
    assertEquals(400, answer.status());
    assertTrue(answer.error().contains(expected), answer.error());
  }

  @ParameterizedTest
  @CsvSource({"-1", "9999", "x", "''", "99999999999"})
  void refusesAHeaderLengthThatDoesNotFit(String length) throws Exception {
    RestClient.Answer answer =
        infer(
            "Inference-Header-Content-Length: " + length + "\r\n",
            "{}".getBytes(StandardCharsets.UTF_8));
    assertEquals(400, answer.status());
    assertTrue(answer.error().contains("Inference-Header-Content-Length"), answer.error());
  }

  @Test
  void refusesInJsonWhatJsonCannotCarry() throws Exception {
    String json =
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"%s\",\"shape\":[1],\"parameters\":"
            + "{\"binary_data_size\":%d}}]}";
    RestClient.Answer half = inferWith(json.formatted("BF16", 2), new byte[2]);
    assertEquals(400, half.status());
    assertTrue(half.error().contains("binary"), half.error());
    RestClient.Answer noText =
        inferWith(json.formatted("BYTES", 5), new byte[] {1, 0, 0, 0, (byte) 0xfe});
    assertEquals(400, noText.status());
    assertTrue(noText.error().contains("not UTF-8"), noText.error());
  }

  @Test
  void namesTheElementThatIsOutOfRange() throws Exception {
    RestClient.Answer answer =
        infer(
            "",
            "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"UINT8\",\"shape\":[2,2],\"data\":[[1,2],[3,256]]}]}"
                .getBytes(StandardCharsets.UTF_8));
    assertEquals(400, answer.status());
    assertEquals(
        "input 'x': element 3 of 'data' is 256, expected an integer from 0 to 255", answer.error());
  }

  @Test
  void carriesNaNAndInfinityAsTritonDoes() throws Exception {
    RestClient.Answer answer =
        infer(
            "",
            "{\"id\":null,\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[3],\"data\":[NaN,Infinity,-Infinity]}]}"
                .getBytes(StandardCharsets.UTF_8));
    String text = new String(answer.body(), StandardCharsets.UTF_8);
    assertTrue(text.contains("[NaN,Infinity,-Infinity]"), text);
    assertFalse(text.contains("\"id\""), text);
  }

  @Test
  void takesAndGivesCompressedBodies() throws Exception {
    String data = "1.5,".repeat(5_000) + "2";
    byte[] json =
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[5001],\"data\":[%s]}]}"
            .formatted(data)
            .getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(packed)) {
      gzip.write(json);
    }
    RestClient.Answer answer =
        infer("Content-Encoding: gzip\r\nAccept-Encoding: gzip\r\n", packed.toByteArray());
    assertEquals(200, answer.status());
    assertEquals("gzip", answer.header("content-encoding"));
    byte[] plain = new GZIPInputStream(new ByteArrayInputStream(answer.body())).readAllBytes();
    assertEquals(5_001, RestJson.MAPPER.readTree(plain).path("outputs").get(0).path("data").size());
    ByteArrayOutputStream deflated = new ByteArrayOutputStream();
    try (DeflaterOutputStream deflate = new DeflaterOutputStream(deflated)) {
      deflate.write(json);
    }
    RestClient.Answer again = infer("Content-Encoding: deflate\r\n", deflated.toByteArray());
    assertEquals(200, again.status());
    assertEquals("", again.header("content-encoding"));
    assertEquals(plain.length, again.body().length);
  }

  @Test
  void listsLoadsAndUnloads() throws Exception {
    mesh.register("r-1");
    mesh.alias("r", "r-1");
    byte[] none = new byte[0];
    assertEquals("UNAVAILABLE", state("r-1"));
    assertEquals(200, client.post("/v2/repository/models/r/load", "", none).status());
    TestMesh.await("r in the index", () -> state("r").equals("READY"));
    RestClient.Answer ready =
        client.post(
            "/v2/repository/index", "", "{\"ready\":true}".getBytes(StandardCharsets.UTF_8));
    assertTrue(new String(ready.body(), StandardCharsets.UTF_8).contains("\"r-1\""));
    int loads = mesh.loads();
    assertEquals(200, client.post("/v2/repository/models/r/unload", "", none).status());
    TestMesh.await("r to be unloaded", () -> state("r").equals("UNAVAILABLE"));
    assertEquals(loads, mesh.loads());
    assertEquals(404, client.post("/v2/repository/models/no/load", "", none).status());
    assertEquals(404, client.post("/v2/repository/models/no/unload", "", none).status());
    assertEquals(405, client.get("/v2/repository/index").status());
    byte[] override = "{\"parameters\":{\"config\":\"{}\"}}".getBytes(StandardCharsets.UTF_8);
    assertEquals(400, client.post("/v2/repository/models/r/load", "", override).status());
  }

  private static String state(String name) {
    try {
      for (JsonNode one : client.post("/v2/repository/index", "", new byte[0]).json()) {
        if (one.path("name").asText().equals(name)) {
          return one.path("state").asText();
        }
      }
      return "";
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
