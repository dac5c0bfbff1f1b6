package orlop.blackbox;

import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.atomic.AtomicInteger;
import mmesh.LoadModelRequest;
import mmesh.LoadModelResponse;
import mmesh.ModelRuntimeGrpc;
import mmesh.ModelSizeRequest;
import mmesh.ModelSizeResponse;
import mmesh.PredictModelSizeRequest;
import mmesh.PredictModelSizeResponse;
import mmesh.RuntimeStatusRequest;
import mmesh.RuntimeStatusResponse;
import mmesh.UnloadModelRequest;
import mmesh.UnloadModelResponse;

/** How the test runtime loads and unloads. */
final class RuntimeManagement extends ModelRuntimeGrpc.ModelRuntimeImplBase {
  private final RuntimeProgram program;
  private final long startNs = System.nanoTime();

  RuntimeManagement(RuntimeProgram program) {
    this.program = program;
  }

  @Override
  public void runtimeStatus(
      RuntimeStatusRequest request, StreamObserver<RuntimeStatusResponse> answer) {
    RuntimeOptions options = program.options;
    boolean starting = System.nanoTime() - startNs < options.number("startMs", 0) * 1_000_000;
    RuntimeStatusResponse.Builder status =
        RuntimeStatusResponse.newBuilder()
            .setStatus(
                options.text("failing", "").equals("true")
                    ? RuntimeStatusResponse.Status.FAILING
                    : starting
                        ? RuntimeStatusResponse.Status.STARTING
                        : RuntimeStatusResponse.Status.READY)
            .setCapacityInBytes(options.number("capacity", 64 << 20))
            .setMaxLoadingConcurrency((int) options.number("loading", 4))
            .setModelLoadingTimeoutMs((int) options.number("loadTimeoutMs", 30_000))
            .setDefaultModelSizeInBytes(options.number("defaultSize", 1 << 20))
            .setLimitModelConcurrency(options.text("limit", "").equals("true"))
            .setAllowAnyMethod(options.text("any", "").equals("true"))
            .setRuntimeVersion("test");
    for (String method : options.text("methods", "").split(",", -1)) {
      if (!method.isEmpty()) {
        String[] parts = method.split(":", -1);
        var info = RuntimeStatusResponse.MethodInfo.newBuilder();
        if (parts.length > 1) {
          for (String number : parts[1].split("\\.", -1)) {
            info.addIdInjectionPath(Integer.parseInt(number));
          }
        }
        status.putMethodInfos(parts[0], info.build());
      }
    }
    // Who says READY holds nothing of what it was told before.
    program.models.clear();
    program.tell("status");
    answer.onNext(status.build());
    answer.onCompleted();
  }

  @Override
  public void loadModel(LoadModelRequest request, StreamObserver<LoadModelResponse> answer) {
    String id = request.getModelId();
    String path = request.getModelPath();
    program.tell(
        "load %s %s %s %s".formatted(id, request.getModelType(), path, request.getModelKey()));
    RuntimeOptions model = RuntimeOptions.of(path.substring(path.indexOf('?') + 1));
    int load = program.loads.computeIfAbsent(id, k -> new AtomicInteger()).incrementAndGet();
    try {
      Thread.sleep(model.number("loadMs", 0));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    String fail = program.options.text("mended", "").equals("true") ? "" : model.text("fail", "");
    if (!fail.isEmpty() && load <= model.number("failTimes", Long.MAX_VALUE)) {
      answer.onError(
          Status.Code.valueOf(fail)
              .toStatus()
              .withDescription("told to fail")
              .asRuntimeException());
      return;
    }
    if (answer instanceof ServerCallStreamObserver<LoadModelResponse> call && call.isCancelled()) {
      program.tell("load of " + id + " was called off");
    }
    program.models.put(id, model);
    answer.onNext(
        LoadModelResponse.newBuilder()
            .setSizeInBytes(model.number("size", 1_000))
            .setMaxConcurrency((int) model.number("concurrency", 1))
            .build());
    answer.onCompleted();
  }

  @Override
  public void unloadModel(UnloadModelRequest request, StreamObserver<UnloadModelResponse> answer) {
    program.tell("unload " + request.getModelId());
    program.models.remove(request.getModelId());
    answer.onNext(UnloadModelResponse.getDefaultInstance());
    answer.onCompleted();
  }

  @Override
  public void predictModelSize(
      PredictModelSizeRequest request, StreamObserver<PredictModelSizeResponse> answer) {
    if (program.options.text("predicts", "").isEmpty()) {
      super.predictModelSize(request, answer);
      return;
    }
    program.tell("predict " + request.getModelId());
    answer.onNext(
        PredictModelSizeResponse.newBuilder()
            .setSizeInBytes(program.options.number("predicts", 0))
            .build());
    answer.onCompleted();
  }

  @Override
  public void modelSize(ModelSizeRequest request, StreamObserver<ModelSizeResponse> answer) {
    program.tell("size " + request.getModelId());
    RuntimeOptions model = program.models.get(request.getModelId());
    answer.onNext(
        ModelSizeResponse.newBuilder()
            .setSizeInBytes(model == null ? 0 : model.number("measured", 2_000))
            .build());
    answer.onCompleted();
  }
}
