package orlop.pod;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.protobuf.ByteString;
import inference.InferParameter;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * V2 inference between JSON and protobuf. Tensors come nested or flat in row-major order and are
 * answered flat. Pure and thread-safe. Source: Open Inference Protocol, REST specification.
 */
final class RestTensors {
  private static final int MAX_NESTING = 64;
  private static final BigInteger UINT64_MAX =
      BigInteger.ONE.shiftLeft(64).subtract(BigInteger.ONE);

  static final ObjectMapper JSON =
      new ObjectMapper(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(MAX_NESTING)
                          .maxStringLength(Integer.MAX_VALUE)
                          .build())
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private RestTensors() {}

  /** The request does not follow the protocol; the message says where and what was expected. */
  static final class BadRequest extends Exception {
    private static final long serialVersionUID = 1L;

    BadRequest(String message) {
      super(message);
    }
  }

  /**
   * @param model the name in the request's path
   */
  static ModelInferRequest request(byte[] body, String model, String version) throws BadRequest {
    JsonNode root = parse(body);
    ModelInferRequest.Builder request =
        ModelInferRequest.newBuilder().setModelName(model).setModelVersion(version);
    if (root.has("id")) {
      request.setId(text(root, "id", "the request"));
    }
    parameters(root, "the request", request::putParameters);
    JsonNode inputs = root.get("inputs");
    if (inputs == null || !inputs.isArray() || inputs.isEmpty()) {
      throw new BadRequest("'inputs' must be an array of at least one tensor");
    }
    for (JsonNode input : inputs) {
      request.addInputs(input(input));
    }
    JsonNode outputs = root.get("outputs");
    if (outputs != null && !outputs.isNull()) {
      if (!outputs.isArray()) {
        throw new BadRequest("'outputs' must be an array");
      }
      for (JsonNode output : outputs) {
        var wanted =
            ModelInferRequest.InferRequestedOutputTensor.newBuilder()
                .setName(text(output, "name", "an output"));
        parameters(output, "output '" + wanted.getName() + "'", wanted::putParameters);
        request.addOutputs(wanted);
      }
    }
    return request.build();
  }

  private static JsonNode parse(byte[] body) throws BadRequest {
    try {
      JsonNode root = JSON.readTree(body);
      if (root == null || !root.isObject()) {
        throw new BadRequest("the body must be a JSON object");
      }
      return root;
    } catch (JsonProcessingException e) {
      throw new BadRequest("the body is not JSON: " + e.getOriginalMessage());
    } catch (IOException e) {
      throw new BadRequest("the body is not JSON: " + e.getMessage());
    }
  }

  private static ModelInferRequest.InferInputTensor input(JsonNode input) throws BadRequest {
    String name = text(input, "name", "an input");
    String where = "input '" + name + "'";
    String datatype = text(input, "datatype", where);
    var tensor =
        ModelInferRequest.InferInputTensor.newBuilder().setName(name).setDatatype(datatype);
    JsonNode shape = input.get("shape");
    if (shape == null || !shape.isArray()) {
      throw new BadRequest(where + ": 'shape' must be an array of integers");
    }
    long expected = 1;
    for (JsonNode dimension : shape) {
      if (!dimension.canConvertToExactIntegral() || dimension.asLong() < 0) {
        throw new BadRequest(where + ": 'shape' holds " + dimension + ", expected integers from 0");
      }
      tensor.addShape(dimension.asLong());
      expected = saturated(expected, dimension.asLong());
    }
    parameters(input, where, tensor::putParameters);
    JsonNode data = input.get("data");
    if (data == null || !data.isArray()) {
      throw new BadRequest(where + ": 'data' must be an array");
    }
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    long found = add(contents, datatype, data, where);
    if (found != expected) {
      throw new BadRequest(
          "%s: 'data' holds %d elements, shape %s needs %d"
              .formatted(where, found, shape, expected));
    }
    return tensor.setContents(contents).build();
  }

  private static long saturated(long a, long b) {
    return b != 0 && a > Long.MAX_VALUE / b ? Long.MAX_VALUE : a * b;
  }

