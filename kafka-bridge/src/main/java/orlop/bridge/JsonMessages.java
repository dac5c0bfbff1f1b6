package orlop.bridge;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import inference.InferParameter;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * The JSON form of Open Inference Protocol messages. Pure.
 *
 * <p>A request is {@code {"inputs":[{"name","shape","datatype","data":[...]}]}} with {@code data}
 * flat or nested, and may hold {@code id}, {@code model_name}, {@code model_version}, {@code
 * parameters} and {@code outputs}. Its tensors become raw contents.
 */
final class JsonMessages {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final JsonFactory FACTORY = JSON.getFactory();

  private JsonMessages() {}

  static ModelInferRequest decode(byte[] value) throws BadRecordException {
    JsonNode root;
    try {
      root = JSON.readTree(value);
    } catch (IOException e) {
      throw bad("value is not JSON: " + e.getMessage());
    }
    if (root == null || !root.path("inputs").isArray()) {
      throw bad("value has no array \"inputs\", expected an Open Inference Protocol request");
    }
    ModelInferRequest.Builder request = ModelInferRequest.newBuilder();
    request.setId(root.path("id").asText(""));
    request.setModelName(root.path("model_name").asText(""));
    request.setModelVersion(root.path("model_version").asText(""));
    for (Map.Entry<String, JsonNode> parameter : root.path("parameters").properties()) {
      request.putParameters(parameter.getKey(), parameter(parameter));
    }
    for (JsonNode output : root.path("outputs")) {
      request.addOutputsBuilder().setName(output.path("name").asText(""));
    }
    for (JsonNode input : root.path("inputs")) {
      decodeInput(input, request);
    }
    return request.build();
  }

  private static void decodeInput(JsonNode input, ModelInferRequest.Builder request)
      throws BadRecordException {
    String name = input.path("name").asText("");
    String datatype = input.path("datatype").asText("");
    ModelInferRequest.InferInputTensor.Builder tensor = request.addInputsBuilder();
    tensor.setName(name).setDatatype(datatype);
    for (JsonNode dimension : input.path("shape")) {
      if (!dimension.canConvertToLong()) {
        throw bad("input " + name + " has the dimension " + dimension + ", expected an integer");
      }
      tensor.addShape(dimension.longValue());
    }
    if (!input.path("data").isArray()) {
      throw bad("input " + name + " has no array \"data\"");
    }
    if (Tensors.elementBytes(datatype) == 0 && !datatype.equals("BYTES")) {
      throw bad("input " + name + " has the datatype \"" + datatype + "\", which V2 does not name");
    }
    ByteString.Output raw = ByteString.newOutput();
    long elements = decodeData(name, datatype, input.path("data"), raw);
    long expected = Tensors.elements(tensor.getShapeList());
    if (elements != expected) {
      throw new BadRecordException(
          Outcome.Reason.SHAPE,
          "input "
              + name
              + " of shape "
              + tensor.getShapeList()
              + " has "
              + elements
              + " elements, expected "
              + expected);
    }
    request.addRawInputContents(raw.toByteString());
  }

  private static long decodeData(String name, String datatype, JsonNode data, ByteString.Output raw)
      throws BadRecordException {
    long elements = 0;
    for (JsonNode item : data) {
      if (item.isArray()) {
        elements += decodeData(name, datatype, item, raw);
      } else {
        decodeElement(name, datatype, item, raw);
        elements++;
      }
    }
    return elements;
  }

  private static void decodeElement(
      String name, String datatype, JsonNode item, ByteString.Output raw)
      throws BadRecordException {
    switch (datatype) {
      case "BYTES" -> {
        require(item.isTextual(), name, datatype, item);
        byte[] text = item.textValue().getBytes(StandardCharsets.UTF_8);
        put(raw, text.length, 4);
        raw.write(text, 0, text.length);
      }
      case "BOOL" -> {
        require(item.isBoolean(), name, datatype, item);
        put(raw, item.booleanValue() ? 1 : 0, 1);
      }
      case "FP16", "BF16", "FP32", "FP64" -> {
        require(item.isNumber(), name, datatype, item);
        put(raw, floatBits(datatype, item.doubleValue()), Tensors.elementBytes(datatype));
      }
      default -> {
        require(item.isIntegralNumber(), name, datatype, item);
        put(raw, integer(name, datatype, item), Tensors.elementBytes(datatype));
      }
    }
  }

  private static long floatBits(String datatype, double value) {
    return switch (datatype) {
      case "FP16" -> Float.floatToFloat16((float) value);
      case "BF16" -> Float.floatToRawIntBits((float) value) >>> 16;
      case "FP32" -> Float.floatToRawIntBits((float) value);
      default -> Double.doubleToRawLongBits(value);
    };
  }

  private static long integer(String name, String datatype, JsonNode item)
      throws BadRecordException {
    int bits = 8 * Tensors.elementBytes(datatype);
    boolean signed = datatype.startsWith("INT");
    BigInteger value = item.bigIntegerValue();
    boolean fits =
        signed ? value.bitLength() < bits : value.signum() >= 0 && value.bitLength() <= bits;
    require(fits, name, datatype, item);
    return value.longValue();
  }

