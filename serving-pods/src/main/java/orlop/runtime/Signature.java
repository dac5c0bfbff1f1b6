package orlop.runtime;

import ai.onnxruntime.MapInfo;
import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.SequenceInfo;
import ai.onnxruntime.TensorInfo;
import ai.onnxruntime.ValueInfo;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelMetadataResponse;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import orlop.runtime.InferenceException.Code;
import orlop.runtime.ModelLoadException.Reason;

/**
 * What a model takes and gives, and the texts of refusals that speak of it. Immutable.
 *
 * @param inputs by name, in the order of the file; every one is required
 * @param outputs by name, in the order of the file
 * @param left outputs that V2 cannot carry (sequences, maps), with what they are
 */
record Signature(
    String modelId,
    Map<String, TensorSpec> inputs,
    Map<String, TensorSpec> outputs,
    Map<String, String> left) {

  static Signature of(String modelId, OnnxFile file, OrtSession session)
      throws OrtException, ModelLoadException {
    Map<String, TensorSpec> inputs = new LinkedHashMap<>();
    for (NodeInfo node : session.getInputInfo().values()) {
      if (!(node.getInfo() instanceof TensorInfo tensor)
          || TensorType.ofOnnx(tensor.onnxType) == null) {
        throw bad(
            modelId,
            file,
            "input '"
                + node.getName()
                + "' is "
                + describe(node.getInfo())
                + ", expected a tensor of a V2 datatype");
      }
      inputs.put(node.getName(), spec(node.getName(), tensor, file));
    }
    Map<String, TensorSpec> outputs = new LinkedHashMap<>();
    Map<String, String> left = new LinkedHashMap<>();
    for (NodeInfo node : session.getOutputInfo().values()) {
      if (node.getInfo() instanceof TensorInfo tensor
          && TensorType.ofOnnx(tensor.onnxType) != null) {
        outputs.put(node.getName(), spec(node.getName(), tensor, file));
      } else {
        left.put(node.getName(), describe(node.getInfo()));
      }
    }
    if (inputs.isEmpty()) {
      throw bad(modelId, file, "it has no inputs, expected at least one");
    }
    if (outputs.isEmpty()) {
      throw bad(
          modelId,
          file,
          "none of its outputs is a tensor of a V2 datatype: "
              + left
              + " (scikit-learn models: export with zipmap=False)");
    }
    return new Signature(modelId, inputs, outputs, left);
  }

  /**
   * @param platform as Triton would call it
   */
  ModelMetadataResponse metadata(String platform) {
    ModelMetadataResponse.Builder metadata =
        ModelMetadataResponse.newBuilder().setName(modelId).setPlatform(platform);
    inputs.values().forEach(spec -> metadata.addInputs(spec.metadata()));
    outputs.values().forEach(spec -> metadata.addOutputs(spec.metadata()));
    left.forEach((name, what) -> metadata.putProperties("orlop.output_left_out." + name, what));
    // An empty shape means a scalar, so tensors of any rank must be told apart from one.
    String unranked =
        Stream.concat(inputs.values().stream(), outputs.values().stream())
            .filter(spec -> !spec.ranked())
            .map(TensorSpec::name)
            .collect(Collectors.joining(","));
    if (!unranked.isEmpty()) {
      metadata.putProperties("orlop.any_rank", unranked);
    }
    return metadata.build();
  }

  /** In the order of the request; all of them when it names none. */
  List<TensorSpec> requestedOutputs(List<InferRequestedOutputTensor> requested)
      throws InferenceException {
    if (requested.isEmpty()) {
      return List.copyOf(outputs.values());
    }
    List<TensorSpec> specs = new ArrayList<>(requested.size());
    Set<String> seen = new HashSet<>();
    for (InferRequestedOutputTensor output : requested) {
      String name = output.getName();
      TensorSpec spec = outputs.get(name);
      if (left.containsKey(name)) {
        throw refuse(
            "output '"
                + name
                + "' is "
                + left.get(name)
                + ", which V2 cannot carry; its other outputs are "
                + list(outputs.values()));
      }
      if (spec == null) {
        throw refuse("no output '" + name + "', expected of " + list(outputs.values()));
      }
      if (!seen.add(name)) {
        throw refuse("output '" + name + "' is requested twice, expected once");
      }
      specs.add(spec);
    }
    return specs;
  }

  InferenceException refuse(String what) {
    return new InferenceException(Code.INVALID_ARGUMENT, "model '" + modelId + "': " + what);
  }

  InferenceException refuseInput(TensorSpec input, String what) {
    return refuse("input '" + input.name() + "': " + what);
  }

  /** As in {@code x FP32[-1,4], y INT64[1]}. */
  static String list(Collection<TensorSpec> specs) {
    return specs.stream().map(TensorSpec::toString).collect(Collectors.joining(", "));
  }

  private static TensorSpec spec(String name, TensorInfo info, OnnxFile file) {
    TensorType type = TensorType.ofOnnx(info.onnxType);
    if (type == null) {
      throw new IllegalStateException("unchecked type " + info.onnxType);
    }
    return new TensorSpec(name, type, info.getShape(), !file.unranked().contains(name));
  }

  private static String describe(ValueInfo info) {
    return switch (info) {
      case TensorInfo tensor -> "a tensor of " + tensor.onnxType;
      case SequenceInfo sequence when sequence.isSequenceOfMaps() ->
          "a sequence of " + describe(sequence.mapInfo);
      case SequenceInfo sequence -> "a sequence of " + sequence.sequenceType;
      case MapInfo map -> "a map from " + map.keyType + " to " + map.valueType;
      default -> "of an unknown kind";
    };
  }

  private static ModelLoadException bad(String modelId, OnnxFile file, String what) {
    return new ModelLoadException(
        Reason.BAD_MODEL, "model '" + modelId + "' at " + file.path() + ": " + what, null);
  }
}
