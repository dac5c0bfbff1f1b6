package orlop.runtime;

import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import mmesh.LoadModelRequest;
import mmesh.LoadModelResponse;
import mmesh.ModelSizeRequest;
import mmesh.PredictModelSizeRequest;
import mmesh.UnloadModelRequest;

/**
 * A model server beside this process that speaks {@code mmesh.ModelRuntime}. It loads and unloads
 * when told to; inferences reach it without passing through this class. Thread-safe.
 */
public final class SidecarRuntime implements ModelRuntime {
  private static final System.Logger LOG = System.getLogger(SidecarRuntime.class.getName());
  private static final long PREDICT_TIMEOUT_MS = 500;
  private static final long SIZE_TIMEOUT_MS = 30_000;
  private static final long UNLOAD_TIMEOUT_MS = 30_000;
  private static final long DEFAULT_LOAD_TIMEOUT_MS = 30_000;
  private static final long DEFAULT_SIZE_BYTES = 1_000_000;
  private static final int LEAST_IN_FLIGHT = 16;
  private static final long LOOK_AGAIN_MS = 50;

  private final SidecarConfig config;
  private final SidecarChannel runtime;
  private volatile boolean predicts = true;

  private SidecarRuntime(SidecarConfig config, SidecarChannel runtime) {
    this.config = config;
    this.runtime = runtime;
  }

  /**
   * Waits until the runtime says that it is ready.
   *
   * @throws IllegalStateException when it is not ready in time
   */
  public static SidecarRuntime connect(SidecarConfig config) throws InterruptedException {
    return new SidecarRuntime(
        config, SidecarChannel.connect(config.address(), config.readyTimeoutMs()));
  }

  @Override
  public String name() {
    return "sidecar " + config.address();
  }

  @Override
  public boolean supports(String modelType) {
    int version = modelType.indexOf(':');
    String plain = version < 0 ? modelType : modelType.substring(0, version);
    return config.modelTypes().isEmpty() || config.modelTypes().contains(plain);
  }

  /** Whether it wants the files of a model on this machine's disk before it is told to load. */
  public boolean wantsFiles() {
    return config.pull();
  }

  /** Memory that it has for models; 0 when it does not say. */
  public long capacityBytes() {
    return runtime.status().getCapacityInBytes();
  }

  /** Loads that it takes at the same time; 0 when it does not say. */
  public int loadingConcurrency() {
    return runtime.status().getMaxLoadingConcurrency();
  }

  /** The longest that a load may take. */
  public long loadTimeoutMs() {
    int said = runtime.status().getModelLoadingTimeoutMs();
    return said > 0 ? said : DEFAULT_LOAD_TIMEOUT_MS;
  }

  /** Told, on a virtual thread, each time it has gone and its models with it, and is back. */
  public void watched(Runnable lost, Runnable back) {
    runtime.watched(lost, back);
  }

  private long defaultSizeBytes() {
    long said = runtime.status().getDefaultModelSizeInBytes();
    return said > 0 ? said : DEFAULT_SIZE_BYTES;
  }

  /** What it expects of a model that is not loaded, else what it says of models in general. */
  public long predictSizeBytes(String modelId, String modelType, String path, String key) {
    if (!predicts) {
      return defaultSizeBytes();
    }
    try {
      long predicted =
          runtime
              .stub(PREDICT_TIMEOUT_MS)
              .predictModelSize(
                  PredictModelSizeRequest.newBuilder()
                      .setModelId(modelId)
                      .setModelType(modelType)
                      .setModelPath(path)
                      .setModelKey(key)
                      .build())
              .getSizeInBytes();
      return predicted > 0 ? predicted : defaultSizeBytes();
    } catch (StatusRuntimeException e) {
      if (e.getStatus().getCode() == Status.Code.UNIMPLEMENTED) {
        predicts = false;
      }
      return defaultSizeBytes();
    }
  }

  @Override
  public long predictSizeBytes(Path modelPath) {
    return predictSizeBytes("", "", modelPath.toString(), "");
  }

  @Override
  public LoadedModel load(String modelId, String modelType, Path modelPath)
      throws ModelLoadException {
    return load(modelId, modelType, modelPath.toString(), "");
  }

