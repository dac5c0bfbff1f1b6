package orlop.pod;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import inference.InferParameter;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelMetadataResponse;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Reads a V2 request: JSON, and behind it the tensors that came as binary data. One pass over the
 * bytes (a second one over tensors whose data stands before their datatype), no tree. All tensors
 * leave it in raw form. Source: Open Inference Protocol, REST; Triton's binary tensor extension.
 */
final class RestReader {
  private final byte[] body;
  private final int jsonBytes;
  private final int mostBytes;
  private final ModelInferRequest.Builder request = ModelInferRequest.newBuilder();
  private final Map<String, Boolean> binaryOutputs = new HashMap<>();
  private boolean binaryByDefault;
  private int binaryAt;

  /** A request, and the form in which its outputs shall come. */
  record Infer(ModelInferRequest request, Wanted wanted) {}

  /**
   * Which outputs shall come as binary data.
   *
   * @param byDefault whether one does that does not say for itself
   * @param byName what outputs say for themselves
   */
  record Wanted(boolean byDefault, Map<String, Boolean> byName) {
    boolean binary(String output) {
      return byName.getOrDefault(output, byDefault);
    }
  }

  private RestReader(byte[] body, int jsonBytes, int mostBytes) {
    this.body = body;
    this.jsonBytes = jsonBytes;
    this.mostBytes = mostBytes;
    this.binaryAt = jsonBytes;
  }

  /**
   * @param headerLength the value of {@code Inference-Header-Content-Length}; null when not sent
   * @param mostBytes that one tensor may take in raw form
   */
  static Infer read(
      byte[] body, @Nullable String headerLength, String model, String version, int mostBytes)
      throws RestError {
    RestReader reader = new RestReader(body, jsonBytes(body, headerLength), mostBytes);
    reader.request.setModelName(model).setModelVersion(version);
    try (JsonParser json = RestJson.parser(body, 0, reader.jsonBytes)) {
      reader.root(json);
    } catch (IOException e) {
      throw RestJson.notJson(e);
    }
    if (reader.binaryAt != body.length) {
      throw RestError.bad(
          "%d bytes follow the JSON, its inputs take %d of them by 'binary_data_size'"
              .formatted(body.length - reader.jsonBytes, reader.binaryAt - reader.jsonBytes));
    }
    return new Infer(
        reader.request.build(), new Wanted(reader.binaryByDefault, reader.binaryOutputs));
  }

  private static int jsonBytes(byte[] body, @Nullable String header) throws RestError {
    if (header == null) {
      return body.length;
    }
    String text = header.strip();
    int length = text.matches("[0-9]{1,9}") ? Integer.parseInt(text) : -1;
    if (length < 1 || length > body.length) {
      throw RestError.bad(
          "Inference-Header-Content-Length is '%s', expected 1 to %d, the length of the body"
              .formatted(header, body.length));
    }
    return length;
  }

  /**
   * The body is the data of the model's only input, and nothing else.
   *
   * @param signature what the model takes
   */
  static Infer raw(byte[] body, ModelMetadataResponse signature, String model, String version)
      throws RestError {
    if (signature.getInputsCount() != 1) {
      throw RestError.bad(
          "a raw request (Inference-Header-Content-Length 0) is for models of one input, model '%s' has %d"
              .formatted(model, signature.getInputsCount()));
    }
    ModelMetadataResponse.TensorMetadata input = signature.getInputs(0);
    RestType type = RestType.of(input.getDatatype());
    if (type == null) {
      throw new RestError(500, "the model's datatype " + input.getDatatype() + " is unknown");
    }
    InferInputTensor.Builder tensor =
        InferInputTensor.newBuilder().setName(input.getName()).setDatatype(input.getDatatype());
    ByteString raw = UnsafeByteOperations.unsafeWrap(body);
    if (type == RestType.BYTES) {
      ByteBuffer length = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
      raw = ByteString.copyFrom(length.putInt(0, body.length)).concat(raw);
    }
    long elements = type == RestType.BYTES ? 1 : body.length / type.width;
    for (long dimension : rawShape(input, BatchAxis.of(signature), elements)) {
      tensor.addShape(dimension);
    }
    ModelInferRequest.Builder request =
        ModelInferRequest.newBuilder().setModelName(model).setModelVersion(version);
    return new Infer(
        request.addInputs(tensor).addRawInputContents(raw).build(), new Wanted(true, Map.of()));
  }