  private static void put(ByteString.Output raw, long bits, int bytes) {
    for (int i = 0; i < bytes; i++) {
      raw.write((int) (bits >>> (8 * i)) & 0xff);
    }
  }

  private static InferParameter parameter(Map.Entry<String, JsonNode> entry)
      throws BadRecordException {
    JsonNode value = entry.getValue();
    InferParameter.Builder parameter = InferParameter.newBuilder();
    if (value.isBoolean()) {
      return parameter.setBoolParam(value.booleanValue()).build();
    }
    if (value.isIntegralNumber() && value.canConvertToLong()) {
      return parameter.setInt64Param(value.longValue()).build();
    }
    if (value.isNumber()) {
      return parameter.setDoubleParam(value.doubleValue()).build();
    }
    if (value.isTextual()) {
      return parameter.setStringParam(value.textValue()).build();
    }
    throw bad(
        "parameter " + entry.getKey() + " is " + value + ", expected a text, number or boolean");
  }

  static byte[] encode(ModelInferResponse response) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(512);
    try (JsonGenerator json = FACTORY.createGenerator(bytes)) {
      json.writeStartObject();
      json.writeStringField("model_name", response.getModelName());
      if (!response.getModelVersion().isEmpty()) {
        json.writeStringField("model_version", response.getModelVersion());
      }
      if (!response.getId().isEmpty()) {
        json.writeStringField("id", response.getId());
      }
      json.writeArrayFieldStart("outputs");
      for (int i = 0; i < response.getOutputsCount(); i++) {
        encodeOutput(response, i, json);
      }
      json.writeEndArray();
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException("writing JSON to memory", e);
    }
    return bytes.toByteArray();
  }

  private static void encodeOutput(ModelInferResponse response, int index, JsonGenerator json)
      throws IOException {
    ModelInferResponse.InferOutputTensor output = response.getOutputs(index);
    json.writeStartObject();
    json.writeStringField("name", output.getName());
    json.writeStringField("datatype", output.getDatatype());
    json.writeArrayFieldStart("shape");
    for (long dimension : output.getShapeList()) {
      json.writeNumber(dimension);
    }
    json.writeEndArray();
    json.writeArrayFieldStart("data");
    if (index < response.getRawOutputContentsCount()) {
      ByteBuffer raw =
          response
              .getRawOutputContents(index)
              .asReadOnlyByteBuffer()
              .order(ByteOrder.LITTLE_ENDIAN);
      while (raw.hasRemaining()) {
        encodeElement(output.getDatatype(), raw, json);
      }
    } else {
      encodeTyped(output.getContents(), json);
    }
    json.writeEndArray();
    json.writeEndObject();
  }

  private static void encodeElement(String datatype, ByteBuffer raw, JsonGenerator json)
      throws IOException {
    switch (datatype) {
      case "BOOL" -> json.writeBoolean(raw.get() != 0);
      case "INT8" -> json.writeNumber(raw.get());
      case "UINT8" -> json.writeNumber(Byte.toUnsignedInt(raw.get()));
      case "INT16" -> json.writeNumber(raw.getShort());
      case "UINT16" -> json.writeNumber(Short.toUnsignedInt(raw.getShort()));
      case "INT32" -> json.writeNumber(raw.getInt());
      case "UINT32" -> json.writeNumber(Integer.toUnsignedLong(raw.getInt()));
      case "INT64" -> json.writeNumber(raw.getLong());
      case "UINT64" -> json.writeNumber(new BigInteger(Long.toUnsignedString(raw.getLong())));
      case "FP16" -> json.writeNumber(Float.float16ToFloat(raw.getShort()));
      case "BF16" -> json.writeNumber(Float.intBitsToFloat(raw.getShort() << 16));
      case "FP32" -> json.writeNumber(raw.getFloat());
      case "FP64" -> json.writeNumber(raw.getDouble());
      default -> {
        byte[] text = new byte[raw.getInt()];
        raw.get(text);
        json.writeString(new String(text, StandardCharsets.UTF_8));
      }
    }
  }

  private static void encodeTyped(InferTensorContents contents, JsonGenerator json)
      throws IOException {
    for (boolean value : contents.getBoolContentsList()) {
      json.writeBoolean(value);
    }
    for (int value : contents.getIntContentsList()) {
      json.writeNumber(value);
    }
    for (long value : contents.getInt64ContentsList()) {
      json.writeNumber(value);
    }
    for (int value : contents.getUintContentsList()) {
      json.writeNumber(Integer.toUnsignedLong(value));
    }
    for (long value : contents.getUint64ContentsList()) {
      json.writeNumber(new BigInteger(Long.toUnsignedString(value)));
    }
    for (float value : contents.getFp32ContentsList()) {
      json.writeNumber(value);
    }
    for (double value : contents.getFp64ContentsList()) {
      json.writeNumber(value);
    }
    for (ByteString value : contents.getBytesContentsList()) {
      json.writeString(value.toStringUtf8());
    }
  }

  private static void require(boolean holds, String input, String datatype, JsonNode item)
      throws BadRecordException {
    if (!holds) {
      throw bad("input " + input + " has the element " + item + ", expected " + datatype);
    }
  }

  private static BadRecordException bad(String message) {
    return new BadRecordException(Outcome.Reason.DECODE, message);
  }
}
