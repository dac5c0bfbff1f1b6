package orlop.bridge;

import com.google.protobuf.ByteString;
import inference.InferParameter;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Joins requests along the first dimension and takes the response apart again. Pure. Request ids
 * stay here: a joined request has none, and each part of the response gets its own back.
 */
final class RowBatch {
  private RowBatch() {}

  /** What two requests must share to travel as one. */
  record Signature(
      ModelName model,
      String version,
      List<Input> inputs,
      Map<String, InferParameter> parameters,
      List<ModelInferRequest.InferRequestedOutputTensor> outputs) {}

  /** One input tensor but for its first dimension. */
  record Input(
      String name, String datatype, List<Long> rowShape, Map<String, InferParameter> parameters) {}

  /** Null where the request must travel alone. */
  static @Nullable Signature signature(ModelName model, ModelInferRequest request) {
    boolean raw = request.getRawInputContentsCount() > 0;
    List<Input> inputs = new ArrayList<>(request.getInputsCount());
    for (ModelInferRequest.InferInputTensor input : request.getInputsList()) {
      boolean joinable = raw || input.getDatatype().equals("FP32");
      if (!joinable || input.getShapeCount() == 0 || input.getShape(0) != rows(request)) {
        return null;
      }
      inputs.add(
          new Input(
              input.getName(),
              input.getDatatype(),
              input.getShapeList().subList(1, input.getShapeCount()),
              input.getParametersMap()));
    }
    return rows(request) < 1
        ? null
        : new Signature(
            model,
            request.getModelVersion(),
            inputs,
            request.getParametersMap(),
            request.getOutputsList());
  }

  /** The first dimension of the first input; 0 where there is none. */
  static long rows(ModelInferRequest request) {
    return request.getInputsCount() == 0 || request.getInputs(0).getShapeCount() == 0
        ? 0
        : request.getInputs(0).getShape(0);
  }

  /** Joins requests of one signature, in order. */
  static ModelInferRequest join(List<ModelInferRequest> requests) {
    ModelInferRequest first = requests.getFirst();
    ModelInferRequest.Builder joined =
        first.toBuilder().clearId().clearInputs().clearRawInputContents();
    long rows = 0;
    for (ModelInferRequest request : requests) {
      rows += rows(request);
    }
    for (int i = 0; i < first.getInputsCount(); i++) {
      joined.addInputs(first.getInputs(i).toBuilder().clearContents().setShape(0, rows));
      List<ByteString> parts = new ArrayList<>(requests.size());
      for (ModelInferRequest request : requests) {
        parts.add(
            request.getRawInputContentsCount() > 0
                ? request.getRawInputContents(i)
                : Tensors.rawFp32(request.getInputs(i).getContents()));
      }
      joined.addRawInputContents(ByteString.copyFrom(parts));
    }
    return joined.build();
  }

  /**
   * Takes a response apart, one part for each request that was joined.
   *
   * @return null where an output does not have one row for each row of input
   */
  static @Nullable List<ModelInferResponse> split(
      ModelInferResponse response, List<ModelInferRequest> requests) {
    List<ModelInferResponse.Builder> parts = new ArrayList<>(requests.size());
    long total = 0;
    for (ModelInferRequest request : requests) {
      total += rows(request);
      parts.add(
          ModelInferResponse.newBuilder()
              .setModelName(response.getModelName())
              .setModelVersion(response.getModelVersion())
              .setId(request.getId())
              .putAllParameters(response.getParametersMap()));
    }
    for (int i = 0; i < response.getOutputsCount(); i++) {
      if (!splitOutput(response, i, total, requests, parts)) {
        return null;
      }
    }
    return parts.stream().map(ModelInferResponse.Builder::build).toList();
  }

  private static boolean splitOutput(
      ModelInferResponse response,
      int index,
      long total,
      List<ModelInferRequest> requests,
      List<ModelInferResponse.Builder> parts) {
    ModelInferResponse.InferOutputTensor output = response.getOutputs(index);
    if (output.getShapeCount() == 0 || output.getShape(0) != total) {
      return false;
    }
    ByteString raw = raw(response, index);
    long perRow = 1;
    for (long dimension : output.getShapeList().subList(1, output.getShapeCount())) {
      perRow *= dimension;
    }
    if (raw == null || !hasElements(output.getDatatype(), raw, total * perRow)) {
      return false;
    }
    int from = 0;
    for (int part = 0; part < parts.size(); part++) {
      long rows = rows(requests.get(part));
      int to = end(output.getDatatype(), raw, from, rows * perRow);
      parts
          .get(part)
          .addOutputs(output.toBuilder().clearContents().setShape(0, rows))
          .addRawOutputContents(raw.substring(from, to));
      from = to;
    }
    return true;
  }

  private static @Nullable ByteString raw(ModelInferResponse response, int index) {
    if (index < response.getRawOutputContentsCount()) {
      return response.getRawOutputContents(index);
    }
    ModelInferResponse.InferOutputTensor output = response.getOutputs(index);
    return output.getDatatype().equals("FP32") ? Tensors.rawFp32(output.getContents()) : null;
  }

  private static boolean hasElements(String datatype, ByteString raw, long elements) {
    return end(datatype, raw, 0, elements) == raw.size();
  }

  /** Where {@code elements} elements end that start at {@code from}; -1 beyond the end. */
  private static int end(String datatype, ByteString raw, int from, long elements) {
    int width = Tensors.elementBytes(datatype);
    if (width > 0) {
      long end = from + elements * width;
      return end <= raw.size() ? (int) end : -1;
    }
    ByteBuffer bytes = raw.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    long end = from;
    for (long i = 0; i < elements; i++) {
      if (end + Integer.BYTES > raw.size()) {
        return -1;
      }
      int length = bytes.getInt((int) end);
      if (length < 0 || end + Integer.BYTES + length > raw.size()) {
        return -1;
      }
      end += Integer.BYTES + length;
    }
    return (int) end;
  }
}