  /**
   * Loads one model; blocks until it is loaded, also while the runtime starts anew, for at most
   * {@link #loadTimeoutMs}. A load that fails, or whose thread is interrupted, is followed by an
   * unload, so that nothing of it stays in the runtime's memory.
   *
   * @param path where its files are, on the local disk or as registered
   * @param key as registered
   */
  public LoadedModel load(String modelId, String modelType, String path, String key)
      throws ModelLoadException {
    LoadModelRequest request =
        LoadModelRequest.newBuilder()
            .setModelId(modelId)
            .setModelType(modelType)
            .setModelPath(path)
            .setModelKey(key)
            .build();
    try {
      LoadModelResponse loaded = load(request);
      int concurrency =
          runtime.status().getLimitModelConcurrency() ? loaded.getMaxConcurrency() : 0;
      return new Loaded(modelId, sizeBytes(request, loaded.getSizeInBytes()), concurrency);
    } catch (StatusRuntimeException e) {
      boolean interrupted = Thread.interrupted();
      unload(modelId);
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
      throw new ModelLoadException(
          reason(e.getStatus()),
          "runtime %s did not load model '%s': %s".formatted(config.address(), modelId, said(e)),
          e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ModelLoadException(ModelLoadException.Reason.INTERNAL, "interrupted", e);
    }
  }

  /** A runtime that has gone, or goes meanwhile, is waited for. */
  private LoadModelResponse load(LoadModelRequest request) throws InterruptedException {
    long timeoutMs = loadTimeoutMs();
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    while (true) {
      long leftMs = TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime());
      if (leftMs <= 0 || !runtime.awaitReady(leftMs)) {
        throw Status.UNAVAILABLE
            .withDescription("it was away for " + timeoutMs + " ms")
            .asRuntimeException();
      }
      try {
        return runtime.stub(leftMs).loadModel(request);
      } catch (StatusRuntimeException e) {
        if (e.getStatus().getCode() != Status.Code.UNAVAILABLE || runtime.connected()) {
          throw e;
        }
        Thread.sleep(LOOK_AGAIN_MS);
      }
    }
  }

  private static String said(StatusRuntimeException e) {
    String description = e.getStatus().getDescription();
    return e.getStatus().getCode() + (description == null ? "" : ": " + description);
  }

  /** What the load said, else what is measured now, else what was expected. */
  private long sizeBytes(LoadModelRequest model, long said) {
    if (said > 0) {
      return said;
    }
    try {
      long measured =
          runtime
              .stub(SIZE_TIMEOUT_MS)
              .modelSize(ModelSizeRequest.newBuilder().setModelId(model.getModelId()).build())
              .getSizeInBytes();
      if (measured > 0) {
        return measured;
      }
    } catch (StatusRuntimeException e) {
      LOG.log(
          Level.DEBUG, "the size of model ''{0}'' is not known: {1}", model.getModelId(), said(e));
    }
    return predictSizeBytes(
        model.getModelId(), model.getModelType(), model.getModelPath(), model.getModelKey());
  }

  private static ModelLoadException.Reason reason(Status status) {
    return switch (status.getCode()) {
      case INVALID_ARGUMENT, FAILED_PRECONDITION, UNIMPLEMENTED ->
          ModelLoadException.Reason.BAD_MODEL;
      case NOT_FOUND -> ModelLoadException.Reason.NOT_FOUND;
      case RESOURCE_EXHAUSTED -> ModelLoadException.Reason.OUT_OF_MEMORY;
      default -> ModelLoadException.Reason.INTERNAL;
    };
  }

  /** What is not there, or whose runtime is not, needs no unload. */
  private void unload(String modelId) {
    try {
      var unused =
          runtime
              .stub(UNLOAD_TIMEOUT_MS)
              .unloadModel(UnloadModelRequest.newBuilder().setModelId(modelId).build());
    } catch (StatusRuntimeException e) {
      LOG.log(Level.DEBUG, "model ''{0}'' is not unloaded: {1}", modelId, said(e));
    }
  }

  @Override
  public void close() {
    runtime.close();
  }

  private final class Loaded implements SidecarModel {
    private final String modelId;
    private final long sizeBytes;
    private final int maxConcurrency;
    private volatile boolean believed;
    private final SidecarMethods methods = SidecarMethods.of(runtime.status());

    Loaded(String modelId, long sizeBytes, int maxConcurrency) {
      this.modelId = modelId;
      this.sizeBytes = sizeBytes;
      this.maxConcurrency = maxConcurrency;
    }

    @Override
    public String address() {
      return config.inference();
    }

    @Override
    public boolean believed() {
      return believed;
    }

    @Override
    public void believe() {
      believed = true;
    }

    @Override
    public SidecarMethods methods() {
      return methods;
    }

    @Override
    public int maxConcurrency() {
      return maxConcurrency;
    }

    @Override
    public int maxInFlight() {
      int set = config.maxInFlightPerCopy();
      return set > 0 ? set : Math.max(LEAST_IN_FLIGHT, 8 * maxConcurrency);
    }

    @Override
    public ModelMetadataResponse metadata() {
      return ModelMetadataResponse.newBuilder().setName(modelId).setPlatform(name()).build();
    }

    @Override
    public long sizeBytes() {
      return sizeBytes;
    }

    @Override
    public ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation)
        throws InferenceException {
      throw new InferenceException(
          InferenceException.Code.INTERNAL,
          "model '%s' takes calls at %s, not in this process".formatted(modelId, address()),
          null);
    }

    /**
     * @throws IllegalStateException when the runtime may still hold it
     */
    @Override
    public void close() {
      try {
        var unused =
            runtime
                .stub(UNLOAD_TIMEOUT_MS)
                .unloadModel(UnloadModelRequest.newBuilder().setModelId(modelId).build());
      } catch (StatusRuntimeException e) {
        switch (e.getStatus().getCode()) {
          case NOT_FOUND, UNAVAILABLE ->
              LOG.log(Level.DEBUG, "model ''{0}'' is gone already: {1}", modelId, said(e));
          default ->
              throw new IllegalStateException(
                  "runtime %s did not unload model '%s': %s"
                      .formatted(config.address(), modelId, said(e)),
                  e);
        }
      }
    }
  }
}