  private static long add(
      InferTensorContents.Builder contents, String datatype, JsonNode data, String where)
      throws BadRequest {
    if (data.isArray()) {
      long count = 0;
      for (JsonNode element : data) {
        count += add(contents, datatype, element, where);
      }
      return count;
    }
    switch (datatype) {
      case "BOOL" -> {
        if (!data.isBoolean()) {
          throw wrong(where, data, "true or false");
        }
        contents.addBoolContents(data.booleanValue());
      }
      case "INT8" -> contents.addIntContents((int) integer(data, where, -128, 127));
      case "INT16" -> contents.addIntContents((int) integer(data, where, -32_768, 32_767));
      case "INT32" ->
          contents.addIntContents((int) integer(data, where, Integer.MIN_VALUE, Integer.MAX_VALUE));
      case "INT64" ->
          contents.addInt64Contents(integer(data, where, Long.MIN_VALUE, Long.MAX_VALUE));
      case "UINT8" -> contents.addUintContents((int) integer(data, where, 0, 255));
      case "UINT16" -> contents.addUintContents((int) integer(data, where, 0, 65_535));
      case "UINT32" -> contents.addUintContents((int) integer(data, where, 0, 0xFFFF_FFFFL));
      case "UINT64" -> contents.addUint64Contents(unsigned(data, where));
      case "FP32" -> contents.addFp32Contents((float) number(data, where, Float.MAX_VALUE));
      case "FP64" -> contents.addFp64Contents(number(data, where, Double.MAX_VALUE));
      case "BYTES" -> {
        if (!data.isTextual()) {
          throw wrong(where, data, "a string");
        }
        contents.addBytesContents(ByteString.copyFromUtf8(data.textValue()));
      }
      case "FP16", "BF16" ->
          throw new BadRequest(
              where
                  + ": datatype "
                  + datatype
                  + " cannot travel in JSON; use gRPC with raw contents");
      default ->
          throw new BadRequest(
              where
                  + ": datatype '"
                  + datatype
                  + "' is unknown, expected one of BOOL, INT8 to INT64, UINT8 to UINT64, FP32, FP64,"
                  + " BYTES");
    }
    return 1;
  }

  private static long integer(JsonNode value, String where, long least, long most)
      throws BadRequest {
    if (!value.canConvertToExactIntegral()
        || !value.canConvertToLong()
        || value.longValue() < least
        || value.longValue() > most) {
      throw wrong(where, value, "an integer from " + least + " to " + most);
    }
    return value.longValue();
  }

  private static long unsigned(JsonNode value, String where) throws BadRequest {
    if (!value.canConvertToExactIntegral()
        || value.bigIntegerValue().signum() < 0
        || value.bigIntegerValue().compareTo(UINT64_MAX) > 0) {
      throw wrong(where, value, "an integer from 0 to " + UINT64_MAX);
    }
    return value.bigIntegerValue().longValue();
  }

  /** What would become infinite is refused: the caller did not write infinity. */
  private static double number(JsonNode value, String where, double most) throws BadRequest {
    if (!value.isNumber() || !(Math.abs(value.doubleValue()) <= most)) {
      throw wrong(where, value, "a number from " + -most + " to " + most);
    }
    return value.doubleValue();
  }

  private static BadRequest wrong(String where, JsonNode found, String expected) {
    return new BadRequest(where + ": 'data' holds " + found + ", expected " + expected);
  }

  private static String text(JsonNode holder, String key, String where) throws BadRequest {
    JsonNode value = holder.get(key);
    if (value == null || !value.isTextual()) {
      throw new BadRequest(where + ": '" + key + "' must be a string");
    }
    return value.textValue();
  }

  private interface Put {
    void put(String key, InferParameter value);
  }

  private static void parameters(JsonNode holder, String where, Put put) throws BadRequest {
    JsonNode parameters = holder.get("parameters");
    if (parameters == null || parameters.isNull()) {
      return;
    }
    if (!parameters.isObject()) {
      throw new BadRequest(where + ": 'parameters' must be an object");
    }
    for (Map.Entry<String, JsonNode> entry : parameters.properties()) {
      JsonNode value = entry.getValue();
      InferParameter.Builder parameter = InferParameter.newBuilder();
      if (value.isBoolean()) {
        parameter.setBoolParam(value.booleanValue());
      } else if (value.isTextual()) {
        parameter.setStringParam(value.textValue());
      } else if (value.isIntegralNumber() && value.canConvertToLong()) {
        parameter.setInt64Param(value.longValue());
      } else if (value.isNumber()) {
        parameter.setDoubleParam(value.doubleValue());
      } else {
        throw new BadRequest(
            "%s: parameter '%s' is %s, expected a string, a number or a boolean"
                .formatted(where, entry.getKey(), value));
      }
      put.put(entry.getKey(), parameter.build());
    }
  }

  // ---- answers

  /**
   * @throws BadRequest when an output cannot travel in JSON
   */
  static byte[] answer(ModelInferResponse response) throws BadRequest {
    ByteArrayOutputStream out = new ByteArrayOutputStream(response.getSerializedSize() * 2 + 256);
    try (JsonGenerator json = JSON.createGenerator(out)) {
      json.writeStartObject();
      json.writeStringField("model_name", response.getModelName());
      if (!response.getModelVersion().isEmpty()) {
        json.writeStringField("model_version", response.getModelVersion());
      }
      json.writeStringField("id", response.getId());
      parameters(json, response.getParametersMap());
      json.writeArrayFieldStart("outputs");
      for (int i = 0; i < response.getOutputsCount(); i++) {
        output(json, response, i);
      }
      json.writeEndArray();
      json.writeEndObject();
    } catch (IOException e) {
      throw new IllegalStateException("memory refused to be written", e);
    }
    return out.toByteArray();
  }