  /** One row where there is a batch; one further dimension may be open and takes what there is. */
  private static long[] rawShape(
      ModelMetadataResponse.TensorMetadata input, boolean batched, long elements) throws RestError {
    long[] shape = input.getShapeList().stream().mapToLong(Long::longValue).toArray();
    if (batched) {
      shape[0] = 1;
    }
    int open = -1;
    long known = 1;
    for (int i = 0; i < shape.length; i++) {
      if (shape[i] >= 0) {
        known *= shape[i];
      } else if (open < 0) {
        open = i;
      } else {
        throw RestError.bad(
            "input '%s' has more than one dimension of any size, so a raw request does not tell its shape"
                .formatted(input.getName()));
      }
    }
    if (open >= 0) {
      shape[open] = known == 0 ? 0 : elements / known;
      known *= shape[open];
    }
    if (known != elements) {
      throw RestError.bad(
          "the body holds %d elements of input '%s', which do not fill its shape %s"
              .formatted(elements, input.getName(), input.getShapeList()));
    }
    return shape;
  }

  private void root(JsonParser json) throws IOException, RestError {
    if (json.nextToken() != JsonToken.START_OBJECT) {
      throw RestError.bad("the body must be a JSON object");
    }
    Set<String> seen = new HashSet<>();
    boolean inputs = false;
    for (String key = json.nextFieldName(); key != null; key = json.nextFieldName()) {
      JsonToken token = json.nextToken();
      switch (key) {
        case "id", "parameters", "inputs", "outputs" -> once(seen, key, "the request");
        default -> {}
      }
      switch (key) {
        case "id" -> {
          if (token != JsonToken.VALUE_NULL) {
            request.setId(text(json, key, "the request"));
          }
        }
        case "parameters" -> parameters(json, "the request", this::parameter);
        case "inputs" -> {
          each(json, key, this::input);
          inputs = request.getInputsCount() > 0;
        }
        case "outputs" -> {
          if (token != JsonToken.VALUE_NULL) {
            each(json, key, this::output);
          }
        }
        default -> json.skipChildren();
      }
    }
    if (json.currentToken() != JsonToken.END_OBJECT || json.nextToken() != null) {
      throw RestError.bad("the body is not JSON: something follows the object");
    }
    if (!inputs) {
      throw RestError.bad("'inputs' must be an array of at least one tensor");
    }
  }

  static void once(Set<String> seen, String key, String where) throws RestError {
    if (!seen.add(key)) {
      throw RestError.bad(where + ": '" + key + "' stands twice");
    }
  }

  private interface Element {
    void read(JsonParser json) throws IOException, RestError;
  }

  private static void each(JsonParser json, String key, Element element)
      throws IOException, RestError {
    if (json.currentToken() != JsonToken.START_ARRAY) {
      throw RestError.bad("'" + key + "' must be an array");
    }
    for (JsonToken token = json.nextToken();
        token != JsonToken.END_ARRAY;
        token = json.nextToken()) {
      if (token != JsonToken.START_OBJECT) {
        throw RestError.bad("'" + key + "' must be an array of objects");
      }
      element.read(json);
    }
  }

  // ---- inputs

  /** What one input says, while it is read; its keys come in any order. */
  private static final class Input {
    final InferInputTensor.Builder tensor = InferInputTensor.newBuilder();
    @Nullable RestType type;
    long @Nullable [] shape;
    @Nullable RestElements elements;
    long dataAt = -1;
    long binaryBytes = -1;
    String where;

    Input(int index) {
      where = "input " + index;
    }
  }

  private void input(JsonParser json) throws IOException, RestError {
    Input input = new Input(request.getInputsCount());
    Set<String> seen = new HashSet<>();
    for (String key = json.nextFieldName(); key != null; key = json.nextFieldName()) {
      JsonToken token = json.nextToken();
      switch (key) {
        case "name", "datatype", "shape", "parameters", "data" -> once(seen, key, input.where);
        default -> {}
      }
      switch (key) {
        case "name" -> {
          input.tensor.setName(text(json, key, input.where));
          input.where = "input '" + input.tensor.getName() + "'";
        }
        case "datatype" -> datatype(input, text(json, key, input.where));
        case "shape" -> input.shape = shape(json, input.where);
        case "parameters" ->
            parameters(json, input.where, (name, value) -> parameter(input, name, value));
        case "data" -> {
          if (token != JsonToken.VALUE_NULL) {
            data(json, input);
          }
        }
        default -> json.skipChildren();
      }
    }
    finish(input);
  }

