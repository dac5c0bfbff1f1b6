package orlop.pod;

import inference.CudaSharedMemoryStatusResponse;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelConfigResponse;
import inference.ModelReadyResponse;
import inference.ModelStatisticsRequest;
import inference.ModelStatisticsResponse;
import inference.RepositoryIndexResponse;
import inference.RepositoryModelLoadRequest;
import inference.RepositoryModelLoadResponse;
import inference.RepositoryModelUnloadRequest;
import inference.RepositoryModelUnloadResponse;
import inference.ServerLiveResponse;
import inference.ServerMetadataResponse;
import inference.ServerReadyResponse;
import inference.SystemSharedMemoryRegisterResponse;
import inference.SystemSharedMemoryUnregisterResponse;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCallHandler;
import io.grpc.ServerServiceDefinition;
import io.grpc.ServiceDescriptor;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.BooleanSupplier;
import orlop.api.Headers;
import orlop.placement.Model;

/**
 * The V2 gRPC service but for {@code ModelInfer} and {@code ModelMetadata}, which the {@link
 * StreamRouter} sends where their model is. The methods in {@link #AT_ONCE} run on the transport's
 * event loops and never block; the others are meant for virtual threads.
 */
final class Front {
  /** Methods that never block. */
  static final Set<String> AT_ONCE =
      Set.of("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelStreamInfer");

  /** Of V2 over gRPC, as Triton names them. */
  private static final List<String> EXTENSIONS =
      List.of(
          "binary_tensor_data",
          "classification",
          "logging",
          "model_configuration",
          "model_repository",
          "parameters",
          "statistics");

  private final Dispatcher dispatcher;
  private final BooleanSupplier ready;
  final ServerSettings settings;
  final Repository repository;

  /**
   * @param ready whether traffic may be sent to this pod
   */
  Front(Dispatcher dispatcher, BooleanSupplier ready, LogLevel log) {
    this.dispatcher = dispatcher;
    this.ready = ready;
    this.settings = new ServerSettings(log);
    this.repository = new Repository(dispatcher);
  }

  /** One method: a request and its headers in, the answer out. */
  private interface Answer<Q, A> {
    A to(Metadata headers, Q request) throws StatusException;
  }

  /** Methods by their descriptors, in order. */
  private static final class Methods {
    private final List<MethodDescriptor<?, ?>> descriptors = new ArrayList<>();
    private final List<io.grpc.ServerMethodDefinition<?, ?>> methods = new ArrayList<>();

    <Q, A> Methods unary(MethodDescriptor<Q, A> method, Answer<Q, A> answer) {
      return add(
          method,
          (call, headers) ->
              ServerCalls.asyncUnaryCall(
                      (Q request, StreamObserver<A> observer) -> {
                        try {
                          A told = answer.to(headers, request);
                          observer.onNext(told);
                          observer.onCompleted();
                        } catch (StatusException e) {
                          observer.onError(e);
                        }
                      })
                  .startCall(call, headers));
    }

    <Q, A> Methods add(MethodDescriptor<Q, A> method, ServerCallHandler<Q, A> handler) {
      descriptors.add(method);
      methods.add(io.grpc.ServerMethodDefinition.create(method, handler));
      return this;
    }

    ServerServiceDefinition service() {
      ServiceDescriptor generated = GRPCInferenceServiceGrpc.getServiceDescriptor();
      ServiceDescriptor.Builder descriptor =
          ServiceDescriptor.newBuilder(generated.getName())
              .setSchemaDescriptor(generated.getSchemaDescriptor());
      descriptors.forEach(descriptor::addMethod);
      ServerServiceDefinition.Builder service = ServerServiceDefinition.builder(descriptor.build());
      methods.forEach(service::addMethod);
      return service.build();
    }
  }

  ServerServiceDefinition service() {
    Methods methods = new Methods();
    server(methods);
    models(methods);
    sharedMemory(methods);
    methods.add(
        InferStream.METHOD, (call, headers) -> InferStream.start(dispatcher, call, headers));
    return methods.service();
  }

  private void server(Methods methods) {
    methods
        .unary(
            GRPCInferenceServiceGrpc.getServerLiveMethod(),
            (headers, request) -> ServerLiveResponse.newBuilder().setLive(true).build())
        .unary(
            GRPCInferenceServiceGrpc.getServerReadyMethod(),
            (headers, request) -> ServerReadyResponse.newBuilder().setReady(serverReady()).build())
        .unary(GRPCInferenceServiceGrpc.getServerMetadataMethod(), (headers, request) -> metadata())
        .unary(
            GRPCInferenceServiceGrpc.getTraceSettingMethod(),
            (headers, request) -> {
              if (!request.getModelName().isEmpty()) {
                Named unused = repository.named(headers, request.getModelName(), "");
              }
              return settings.trace(request);
            })
        .unary(
            GRPCInferenceServiceGrpc.getLogSettingsMethod(),
            (headers, request) -> settings.log(request));
  }

