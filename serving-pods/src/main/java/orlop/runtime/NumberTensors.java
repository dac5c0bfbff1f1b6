package orlop.runtime;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import inference.InferTensorContents;
import inference.ModelInferResponse;
import inference.ModelInferResponse.InferOutputTensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Writes numbers computed on the heap into a V2 response. Stateless. */
final class NumberTensors {

  private NumberTensors() {}

  /** Adds an output of FP32 or FP64. */
  static void add(
      TensorSpec spec,
      int rows,
      double[] numbers,
      boolean raw,
      ModelInferResponse.Builder response) {
    InferOutputTensor.Builder output = output(spec, rows);
    boolean single = spec.type() == TensorType.FP32;
    if (raw) {
      ByteBuffer bytes = bytes(numbers.length * spec.type().width);
      for (double number : numbers) {
        if (single) {
          bytes.putFloat((float) number);
        } else {
          bytes.putDouble(number);
        }
      }
      response.addRawOutputContents(done(bytes));
    } else {
      InferTensorContents.Builder contents = InferTensorContents.newBuilder();
      for (double number : numbers) {
        if (single) {
          contents.addFp32Contents((float) number);
        } else {
          contents.addFp64Contents(number);
        }
      }
      output.setContents(contents);
    }
    response.addOutputs(output);
  }

  /** Adds an output of INT64. */
  static void add(
      TensorSpec spec, int rows, long[] numbers, boolean raw, ModelInferResponse.Builder response) {
    InferOutputTensor.Builder output = output(spec, rows);
    if (raw) {
      ByteBuffer bytes = bytes(numbers.length * Long.BYTES);
      for (long number : numbers) {
        bytes.putLong(number);
      }
      response.addRawOutputContents(done(bytes));
    } else {
      InferTensorContents.Builder contents = InferTensorContents.newBuilder();
      for (long number : numbers) {
        contents.addInt64Contents(number);
      }
      output.setContents(contents);
    }
    response.addOutputs(output);
  }

  private static InferOutputTensor.Builder output(TensorSpec spec, int rows) {
    InferOutputTensor.Builder output =
        InferOutputTensor.newBuilder()
            .setName(spec.name())
            .setDatatype(spec.type().name())
            .addShape(rows);
    for (int i = 1; i < spec.shape().length; i++) {
      output.addShape(spec.shape()[i]);
    }
    return output;
  }

  private static ByteBuffer bytes(int length) {
    return ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** The buffer is this response's own, so it need not be copied again. */
  private static ByteString done(ByteBuffer bytes) {
    return UnsafeByteOperations.unsafeWrap(bytes.flip());
  }
}