  private static void datatype(Input input, String name) throws RestError {
    RestType type = RestType.of(name);
    if (type == null) {
      throw RestError.bad(
          input.where
              + ": datatype '"
              + name
              + "' is unknown, expected one of "
              + List.of(RestType.values()));
    }
    input.type = type;
    input.tensor.setDatatype(name);
  }

  private static long[] shape(JsonParser json, String where) throws IOException, RestError {
    if (json.currentToken() != JsonToken.START_ARRAY) {
      throw RestError.bad(where + ": 'shape' must be an array of integers");
    }
    List<Long> shape = new ArrayList<>(4);
    for (JsonToken token = json.nextToken();
        token != JsonToken.END_ARRAY;
        token = json.nextToken()) {
      boolean fits =
          token == JsonToken.VALUE_NUMBER_INT
              && json.getNumberType() != JsonParser.NumberType.BIG_INTEGER
              && json.getLongValue() >= 0;
      if (!fits) {
        throw RestError.bad(
            where + ": 'shape' holds " + json.getText() + ", expected integers from 0");
      }
      shape.add(json.getLongValue());
    }
    return shape.stream().mapToLong(Long::longValue).toArray();
  }

  private void data(JsonParser json, Input input) throws IOException, RestError {
    if (json.currentToken() != JsonToken.START_ARRAY) {
      throw RestError.bad(input.where + ": 'data' must be an array");
    }
    RestType type = input.type;
    if (type == null) {
      // Its datatype comes later; then this is read again.
      input.dataAt = json.currentTokenLocation().getByteOffset();
      json.skipChildren();
      return;
    }
    input.elements = new RestElements(type, input.where, mostBytes);
    input.elements.array(json);
  }

  private void finish(Input input) throws IOException, RestError {
    RestType type = input.type;
    long[] shape = input.shape;
    if (!input.where.startsWith("input '")) {
      throw RestError.bad(input.where + ": 'name' must be a string");
    }
    if (type == null) {
      throw RestError.bad(input.where + ": 'datatype' must be a string");
    }
    if (shape == null) {
      throw RestError.bad(input.where + ": 'shape' must be an array of integers");
    }
    if (input.dataAt >= 0) {
      int at = (int) input.dataAt;
      try (JsonParser again = RestJson.parser(body, at, jsonBytes - at)) {
        again.nextToken();
        data(again, input);
      }
    }
    for (long dimension : shape) {
      input.tensor.addShape(dimension);
    }
    RestElements elements = input.elements;
    if (input.tensor.containsParameters(Extended.REGION)) {
      if (elements != null || input.binaryBytes >= 0) {
        throw RestError.bad(
            input.where + ": has data and a shared_memory_region, expected one of them");
      }
      request.addInputs(input.tensor);
      return;
    }
    if ((elements == null) == (input.binaryBytes < 0)) {
      throw RestError.bad(
          input.where + ": expected either an array 'data' or the parameter 'binary_data_size'");
    }
    ByteString raw;
    if (elements == null) {
      raw = binary(input, type, shape);
    } else {
      elements.requireShape(shape);
      raw = elements.raw();
    }
    request.addInputs(input.tensor).addRawInputContents(raw);
  }

  private ByteString binary(Input input, RestType type, long[] shape) throws RestError {
    int left = body.length - binaryAt;
    if (input.binaryBytes > left) {
      throw RestError.bad(
          "%s: 'binary_data_size' is %d, %d bytes are left behind the JSON"
              .formatted(input.where, input.binaryBytes, left));
    }
    int size = (int) input.binaryBytes;
    long elements = RestElements.elements(shape);
    boolean fits =
        type.width > 0
            ? elements <= Integer.MAX_VALUE && elements * type.width == size
            : elements <= size / 4;
    if (!fits) {
      throw RestError.bad(
          "%s: 'binary_data_size' is %d, %s%s needs %s%d"
              .formatted(
                  input.where,
                  size,
                  type,
                  java.util.Arrays.toString(shape),
                  type.width > 0 ? "" : "at least ",
                  elements > Long.MAX_VALUE / 8
                      ? Long.MAX_VALUE
                      : elements * (type.width > 0 ? type.width : 4)));
    }
    ByteString raw = UnsafeByteOperations.unsafeWrap(body, binaryAt, size);
    if (type == RestType.BYTES) {
      RestTensor.requireFrames(raw.asReadOnlyByteBuffer(), elements, input.where);
    }
    binaryAt += size;
    return raw;
  }

