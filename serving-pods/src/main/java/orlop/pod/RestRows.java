package orlop.pod;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import inference.ModelInferRequest;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Reads a V1 request: rows under {@code instances}, each a value or an object by input name, or
 * whole tensors under {@code inputs}. Datatypes come from the model, shapes from the nesting. Owned
 * by one thread. Source: TensorFlow Serving's REST API, KServe V1.
 */
final class RestRows {
  private final Map<String, TensorMetadata> inputs = new LinkedHashMap<>();
  private final Map<String, RestElements> elements = new LinkedHashMap<>();
  private final int mostBytes;
  private boolean rowWise;

  private RestRows(ModelMetadataResponse signature, int mostBytes) {
    this.mostBytes = mostBytes;
    for (TensorMetadata input : signature.getInputsList()) {
      inputs.put(input.getName(), input);
    }
  }

  /**
   * @param mostBytes that one tensor may take in raw form
   */
  static RestRows read(byte[] body, ModelMetadataResponse signature, int mostBytes)
      throws RestError {
    RestRows rows = new RestRows(signature, mostBytes);
    try (JsonParser json = RestJson.parser(body, 0, body.length)) {
      rows.root(json);
    } catch (IOException e) {
      throw RestJson.notJson(e);
    }
    return rows;
  }

  /** Whether it came as rows, and shall be answered so. */
  boolean rowWise() {
    return rowWise;
  }

  /** The request, but for the model's name. */
  ModelInferRequest.Builder request() throws RestError {
    ModelInferRequest.Builder request = ModelInferRequest.newBuilder();
    for (Map.Entry<String, RestElements> entry : elements.entrySet()) {
      TensorMetadata input = declared(entry.getKey());
      var tensor =
          ModelInferRequest.InferInputTensor.newBuilder()
              .setName(entry.getKey())
              .setDatatype(input.getDatatype());
      long[] sizes = entry.getValue().sizes();
      for (long size : sizes) {
        tensor.addShape(size);
      }
      int rank = input.getShapeCount();
      if (sizes.length == rank - 1 && input.getShape(rank - 1) == 1) {
        // A column of single values, written without a pair of brackets for each.
        tensor.addShape(1);
      }
      request.addInputs(tensor).addRawInputContents(entry.getValue().raw());
    }
    return request;
  }

  private void root(JsonParser json) throws IOException, RestError {
    if (json.nextToken() != JsonToken.START_OBJECT) {
      throw RestError.bad("the body must be a JSON object");
    }
    Set<String> seen = new HashSet<>();
    for (String key = json.nextFieldName(); key != null; key = json.nextFieldName()) {
      JsonToken token = json.nextToken();
      boolean rows = key.equals("instances");
      if (!rows && !key.equals("inputs")) {
        json.skipChildren();
        continue;
      }
      RestReader.once(seen, "instances or inputs", "the request");
      rowWise = rows;
      if (rows) {
        instances(json, token);
      } else if (token == JsonToken.START_OBJECT) {
        columns(json);
      } else if (token == JsonToken.START_ARRAY) {
        elements(single()).array(json);
      } else {
        throw RestError.bad("'inputs' must be an object or an array");
      }
    }
    if (json.currentToken() != JsonToken.END_OBJECT || json.nextToken() != null) {
      throw RestError.bad("the body is not JSON: something follows the object");
    }
    if (seen.isEmpty()) {
      throw RestError.bad("expected an array 'instances', or 'inputs'");
    }
  }

  private void instances(JsonParser json, @Nullable JsonToken token) throws IOException, RestError {
    if (token != JsonToken.START_ARRAY) {
      throw RestError.bad("'instances' must be an array");
    }
    long row = 0;
    boolean named = false;
    for (JsonToken item = json.nextToken();
        item != JsonToken.END_ARRAY;
        item = json.nextToken(), row++) {
      if (row > 0 && named != (item == JsonToken.START_OBJECT)) {
        throw RestError.bad("'instances' holds objects and others, expected one kind");
      }
      named = item == JsonToken.START_OBJECT;
      if (named) {
        namedRow(json, row);
      } else {
        elements(single()).row(json);
      }
    }
    if (row == 0) {
      throw RestError.bad("'instances' is empty, expected at least one row");
    }
  }

  private void namedRow(JsonParser json, long row) throws IOException, RestError {
    for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
      if (name.equals(RestElements.ENCODED) && inputs.size() == 1 && !inputs.containsKey(name)) {
        // Not a row by name, but one value of the only input: bytes that are no text.
        elements(single()).row(json);
        requireRows(single(), elements(single()), row + 1);
        return;
      }
      json.nextToken();
      RestElements column = elements(name);
      column.row(json);
      requireRows(name, column, row + 1);
    }
    for (Map.Entry<String, RestElements> entry : elements.entrySet()) {
      requireRows(entry.getKey(), entry.getValue(), row + 1);
    }
  }

  private static void requireRows(String name, RestElements column, long rows) throws RestError {
    if (column.sizes()[0] != rows) {
      throw RestError.bad(
          "row %d of 'instances' gives input '%s' %s"
              .formatted(
                  rows - 1,
                  name,
                  column.sizes()[0] < rows ? "not, other rows do" : "more often than the others"));
    }
  }

  private void columns(JsonParser json) throws IOException, RestError {
    for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
      if (json.nextToken() != JsonToken.START_ARRAY) {
        throw RestError.bad("input '" + name + "' must be an array");
      }
      if (elements.containsKey(name)) {
        throw RestError.bad("'inputs': '" + name + "' stands twice");
      }
      elements(name).array(json);
    }
  }

  private String single() throws RestError {
    if (inputs.size() != 1) {
      throw RestError.bad(
          "the model has the inputs " + inputs.keySet() + ", expected objects that name them");
    }
    return inputs.keySet().iterator().next();
  }

  private RestElements elements(String name) throws RestError {
    RestElements known = elements.get(name);
    if (known != null) {
      return known;
    }
    TensorMetadata input = declared(name);
    RestType type = RestType.of(input.getDatatype());
    if (type == null) {
      throw new RestError(500, "input '" + name + "' has datatype " + input.getDatatype());
    }
    RestElements made = new RestElements(type, "input '" + name + "'", mostBytes);
    elements.put(name, made);
    return made;
  }

  private TensorMetadata declared(String name) throws RestError {
    TensorMetadata input = inputs.get(name);
    if (input == null) {
      List<String> known = new ArrayList<>(inputs.keySet());
      throw RestError.bad("the model has no input '" + name + "', expected " + known);
    }
    return input;
  }
}
