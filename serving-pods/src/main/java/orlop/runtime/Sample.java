package orlop.runtime;

import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;

/**
 * A model of a few hundred bytes in a runtime's own format, and what it can be asked: so that
 * whoever starts the runtime can try the whole way of a call.
 *
 * @param modelType as {@link ModelRuntime#supports} takes it
 * @param file the model file's content
 * @param raw a request without a model's name that it answers, with raw contents
 * @param typed the same with typed contents
 */
public record Sample(
    String modelType, ByteString file, ModelInferRequest raw, ModelInferRequest typed) {

  /** One that takes a single row of FP32. */
  static Sample ofRow(String modelType, ByteString file, String input, int columns) {
    InferTensorContents.Builder zeros = InferTensorContents.newBuilder();
    for (int i = 0; i < columns; i++) {
      zeros.addFp32Contents(0);
    }
    ModelInferRequest.InferInputTensor row =
        ModelInferRequest.InferInputTensor.newBuilder()
            .setName(input)
            .setDatatype("FP32")
            .addShape(1)
            .addShape(columns)
            .build();
    return new Sample(
        modelType,
        file,
        ModelInferRequest.newBuilder()
            .addInputs(row)
            .addRawInputContents(ByteString.copyFrom(new byte[columns * Float.BYTES]))
            .build(),
        ModelInferRequest.newBuilder().addInputs(row.toBuilder().setContents(zeros)).build());
  }
}