  private void models(Methods methods) {
    methods
        .unary(
            GRPCInferenceServiceGrpc.getModelReadyMethod(),
            (headers, request) ->
                ModelReadyResponse.newBuilder()
                    .setReady(
                        ready(repository.named(headers, request.getName(), request.getVersion())))
                    .build())
        .unary(
            GRPCInferenceServiceGrpc.getModelConfigMethod(),
            (headers, request) ->
                ModelConfigResponse.newBuilder()
                    .setConfig(
                        repository.config(
                            repository.named(headers, request.getName(), request.getVersion())))
                    .build())
        .unary(GRPCInferenceServiceGrpc.getModelStatisticsMethod(), this::statistics)
        .unary(
            GRPCInferenceServiceGrpc.getRepositoryIndexMethod(),
            (headers, request) ->
                RepositoryIndexResponse.newBuilder()
                    .addAllModels(repository.index(request.getReady()))
                    .build())
        .unary(GRPCInferenceServiceGrpc.getRepositoryModelLoadMethod(), this::load)
        .unary(GRPCInferenceServiceGrpc.getRepositoryModelUnloadMethod(), this::unload);
  }

  private ModelStatisticsResponse statistics(Metadata headers, ModelStatisticsRequest request)
      throws StatusException {
    ModelStatisticsResponse.Builder told = ModelStatisticsResponse.newBuilder();
    if (request.getName().isEmpty() && !Named.Asked.in(RequestHeaders.of(headers)).byHeaders()) {
      return told.addAllModelStats(repository.statistics()).build();
    }
    Named named = repository.named(headers, request.getName(), request.getVersion());
    boolean alone = headers.containsKey(Named.ascii(Headers.FORWARDED_BY));
    return told.addModelStats(repository.statistics(named, alone)).build();
  }

  /** In KServe's message the model stands where Triton's has the repository. */
  private RepositoryModelLoadResponse load(Metadata headers, RepositoryModelLoadRequest request)
      throws StatusException {
    String name = inEither(request.getModelName(), request.getRepositoryName());
    repository.load(repository.named(headers, name, ""), request.getParametersMap().keySet());
    return RepositoryModelLoadResponse.newBuilder().setModelName(name).setIsLoaded(true).build();
  }

  private RepositoryModelUnloadResponse unload(
      Metadata headers, RepositoryModelUnloadRequest request) throws StatusException {
    String name = inEither(request.getModelName(), request.getRepositoryName());
    repository.unload(repository.named(headers, name, ""));
    return RepositoryModelUnloadResponse.newBuilder()
        .setModelName(name)
        .setIsUnloaded(true)
        .build();
  }

  private static String inEither(String tritons, String kserves) {
    return tritons.isEmpty() ? kserves : tritons;
  }

  private void sharedMemory(Methods methods) {
    methods
        .unary(
            GRPCInferenceServiceGrpc.getSystemSharedMemoryStatusMethod(),
            (headers, request) -> dispatcher.sharedMemory.status(request.getName()))
        .unary(
            GRPCInferenceServiceGrpc.getSystemSharedMemoryRegisterMethod(),
            (headers, request) -> {
              dispatcher.sharedMemory.register(
                  request.getName(), request.getKey(), request.getOffset(), request.getByteSize());
              return SystemSharedMemoryRegisterResponse.getDefaultInstance();
            })
        .unary(
            GRPCInferenceServiceGrpc.getSystemSharedMemoryUnregisterMethod(),
            (headers, request) -> {
              dispatcher.sharedMemory.unregister(request.getName());
              return SystemSharedMemoryUnregisterResponse.getDefaultInstance();
            })
        .unary(
            GRPCInferenceServiceGrpc.getCudaSharedMemoryStatusMethod(),
            (headers, request) -> CudaSharedMemoryStatusResponse.getDefaultInstance())
        .unary(
            GRPCInferenceServiceGrpc.getCudaSharedMemoryRegisterMethod(),
            (headers, request) -> {
              throw noCuda(request.getName()).asException();
            })
        .unary(
            GRPCInferenceServiceGrpc.getCudaSharedMemoryUnregisterMethod(),
            (headers, request) -> {
              if (!request.getName().isEmpty()) {
                throw noCuda(request.getName()).asException();
              }
              // perf_analyzer begins with letting go of all regions, of which there are none.
              return inference.CudaSharedMemoryUnregisterResponse.getDefaultInstance();
            });
  }

  static Status noCuda(String name) {
    return Status.UNIMPLEMENTED.withDescription(
        "CUDA shared memory region '"
            + name
            + "': this pod reads tensors from the memory of the host alone; use system shared"
            + " memory");
  }

  ServerMetadataResponse metadata() {
    ServerMetadataResponse.Builder told =
        ServerMetadataResponse.newBuilder()
            .setName("orlop")
            .setVersion(dispatcher.config.version())
            .addAllExtensions(EXTENSIONS);
    if (dispatcher.config.sharedMemory().enabled()) {
      told.addExtensions("system_shared_memory");
    }
    return told.build();
  }

  boolean serverReady() {
    return ready.getAsBoolean();
  }

  /** Whether a model can be called, by the view alone. */
  boolean ready(Named named) {
    Model model = named.model();
    return dispatcher.host.isLoaded(model.id())
        || Readiness.ready(dispatcher.registry.view(), model.id(), dispatcher.clock.nowMs());
  }
}
