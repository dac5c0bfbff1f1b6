package orlop.runtime;

import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * A runtime whose models take requests of rows, and as many of them together as they get. They
 * answer with the request's id, and tell which requests ran together.
 */
public final class RowsRuntime implements ModelRuntime {
  public static final String TYPE = "rows";

  /** The ids of each run, in the order in which the runs began. */
  public final List<List<String>> runs = new CopyOnWriteArrayList<>();

  /** Holds each run once it has begun. */
  public volatile CountDownLatch gate = new CountDownLatch(0);

  @Override
  public String name() {
    return TYPE;
  }

  @Override
  public boolean supports(String modelType) {
    return modelType.equals(TYPE);
  }

  @Override
  public long predictSizeBytes(Path modelPath) {
    return 1_000;
  }

  @Override
  public LoadedModel load(String modelId, String modelType, Path modelPath) {
    return new Rows();
  }

  @Override
  public void close() {}

  private final class Rows implements EncodedModel {
    @Override
    public ModelMetadataResponse metadata() {
      return ModelMetadataResponse.getDefaultInstance();
    }

    @Override
    public long sizeBytes() {
      return 1_000;
    }

    @Override
    public boolean admits(EncodedRequest request) {
      request.reserve(1, 1);
      request.inputs[0] = 0;
      request.outputs[0] = 0;
      request.outputCount = 1;
      request.rows = (int) request.dimensions()[request.shapes.from(0)];
      return true;
    }

    @Override
    public boolean takesRows() {
      return true;
    }

    @Override
    public boolean infer(
        List<? extends EncodedCall> calls, Workspace workspace, Cancellation cancellation) {
      runs.add(calls.stream().map(call -> call.request().id()).toList());
      pass(gate);
      for (EncodedCall call : calls) {
        byte[] answer =
            ModelInferResponse.newBuilder()
                .setModelName(new String(call.modelName(), StandardCharsets.UTF_8))
                .setId(call.request().id())
                .build()
                .toByteArray();
        call.room(answer.length, 0).put(answer);
      }
      return true;
    }

    @Override
    public ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation) {
      throw new IllegalStateException("the request is not in the plain form");
    }

    @Override
    public void close() {}
  }

  private static void pass(CountDownLatch gate) {
    try {
      if (!gate.await(60, TimeUnit.SECONDS)) {
        throw new IllegalStateException("the test never opened the gate");
      }
    } catch (InterruptedException e) {
      throw new IllegalStateException("interrupted at the gate", e);
    }
  }
}
