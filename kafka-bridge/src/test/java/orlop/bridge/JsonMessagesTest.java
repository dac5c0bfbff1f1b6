package orlop.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

/** JSON tensors become raw ones and come back as they were, for each datatype of V2. */
class JsonMessagesTest {
  @Test
  void keepsEveryDatatypeThroughRawContents() throws Exception {
    assertSame("BOOL", "true,false");
    assertSame("INT8", "-128,127");
    assertSame("UINT8", "0,255");
    assertSame("INT16", "-32768,32767");
    assertSame("UINT16", "0,65535");
    assertSame("INT32", "-2147483648,2147483647");
    assertSame("UINT32", "0,4294967295");
    assertSame("INT64", "-9223372036854775808,9223372036854775807");
    assertSame("UINT64", "0,18446744073709551615");
    assertSame("FP16", "0.5,-2.0");
    assertSame("BF16", "0.5,-2.0");
    assertSame("FP32", "0.1,3.4028235E38");
    assertSame("FP64", "0.1,1.7976931348623157E308");
    assertSame("BYTES", "\"\",\"grüße\"");
  }

  private static void assertSame(String datatype, String data) throws Exception {
    ModelInferRequest request = decode(input(datatype, "[2]", "[" + data + "]"));
    ModelInferResponse echo =
        ModelInferResponse.newBuilder()
            .addOutputs(
                ModelInferResponse.InferOutputTensor.newBuilder()
                    .setName("x")
                    .setDatatype(datatype)
                    .addShape(2))
            .addRawOutputContents(request.getRawInputContents(0))
            .build();
    assertEquals(
        "{\"model_name\":\"\",\"outputs\":[{\"name\":\"x\",\"datatype\":\""
            + datatype
            + "\",\"shape\":[2],\"data\":["
            + data
            + "]}]}",
        new String(JsonMessages.encode(echo), StandardCharsets.UTF_8));
  }

  @Test
  void refusesWhatDoesNotFitTheDatatypeOrTheShape() {
    assertRefused(Outcome.Reason.DECODE, input("UINT8", "[1]", "[256]"));
    assertRefused(Outcome.Reason.DECODE, input("INT8", "[1]", "[-129]"));
    assertRefused(Outcome.Reason.DECODE, input("INT32", "[1]", "[1.5]"));
    assertRefused(Outcome.Reason.DECODE, input("FP32", "[1]", "[\"1\"]"));
    assertRefused(Outcome.Reason.DECODE, input("FP128", "[1]", "[1]"));
    assertRefused(Outcome.Reason.DECODE, input("FP32", "[1]", "1"));
    assertRefused(Outcome.Reason.SHAPE, input("FP32", "[3]", "[1,2]"));
    assertRefused(Outcome.Reason.SHAPE, input("FP32", "[-1]", "[1]"));
    assertRefused(Outcome.Reason.SHAPE, input("FP32", "[4294967296,4294967296]", "[1]"));
    assertRefused(Outcome.Reason.DECODE, "{");
    assertRefused(Outcome.Reason.DECODE, "");
  }

  @Test
  void readsIdParametersAndRequestedOutputs() throws Exception {
    ModelInferRequest request =
        decode(
            "{\"id\":\"i\",\"parameters\":{\"a\":1,\"b\":true,\"c\":\"t\",\"d\":0.5},"
                + "\"outputs\":[{\"name\":\"y\"}],\"inputs\":[]}");
    assertEquals("i", request.getId());
    assertEquals(1, request.getParametersOrThrow("a").getInt64Param());
    assertEquals(0.5, request.getParametersOrThrow("d").getDoubleParam());
    assertEquals("y", request.getOutputs(0).getName());
  }

  @Test
  void writesTypedContentsToo() {
    ModelInferResponse.Builder response = ModelInferResponse.newBuilder();
    response
        .addOutputsBuilder()
        .setName("y")
        .setDatatype("BYTES")
        .addShape(1)
        .getContentsBuilder()
        .addBytesContents(ByteString.copyFromUtf8("cat"));
    assertEquals(
        "{\"model_name\":\"\",\"outputs\":[{\"name\":\"y\",\"datatype\":\"BYTES\",\"shape\":[1],"
            + "\"data\":[\"cat\"]}]}",
        new String(JsonMessages.encode(response.build()), StandardCharsets.UTF_8));
  }

  private static String input(String datatype, String shape, String data) {
    return "{\"inputs\":[{\"name\":\"x\",\"datatype\":\""
        + datatype
        + "\",\"shape\":"
        + shape
        + ",\"data\":"
        + data
        + "}]}";
  }

  private static ModelInferRequest decode(String json) throws BadRecordException {
    return JsonMessages.decode(json.getBytes(StandardCharsets.UTF_8));
  }

  private static void assertRefused(Outcome.Reason reason, String json) {
    BadRecordException refusal = assertThrows(BadRecordException.class, () -> decode(json), json);
    assertEquals(reason, refusal.reason, json);
  }
}
