package orlop.runtime;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import orlop.runtime.ModelLoadException.Reason;

/**
 * What a model's key says of tensors that its file does not name: the members {@code inputs} and
 * {@code outputs} of the key's member {@code orlop}, each a list as in V2's metadata, such as
 * {@code {"orlop": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "outputs":
 * [{"name": "y", "datatype": "FP32"}]}}}. Arguments and results stand in that order.
 */
final class DeclaredTensors {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String MEMBER = "orlop";
  private static final int MAX_TENSORS = 256;
  private static final int MAX_NAME_CHARS = 255;
  private static final int MAX_RANK = 16;

  private final String modelId;

  private DeclaredTensors(String modelId) {
    this.modelId = modelId;
  }

  /**
   * The signature that a key declares.
   *
   * @return null when it declares none
   * @throws ModelLoadException BAD_MODEL, naming the member, its value and what was expected
   */
  static @Nullable Signature in(String modelId, String key) throws ModelLoadException {
    if (!key.contains('"' + MEMBER + '"')) {
      return null;
    }
    JsonNode said;
    try {
      said = JSON.readTree(key).path(MEMBER);
    } catch (JsonProcessingException e) {
      // The key is the storage's affair then.
      return null;
    }
    if (!said.has("inputs") && !said.has("outputs")) {
      return null;
    }
    DeclaredTensors declared = new DeclaredTensors(modelId);
    return new Signature(
        modelId, declared.list(said, "inputs"), declared.list(said, "outputs"), Map.of());
  }

  private Map<String, TensorSpec> list(JsonNode said, String member) throws ModelLoadException {
    JsonNode list = said.path(member);
    if (!list.isArray() || list.isEmpty() || list.size() > MAX_TENSORS) {
      throw bad(member, list, "a list of 1 to " + MAX_TENSORS + " tensors, beside the other list");
    }
    Map<String, TensorSpec> specs = new LinkedHashMap<>();
    for (int i = 0; i < list.size(); i++) {
      TensorSpec spec = tensor(member + "[" + i + "]", list.get(i));
      if (specs.put(spec.name(), spec) != null) {
        throw bad(member + "[" + i + "].name", list.get(i).path("name"), "each name once");
      }
    }
    return specs;
  }

  private TensorSpec tensor(String where, JsonNode said) throws ModelLoadException {
    JsonNode name = said.path("name");
    if (!name.isTextual() || name.asText().isEmpty() || name.asText().length() > MAX_NAME_CHARS) {
      throw bad(where + ".name", name, "a text of 1 to " + MAX_NAME_CHARS + " characters");
    }
    JsonNode datatype = said.path("datatype");
    TensorType type = TensorType.ofWireName(datatype.asText());
    if (type == null || TorchModel.element(type) == null) {
      throw bad(where + ".datatype", datatype, "a datatype of V2 that PyTorch has tensors of");
    }
    JsonNode shape = said.path("shape");
    if (shape.isMissingNode()) {
      return new TensorSpec(name.asText(), type, new long[0], false);
    }
    boolean sizes = shape.isArray() && shape.size() <= MAX_RANK;
    for (JsonNode size : shape) {
      sizes &= size.isInt() && size.intValue() >= -1;
    }
    if (!sizes) {
      throw bad(
          where + ".shape", shape, "at most " + MAX_RANK + " sizes, each -1 (any) or from 0 on");
    }
    long[] dimensions = new long[shape.size()];
    for (int i = 0; i < dimensions.length; i++) {
      dimensions[i] = shape.get(i).longValue();
    }
    return new TensorSpec(name.asText(), type, dimensions, true);
  }

  private ModelLoadException bad(String member, JsonNode value, String expected) {
    String found = value.isMissingNode() ? "missing" : value.toString();
    return new ModelLoadException(
        Reason.BAD_MODEL,
        "model '%s': key: \"orlop.%s\" is %s, expected %s"
            .formatted(modelId, member, found, expected),
        null);
  }
}
