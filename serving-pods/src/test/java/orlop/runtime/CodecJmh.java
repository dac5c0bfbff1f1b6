package orlop.runtime;

import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * From the bytes of a request to tensors and back to the bytes of an answer, through the cheapest
 * model there is: one that gives back what it gets.
 */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@State(Scope.Benchmark)
public class CodecJmh {
  @Param({"32", "16384"})
  int floats;

  private @Nullable OnnxRuntime runtime;
  private @Nullable LoadedModel model;
  private byte[] raw = {};
  private byte[] typed = {};

  @Setup
  public void load() throws Exception {
    Path file = Files.createTempFile("orlop-codec-", ".onnx");
    file.toFile().deleteOnExit();
    Files.write(file, OnnxModels.identity("FP32", -1));
    runtime = new OnnxRuntime(RuntimeConfig.defaults());
    model = runtime.load("identity", "onnx", file);
    ModelInferRequest.InferInputTensor x =
        ModelInferRequest.InferInputTensor.newBuilder()
            .setName("x")
            .setDatatype("FP32")
            .addShape(floats)
            .build();
    ModelInferRequest.Builder request = ModelInferRequest.newBuilder().setModelName("identity");
    raw =
        request
            .clone()
            .addInputs(x)
            .addRawInputContents(ByteString.copyFrom(new byte[4 * floats]))
            .build()
            .toByteArray();
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    for (int i = 0; i < floats; i++) {
      contents.addFp32Contents(i);
    }
    typed = request.addInputs(x.toBuilder().setContents(contents)).build().toByteArray();
  }

  @TearDown
  public void close() {
    if (model != null && runtime != null) {
      model.close();
      runtime.close();
    }
  }

  @Benchmark
  public byte[] raw() throws Exception {
    return answer(raw);
  }

  @Benchmark
  public byte[] typed() throws Exception {
    return answer(typed);
  }

  private byte[] answer(byte[] request) throws Exception {
    if (model == null) {
      throw new IllegalStateException("no model is loaded");
    }
    return model.infer(ModelInferRequest.parseFrom(request), Cancellation.NEVER).toByteArray();
  }
}