  private void parameter(Input input, String name, InferParameter value) throws RestError {
    if (name.equals("binary_data_size")) {
      boolean fits =
          value.getParameterChoiceCase() == InferParameter.ParameterChoiceCase.INT64_PARAM
              && value.getInt64Param() >= 0;
      if (!fits) {
        throw RestError.bad(input.where + ": 'binary_data_size' must be an integer from 0");
      }
      input.binaryBytes = value.getInt64Param();
      return;
    }
    input.tensor.putParameters(name, value);
  }

  // ---- outputs and parameters

  private void output(JsonParser json) throws IOException, RestError {
    InferRequestedOutputTensor.Builder output = InferRequestedOutputTensor.newBuilder();
    String where = "output " + request.getOutputsCount();
    Boolean[] binary = new Boolean[1];
    Set<String> seen = new HashSet<>();
    for (String key = json.nextFieldName(); key != null; key = json.nextFieldName()) {
      json.nextToken();
      switch (key) {
        case "name" -> {
          once(seen, key, where);
          output.setName(text(json, key, where));
        }
        case "parameters" -> {
          once(seen, key, where);
          parameters(
              json,
              where,
              (name, value) -> {
                if (name.equals("binary_data")) {
                  binary[0] = flag(name, value, where);
                } else {
                  output.putParameters(name, value);
                }
              });
        }
        default -> json.skipChildren();
      }
    }
    if (!seen.contains("name")) {
      throw RestError.bad(where + ": 'name' must be a string");
    }
    if (binary[0] != null) {
      binaryOutputs.put(output.getName(), binary[0]);
    }
    request.addOutputs(output);
  }

  private void parameter(String name, InferParameter value) throws RestError {
    if (name.equals("binary_data_output")) {
      binaryByDefault = flag(name, value, "the request");
    } else {
      request.putParameters(name, value);
    }
  }

  private static boolean flag(String name, InferParameter value, String where) throws RestError {
    if (value.getParameterChoiceCase() != InferParameter.ParameterChoiceCase.BOOL_PARAM) {
      throw RestError.bad(where + ": '" + name + "' must be true or false");
    }
    return value.getBoolParam();
  }

  private interface Put {
    void put(String name, InferParameter value) throws RestError;
  }

  private static void parameters(JsonParser json, String where, Put put)
      throws IOException, RestError {
    if (json.currentToken() == JsonToken.VALUE_NULL) {
      return;
    }
    if (json.currentToken() != JsonToken.START_OBJECT) {
      throw RestError.bad(where + ": 'parameters' must be an object");
    }
    for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
      RestJson.requireText(name, where + ": a parameter's name");
      InferParameter.Builder value = InferParameter.newBuilder();
      switch (json.nextToken()) {
        case VALUE_TRUE -> value.setBoolParam(true);
        case VALUE_FALSE -> value.setBoolParam(false);
        case VALUE_STRING ->
            value.setStringParam(
                RestJson.requireText(json.getText(), where + ": parameter '" + name + "'"));
        case VALUE_NUMBER_INT -> {
          if (json.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
            if (json.getBigIntegerValue().signum() < 0
                || json.getBigIntegerValue().bitLength() > 64) {
              throw RestError.bad(
                  where + ": parameter '" + name + "' is an integer of more than 64 bits");
            }
            value.setUint64Param(json.getBigIntegerValue().longValue());
          } else {
            value.setInt64Param(json.getLongValue());
          }
        }
        case VALUE_NUMBER_FLOAT -> value.setDoubleParam(json.getDoubleValue());
        default ->
            throw RestError.bad(
                "%s: parameter '%s' must be a string, a number or a boolean"
                    .formatted(where, name));
      }
      put.put(name, value.build());
    }
  }

  static String text(JsonParser json, String key, String where) throws IOException, RestError {
    if (json.currentToken() != JsonToken.VALUE_STRING) {
      throw RestError.bad(where + ": '" + key + "' must be a string");
    }
    return RestJson.requireText(json.getText(), where + ": '" + key + "'");
  }
}
