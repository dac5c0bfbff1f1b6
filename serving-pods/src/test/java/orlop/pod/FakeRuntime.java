package orlop.pod;

import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import orlop.runtime.Cancellation;
import orlop.runtime.InferenceException;
import orlop.runtime.LoadedModel;
import orlop.runtime.ModelLoadException;
import orlop.runtime.ModelRuntime;
import orlop.runtime.SidecarModel;

/**
 * A runtime under the test's control. A model echoes its inputs as outputs; loads and inferences
 * can be held at a gate, sizes and failures set by model.
 */
final class FakeRuntime implements ModelRuntime {
  static final String TYPE = "fake";

  final AtomicInteger loads = new AtomicInteger();
  final AtomicInteger loaded = new AtomicInteger();

  /** How often models were told to go, also those that had gone. */
  final AtomicInteger closes = new AtomicInteger();

  final AtomicInteger inferences = new AtomicInteger();
  final AtomicInteger running = new AtomicInteger();
  final AtomicInteger cancelled = new AtomicInteger();
  final AtomicInteger usedAfterClose = new AtomicInteger();
  final Map<String, Long> sizes = new ConcurrentHashMap<>();

  /** What was predicted of models whose size is measured. */
  final Map<String, Long> predictions = new ConcurrentHashMap<>();

  final Map<String, ModelLoadException> loadFailures = new ConcurrentHashMap<>();
  final Map<String, InferenceException> inferenceFailures = new ConcurrentHashMap<>();
  final Map<String, Error> inferenceErrors = new ConcurrentHashMap<>();

  /** What models throw that the pod asks about themselves once they are loaded. */
  final Map<String, Error> askErrors = new ConcurrentHashMap<>();

  /** What models throw when they are closed for the first time. */
  final Map<String, Error> closeErrors = new ConcurrentHashMap<>();

  /** What models say that they take and give; nothing where unset. */
  final Map<String, ModelMetadataResponse> metadata = new ConcurrentHashMap<>();

  /** What models answer; an echo where unset. */
  final Map<String, Function<ModelInferRequest, ModelInferResponse>> functions =
      new ConcurrentHashMap<>();

  volatile long defaultBytes = 1_000;

  /** Where calls of models that are loaded from now on go instead of running here. */
  volatile @Nullable String sidecar;

  /** Calls that such a model runs at once; 0: as many as come. */
  volatile int atOnce;

  /** Calls that may wait beside those. */
  volatile int inLine;

  volatile @Nullable CountDownLatch loadGate;
  volatile @Nullable CountDownLatch inferGate;
  volatile @Nullable CountDownLatch closeGate;

  /** Holds who asks a loaded model for its size: the pod's host thread. */
  volatile @Nullable CountDownLatch sizeGate;

  final AtomicInteger atSizeGate = new AtomicInteger();

  @Override
  public String name() {
    return "fake";
  }

  @Override
  public boolean supports(String modelType) {
    return modelType.equals(TYPE);
  }

  @Override
  public long predictSizeBytes(Path modelPath) {
    return defaultBytes;
  }

  @Override
  public LoadedModel load(String modelId, String modelType, Path modelPath)
      throws ModelLoadException {
    loads.incrementAndGet();
    pass(loadGate);
    ModelLoadException failure = loadFailures.get(modelId);
    if (failure != null) {
      throw failure;
    }
    loaded.incrementAndGet();
    String elsewhere = sidecar;
    return elsewhere == null ? new Echo(modelId) : new Beside(modelId, elsewhere);
  }

  @Override
  public void close() {}

  private static void pass(@Nullable CountDownLatch gate) {
    try {
      if (gate != null && !gate.await(60, TimeUnit.SECONDS)) {
        throw new IllegalStateException("the test never opened the gate");
      }
    } catch (InterruptedException e) {
      throw new IllegalStateException("interrupted at the gate", e);
    }
  }

  private final class Beside extends Echo implements SidecarModel {
    private final String address;

    Beside(String modelId, String address) {
      super(modelId);
      this.address = address;
    }

    @Override
    public String address() {
      return address;
    }

    @Override
    public int maxConcurrency() {
      return atOnce;
    }

    @Override
    public int maxInFlight() {
      return atOnce == 0 ? Integer.MAX_VALUE : atOnce + inLine;
    }
  }

  private class Echo implements LoadedModel {
    private final String modelId;
    private volatile boolean closed;

    Echo(String modelId) {
      this.modelId = modelId;
    }

    @Override
    public ModelMetadataResponse metadata() {
      return metadata.getOrDefault(
          modelId, ModelMetadataResponse.newBuilder().setName(modelId).setPlatform("fake").build());
    }

    @Override
    public boolean computesOnly() {
      Error error = askErrors.get(modelId);
      if (error != null) {
        throw error;
      }
      return false;
    }

    @Override
    public long sizeBytes() {
      CountDownLatch gate = sizeGate;
      if (gate != null) {
        atSizeGate.incrementAndGet();
        pass(gate);
      }
      return sizes.getOrDefault(modelId, defaultBytes);
    }

    @Override
    public long predictedSizeBytes() {
      return predictions.getOrDefault(modelId, sizeBytes());
    }

    @Override
    public ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation)
        throws InferenceException {
      running.incrementAndGet();
      try {
        CountDownLatch gate = inferGate;
        while (gate != null && gate.getCount() > 0) {
          if (cancellation.isCancelled()) {
            cancelled.incrementAndGet();
            throw new InferenceException(InferenceException.Code.CANCELLED, "cancelled");
          }
          if (gate.await(5, TimeUnit.MILLISECONDS)) {
            break;
          }
        }
        InferenceException failure = inferenceFailures.get(modelId);
        if (failure != null) {
          throw failure;
        }
        Error error = inferenceErrors.get(modelId);
        if (error != null) {
          throw error;
        }
        if (closed) {
          usedAfterClose.incrementAndGet();
        }
        inferences.incrementAndGet();
        Function<ModelInferRequest, ModelInferResponse> function = functions.get(modelId);
        if (function != null) {
          return function.apply(request);
        }
        ModelInferResponse.Builder response =
            ModelInferResponse.newBuilder()
                .setModelName(request.getModelName())
                .setId(request.getId())
                .putParameters(
                    "ran", inference.InferParameter.newBuilder().setStringParam(modelId).build())
                .addAllRawOutputContents(request.getRawInputContentsList());
        for (ModelInferRequest.InferInputTensor input : request.getInputsList()) {
          response.addOutputs(
              ModelInferResponse.InferOutputTensor.newBuilder()
                  .setName(input.getName())
                  .setDatatype(input.getDatatype())
                  .addAllShape(input.getShapeList())
                  .setContents(input.getContents()));
        }
        return response.build();
      } catch (InterruptedException e) {
        throw new InferenceException(InferenceException.Code.INTERNAL, "interrupted", e);
      } finally {
        running.decrementAndGet();
      }
    }

    @Override
    public void close() {
      pass(closeGate);
      closes.incrementAndGet();
      Error error = closeErrors.remove(modelId);
      if (error != null) {
        throw error;
      }
      if (!closed) {
        closed = true;
        loaded.decrementAndGet();
      }
    }
  }
}
