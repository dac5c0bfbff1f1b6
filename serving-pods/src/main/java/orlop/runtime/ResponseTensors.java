package orlop.runtime;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtSession;
import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import inference.InferTensorContents;
import inference.ModelInferResponse;
import inference.ModelInferResponse.InferOutputTensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import orlop.runtime.InferenceException.Code;

/** Writes the tensors that a run gave into its V2 response. Stateless. */
final class ResponseTensors {

  private ResponseTensors() {}

  static void encode(
      Signature signature,
      StringTensors strings,
      List<TensorSpec> outputs,
      OrtSession.Result result,
      boolean rawRequest,
      ModelInferResponse.Builder response)
      throws InferenceException {
    boolean raw = rawRequest || outputs.stream().anyMatch(output -> output.type().field == null);
    for (int i = 0; i < outputs.size(); i++) {
      TensorSpec spec = outputs.get(i);
      OnnxTensor tensor = tensor(signature, spec, result.get(i));
      InferOutputTensor.Builder output =
          InferOutputTensor.newBuilder().setName(spec.name()).setDatatype(spec.type().name());
      for (long dimension : tensor.getInfo().getShape()) {
        output.addShape(dimension);
      }
      if (raw) {
        response.addRawOutputContents(rawBytes(spec, tensor, strings));
      } else {
        output.setContents(contents(spec, tensor, strings));
      }
      response.addOutputs(output);
    }
  }

  private static OnnxTensor tensor(Signature signature, TensorSpec spec, OnnxValue value)
      throws InferenceException {
    String where = "model '" + signature.modelId() + "': output '" + spec.name() + "' ";
    if (!(value instanceof OnnxTensor tensor)) {
      throw new InferenceException(Code.INTERNAL, where + "is no tensor but " + value.getType());
    }
    long bytes = tensor.getInfo().getNumElements() * Math.max(spec.type().width, 1);
    if (bytes > Integer.MAX_VALUE) {
      throw new InferenceException(
          Code.TOO_LARGE, where + "has " + bytes + " bytes, expected at most " + Integer.MAX_VALUE);
    }
    return tensor;
  }

  private static ByteString rawBytes(TensorSpec spec, OnnxTensor tensor, StringTensors strings) {
    if (spec.type() != TensorType.BYTES) {
      // The buffer is a copy that nobody else holds.
      return UnsafeByteOperations.unsafeWrap(tensor.getByteBuffer());
    }
    List<ByteString> elements = strings.read(tensor);
    int bytes = 0;
    for (ByteString element : elements) {
      bytes = Math.addExact(bytes, 4 + element.size());
    }
    ByteBuffer out = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    for (ByteString element : elements) {
      out.putInt(element.size());
      element.copyTo(out);
    }
    return UnsafeByteOperations.unsafeWrap(out.flip());
  }

  private static InferTensorContents contents(
      TensorSpec spec, OnnxTensor tensor, StringTensors strings) {
    if (spec.type() == TensorType.BYTES) {
      return InferTensorContents.newBuilder().addAllBytesContents(strings.read(tensor)).build();
    }
    ByteBuffer data = tensor.getByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    return TypedContents.read(spec.type(), data);
  }
}