  private static void output(JsonGenerator json, ModelInferResponse response, int i)
      throws IOException, BadRequest {
    ModelInferResponse.InferOutputTensor output = response.getOutputs(i);
    json.writeStartObject();
    json.writeStringField("name", output.getName());
    json.writeStringField("datatype", output.getDatatype());
    json.writeArrayFieldStart("shape");
    for (long dimension : output.getShapeList()) {
      json.writeNumber(dimension);
    }
    json.writeEndArray();
    parameters(json, output.getParametersMap());
    json.writeArrayFieldStart("data");
    if (response.getRawOutputContentsCount() > 0) {
      raw(json, output, response.getRawOutputContents(i).asReadOnlyByteBuffer());
    } else {
      typed(json, output.getContents());
    }
    json.writeEndArray();
    json.writeEndObject();
  }

  private static void typed(JsonGenerator json, InferTensorContents contents) throws IOException {
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
      json.writeNumber(unsigned(value));
    }
    for (float value : contents.getFp32ContentsList()) {
      number(json, value);
    }
    for (double value : contents.getFp64ContentsList()) {
      number(json, value);
    }
    for (ByteString value : contents.getBytesContentsList()) {
      json.writeString(value.toStringUtf8());
    }
  }

  private static void raw(
      JsonGenerator json, ModelInferResponse.InferOutputTensor output, ByteBuffer data)
      throws IOException, BadRequest {
    data.order(ByteOrder.LITTLE_ENDIAN);
    while (data.hasRemaining()) {
      switch (output.getDatatype()) {
        case "BOOL" -> json.writeBoolean(data.get() != 0);
        case "INT8" -> json.writeNumber((int) data.get());
        case "INT16" -> json.writeNumber((int) data.getShort());
        case "INT32" -> json.writeNumber(data.getInt());
        case "INT64" -> json.writeNumber(data.getLong());
        case "UINT8" -> json.writeNumber(Byte.toUnsignedInt(data.get()));
        case "UINT16" -> json.writeNumber(Short.toUnsignedInt(data.getShort()));
        case "UINT32" -> json.writeNumber(Integer.toUnsignedLong(data.getInt()));
        case "UINT64" -> json.writeNumber(unsigned(data.getLong()));
        case "FP16" -> number(json, Float.float16ToFloat(data.getShort()));
        case "BF16" -> number(json, Float.intBitsToFloat(data.getShort() << 16));
        case "FP32" -> number(json, data.getFloat());
        case "FP64" -> number(json, data.getDouble());
        case "BYTES" -> {
          byte[] element = new byte[data.getInt()];
          data.get(element);
          json.writeString(ByteString.copyFrom(element).toStringUtf8());
        }
        default ->
            throw new BadRequest(
                "output '%s' has datatype '%s', which JSON cannot carry"
                    .formatted(output.getName(), output.getDatatype()));
      }
    }
  }

  private static BigInteger unsigned(long value) {
    return new BigInteger(Long.toUnsignedString(value));
  }

  /** JSON has no infinities and no NaN; null is what it has for them. */
  private static void number(JsonGenerator json, float value) throws IOException {
    if (Float.isFinite(value)) {
      json.writeNumber(value);
    } else {
      json.writeNull();
    }
  }

  private static void number(JsonGenerator json, double value) throws IOException {
    if (Double.isFinite(value)) {
      json.writeNumber(value);
    } else {
      json.writeNull();
    }
  }

  private static void parameters(JsonGenerator json, Map<String, InferParameter> parameters)
      throws IOException {
    if (parameters.isEmpty()) {
      return;
    }
    json.writeObjectFieldStart("parameters");
    for (Map.Entry<String, InferParameter> entry : parameters.entrySet()) {
      json.writeFieldName(entry.getKey());
      InferParameter value = entry.getValue();
      switch (value.getParameterChoiceCase()) {
        case BOOL_PARAM -> json.writeBoolean(value.getBoolParam());
        case INT64_PARAM -> json.writeNumber(value.getInt64Param());
        case STRING_PARAM -> json.writeString(value.getStringParam());
        case DOUBLE_PARAM -> number(json, value.getDoubleParam());
        case UINT64_PARAM -> json.writeNumber(unsigned(value.getUint64Param()));
        case PARAMETERCHOICE_NOT_SET -> json.writeNull();
      }
    }
    json.writeEndObject();
  }

  static ObjectNode metadata(ModelMetadataResponse metadata) {
    ObjectNode json = JSON.createObjectNode();
    json.put("name", metadata.getName());
    json.set("versions", JSON.valueToTree(new ArrayList<>(metadata.getVersionsList())));
    json.put("platform", metadata.getPlatform());
    tensors(json, "inputs", metadata.getInputsList());
    tensors(json, "outputs", metadata.getOutputsList());
    return json;
  }

  private static void tensors(
      ObjectNode json, String key, List<ModelMetadataResponse.TensorMetadata> tensors) {
    var array = json.putArray(key);
    for (ModelMetadataResponse.TensorMetadata tensor : tensors) {
      ObjectNode one = array.addObject();
      one.put("name", tensor.getName());
      one.put("datatype", tensor.getDatatype());
      one.set("shape", JSON.valueToTree(tensor.getShapeList()));
    }
  }
}
