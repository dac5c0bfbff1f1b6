package orlop.runtime;

import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import mmesh.LoadModelRequest;
import mmesh.LoadModelResponse;
import mmesh.ModelRuntimeGrpc;
import mmesh.ModelSizeRequest;
import mmesh.PredictModelSizeRequest;
import mmesh.RuntimeStatusRequest;
import mmesh.RuntimeStatusResponse;
import mmesh.UnloadModelRequest;
import orlop.api.Headers;

/**
 * A model server beside this process that speaks {@code mmesh.ModelRuntime}. It loads and unloads
 * when told to; inferences reach it without passing through this class. Thread-safe.
 */
public final class SidecarRuntime implements ModelRuntime {
  private static final System.Logger LOG = System.getLogger(SidecarRuntime.class.getName());
  private static final long STATUS_EVERY_MS = 200;
  private static final Metadata.Key<String> MODEL_ID =
      Metadata.Key.of(Headers.MODEL_ID, Metadata.ASCII_STRING_MARSHALLER);

  private final String name;
  private final String address;
  private final Set<String> modelTypes;
  private final long callTimeoutMs;
  private final long defaultSizeBytes;
  private final ManagedChannel channel;

  private SidecarRuntime(
      String name,
      String address,
      Set<String> modelTypes,
      long callTimeoutMs,
      long defaultSizeBytes,
      ManagedChannel channel) {
    this.name = name;
    this.address = address;
    this.modelTypes = Set.copyOf(modelTypes);
    this.callTimeoutMs = callTimeoutMs;
    this.defaultSizeBytes = defaultSizeBytes;
    this.channel = channel;
  }

  /**
   * Waits until the runtime says that it is ready.
   *
   * @param name for logs and status pages
   * @param address {@code host:port} of its gRPC server
   * @param modelTypes what it loads, without versions, such as {@code sklearn}
   * @param readyWithinMs how long to wait; with 0 it is asked once
   * @param callTimeoutMs longest that one load or unload may take
   * @throws IllegalStateException when it is not ready in time
   */
  public static SidecarRuntime connect(
      String name, String address, Set<String> modelTypes, long readyWithinMs, long callTimeoutMs)
      throws InterruptedException {
    ManagedChannel channel =
        NettyChannelBuilder.forTarget("dns:///" + address).usePlaintext().disableRetry().build();
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(readyWithinMs);
    String last = "";
    try {
      do {
        try {
          RuntimeStatusResponse status =
              ModelRuntimeGrpc.newBlockingStub(channel)
                  .withWaitForReady()
                  .withDeadlineAfter(Math.max(1_000, STATUS_EVERY_MS), TimeUnit.MILLISECONDS)
                  .runtimeStatus(RuntimeStatusRequest.getDefaultInstance());
          if (status.getStatus() == RuntimeStatusResponse.Status.READY) {
            long size = status.getDefaultModelSizeInBytes();
            return new SidecarRuntime(
                name, address, modelTypes, callTimeoutMs, Math.max(1, size), channel);
          }
          last = status.getStatus().name();
        } catch (StatusRuntimeException e) {
          last = e.getStatus().toString();
        }
        Thread.sleep(STATUS_EVERY_MS);
      } while (System.nanoTime() - deadlineNs < 0);
    } catch (InterruptedException e) {
      channel.shutdownNow();
      throw e;
    }
    channel.shutdownNow();
    throw new IllegalStateException(
        "runtime '%s' at %s was not ready within %d ms: %s"
            .formatted(name, address, readyWithinMs, last));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public boolean supports(String modelType) {
    int version = modelType.indexOf(':');
    return modelTypes.contains(version < 0 ? modelType : modelType.substring(0, version));
  }

  private ModelRuntimeGrpc.ModelRuntimeBlockingStub stub() {
    return ModelRuntimeGrpc.newBlockingStub(channel)
        .withDeadlineAfter(callTimeoutMs, TimeUnit.MILLISECONDS);
  }

  @Override
  public long predictSizeBytes(Path modelPath) {
    try {
      long predicted =
          stub()
              .predictModelSize(
                  PredictModelSizeRequest.newBuilder().setModelPath(modelPath.toString()).build())
              .getSizeInBytes();
      return predicted > 0 ? predicted : defaultSizeBytes;
    } catch (StatusRuntimeException e) {
      return defaultSizeBytes;
    }
  }

  @Override
  public LoadedModel load(String modelId, String modelType, Path modelPath)
      throws ModelLoadException {
    try {
      LoadModelResponse loaded =
          stub()
              .loadModel(
                  LoadModelRequest.newBuilder()
                      .setModelId(modelId)
                      .setModelType(modelType)
                      .setModelPath(modelPath.toString())
                      .build());
      long size = loaded.getSizeInBytes();
      if (size == 0) {
        size =
            stub()
                .modelSize(ModelSizeRequest.newBuilder().setModelId(modelId).build())
                .getSizeInBytes();
      }
      return new Loaded(modelId, size > 0 ? size : defaultSizeBytes);
    } catch (StatusRuntimeException e) {
      throw new ModelLoadException(
          reason(e.getStatus()),
          "runtime '%s' did not load model '%s': %s".formatted(name, modelId, e.getStatus()),
          e);
    }
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

  @Override
  public void close() {
    channel.shutdownNow();
  }

  private final class Loaded implements SidecarModel {
    private final String modelId;
    private final long sizeBytes;

    Loaded(String modelId, long sizeBytes) {
      this.modelId = modelId;
      this.sizeBytes = sizeBytes;
    }

    @Override
    public String address() {
      return address;
    }

    private GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub inference() {
      Metadata headers = new Metadata();
      headers.put(MODEL_ID, modelId);
      return GRPCInferenceServiceGrpc.newBlockingStub(channel)
          .withDeadlineAfter(callTimeoutMs, TimeUnit.MILLISECONDS)
          .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
    }

    @Override
    public ModelMetadataResponse metadata() {
      try {
        return inference()
            .modelMetadata(ModelMetadataRequest.newBuilder().setName(modelId).build());
      } catch (StatusRuntimeException e) {
        return ModelMetadataResponse.newBuilder().setName(modelId).setPlatform(name).build();
      }
    }

    @Override
    public long sizeBytes() {
      return sizeBytes;
    }

    @Override
    public ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation)
        throws InferenceException {
      try {
        return inference().modelInfer(request.toBuilder().setModelName(modelId).build());
      } catch (StatusRuntimeException e) {
        throw new InferenceException(
            switch (e.getStatus().getCode()) {
              case INVALID_ARGUMENT -> InferenceException.Code.INVALID_ARGUMENT;
              case RESOURCE_EXHAUSTED -> InferenceException.Code.RESOURCE_EXHAUSTED;
              case CANCELLED -> InferenceException.Code.CANCELLED;
              default -> InferenceException.Code.INTERNAL;
            },
            "runtime '%s' failed for model '%s': %s".formatted(name, modelId, e.getStatus()),
            e);
      }
    }

    @Override
    public void close() {
      try {
        stub().unloadModel(UnloadModelRequest.newBuilder().setModelId(modelId).build());
      } catch (StatusRuntimeException e) {
        if (e.getStatus().getCode() != Status.Code.NOT_FOUND) {
          LOG.log(
              System.Logger.Level.WARNING,
              "runtime ''{0}'' did not unload model ''{1}'': {2}",
              name,
              modelId,
              e.getStatus());
        }
      }
    }
  }
}
