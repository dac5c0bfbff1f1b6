package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferResponse;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import orlop.runtime.InferenceException.Code;

/** A runtime per test, and short ways to say what goes in. */
abstract class RuntimeTestBase {
  @TempDir Path dir;
  OnnxRuntime runtime;

  @BeforeEach
  void open() {
    runtime = new OnnxRuntime(RuntimeConfig.defaults());
  }

  @AfterEach
  void shut() {
    runtime.close();
  }

  Path file(byte[] model) throws IOException {
    return Files.write(Files.createTempFile(dir, "m", ".onnx"), model);
  }

  LoadedModel load(byte[] model) throws Exception {
    return runtime.load("m", "onnx", file(model));
  }

  static ModelInferResponse infer(LoadedModel model, ModelInferRequest request) throws Exception {
    return model.infer(request, Cancellation.NEVER);
  }

  static InferInputTensor.Builder input(String name, String datatype, long... shape) {
    InferInputTensor.Builder input =
        InferInputTensor.newBuilder().setName(name).setDatatype(datatype);
    for (long dimension : shape) {
      input.addShape(dimension);
    }
    return input;
  }

  static ModelInferRequest typed(InferInputTensor.Builder input, InferTensorContents contents) {
    return ModelInferRequest.newBuilder()
        .setModelName("m")
        .addInputs(input.setContents(contents))
        .build();
  }

  static ModelInferRequest raw(InferInputTensor.Builder input, byte... bytes) {
    return ModelInferRequest.newBuilder()
        .setModelName("m")
        .addInputs(input)
        .addRawInputContents(ByteString.copyFrom(bytes))
        .build();
  }

  static InferTensorContents floats(float... numbers) {
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    for (float number : numbers) {
      contents.addFp32Contents(number);
    }
    return contents.build();
  }

  static byte[] floatBytes(float... numbers) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * numbers.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(numbers);
    return bytes.array();
  }

  static InferenceException assertRefused(
      Code code, String text, LoadedModel model, ModelInferRequest request) {
    InferenceException e =
        assertThrows(InferenceException.class, () -> model.infer(request, Cancellation.NEVER));
    assertEquals(text, e.getMessage());
    assertEquals(code, e.code());
    return e;
  }
}
