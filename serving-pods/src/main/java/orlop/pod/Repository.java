package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import inference.DataType;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelConfig;
import inference.ModelInput;
import inference.ModelInstanceGroup;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import inference.ModelOutput;
import inference.ModelParameter;
import inference.ModelStatistics;
import inference.ModelStatisticsRequest;
import inference.ModelTransactionPolicy;
import inference.ModelVersionPolicy;
import inference.RepositoryIndexResponse.ModelIndex;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import orlop.api.Headers;
import orlop.api.PodControlGrpc;
import orlop.api.UnloadRequest;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;

/**
 * What the mesh holds, as Triton's repository, configuration and statistics extensions tell it,
 * over gRPC and REST alike. Aliases count as models of their own name. Thread-safe; load, unload,
 * configuration and the statistics of a named model block.
 */
final class Repository {
  private static final System.Logger LOG = System.getLogger(Repository.class.getName());
  private static final long UNLOAD_TIMEOUT_MS = 10_000;
  private static final long STATISTICS_TIMEOUT_MS = 2_000;

  private final Dispatcher dispatcher;

  Repository(Dispatcher dispatcher) {
    this.dispatcher = dispatcher;
  }

  /**
   * The model that a request means.
   *
   * @throws StatusException NOT_FOUND when there is none of that name or version
   */
  Named named(Metadata headers, String name, String version) throws StatusException {
    Named.Asked asked = Named.Asked.in(RequestHeaders.of(headers));
    Named named = asked.resolve(dispatcher.registry.view(), name, false);
    if (named == null) {
      throw Status.NOT_FOUND
          .withDescription("no model or alias '" + asked.name(name) + "' is registered")
          .asException();
    }
    Status refused = named.refuseVersion(version);
    if (refused != null) {
      throw refused.asException();
    }
    return named;
  }

  boolean knows(String name) {
    return dispatcher.registry.view().resolve(name) != null;
  }

  /** All names that can be called, sorted. */
  List<String> names() {
    MeshView view = dispatcher.registry.view();
    TreeSet<String> names = new TreeSet<>();
    view.eachModel(model -> names.add(model.id()));
    for (Alias alias : view.aliases()) {
      if (view.model(alias.activeModelId()) != null) {
        names.add(alias.name());
      }
    }
    return List.copyOf(names);
  }

  // ---- index, load and unload

  List<ModelIndex> index(boolean readyOnly) {
    MeshView view = dispatcher.registry.view();
    List<ModelIndex> index = new ArrayList<>();
    for (String name : names()) {
      Model model = view.resolve(name);
      if (model != null) {
        ModelIndex entry = entry(name, model, view.copies(model.id()));
        if (!readyOnly || entry.getState().equals("READY")) {
          index.add(entry);
        }
      }
    }
    return index;
  }

  /** A model's state in Triton's words, and why. */
  private ModelIndex entry(String name, Model model, List<Copy> copies) {
    ModelIndex.Builder entry = ModelIndex.newBuilder().setName(name).setVersion(Named.VERSION);
    if (dispatcher.host.isLoaded(model.id()) || copies.stream().anyMatch(Copy::isLoaded)) {
      return entry.setState("READY").build();
    }
    if (copies.stream().anyMatch(Copy::isLoading)) {
      return entry.setState("LOADING").build();
    }
    String reason = "unloaded";
    for (Copy copy : copies) {
      if (copy.state() instanceof CopyState.FailedToLoad(Fault _, String why, long _)) {
        reason = why;
      }
    }
    return entry.setState("UNAVAILABLE").setReason(reason).build();
  }

  /**
   * Loads the model in the pod that suits it best and waits for it.
   *
   * @param parameters names of the parameters that came with the request
   */
  void load(Named named, Set<String> parameters) throws StatusException {
    for (String parameter : parameters) {
      // Both would change the model, and a model never changes under its id.
      if (parameter.equals("config") || parameter.startsWith("file:")) {
        throw Status.INVALID_ARGUMENT
            .withDescription(
                "parameter '"
                    + parameter
                    + "' is not served: a model cannot be changed, register another one")
            .asException();
      }
    }
    // To ask what it takes and gives loads it.
    ModelMetadataResponse loaded = metadata(named);
    LOG.log(Level.DEBUG, "loaded {0} on demand", loaded.getName());
  }

  /**
   * Lets all pods unload the model; it is loaded again when it is called.
   *
   * @throws StatusException when a pod cannot be asked; the others have been
   */
  void unload(Named named) throws StatusException {
    String id = named.model().id();
    MeshView view = dispatcher.registry.view();
    if (!dispatcher.host.letGo(id)) {
      throw Overload.STATUS.withDescription("too many wishes are queued").asException();
    }
    Status failure = Status.OK;
    for (Pod pod : others(view, id)) {
      ManagedChannel channel = channel(pod);
      try {
        PodControlGrpc.newBlockingStub(channel)
            .withDeadlineAfter(UNLOAD_TIMEOUT_MS, TimeUnit.MILLISECONDS)
            .unload(UnloadRequest.newBuilder().setModelId(id).build());
      } catch (StatusRuntimeException e) {
        failure = e.getStatus().augmentDescription("asking pod '" + pod.id() + "'");
      } finally {
        channel.shutdownNow();
      }
    }
    if (!failure.isOk()) {
      throw failure.asException();
    }
  }

  /** Pods but this one that have to do with the model. */
  private List<Pod> others(MeshView view, String modelId) {
    List<Pod> others = new ArrayList<>();
    for (Copy copy : view.copies(modelId)) {
      Pod pod = view.pod(copy.podId());
      if (pod != null && !pod.id().equals(dispatcher.config.id())) {
        others.add(pod);
      }
    }
    return others;
  }

  /** Rare, so a connection of its own will do. */
  private ManagedChannel channel(Pod pod) {
    NettyChannelBuilder builder = NettyChannelBuilder.forTarget("dns:///" + pod.address());
    PodTls.Mesh tls = dispatcher.tls;
    return (tls == null ? builder.usePlaintext() : builder.sslContext(tls.pods())).build();
  }

  // ---- metadata and configuration

  /** What the model takes and gives, under the name that was asked for; loads it if need be. */
  ModelMetadataResponse metadata(Named named) throws StatusException {
    Deadline asked = Context.current().getDeadline();
    Deadline own = Deadline.after(dispatcher.config.maxWaitMs(), TimeUnit.MILLISECONDS);
    Deadline until = asked == null ? own : own.minimum(asked);
    CompletableFuture<byte[]> answer = new CompletableFuture<>();
    Call call =
        dispatcher.begin(
            Op.METADATA,
            ModelMetadataRequest.newBuilder().setName(named.asked()).build().toByteArray(),
            new Metadata(),
            named.asked(),
            until,
            (status, trailers, bytes) -> {
              if (bytes != null) {
                answer.complete(bytes);
              } else {
                answer.completeExceptionally(status.asException());
              }
            });
    try {
      long leftMs = until.timeRemaining(TimeUnit.MILLISECONDS) + 1_000;
      return ModelMetadataResponse.parseFrom(answer.get(leftMs, TimeUnit.MILLISECONDS));
    } catch (ExecutionException e) {
      throw Status.fromThrowable(e.getCause()).asException();
    } catch (InvalidProtocolBufferException e) {
      throw Status.INTERNAL
          .withDescription("the runtime's answer is not well-formed: " + e.getMessage())
          .asException();
    } catch (TimeoutException e) {
      call.cancel();
      throw Status.DEADLINE_EXCEEDED.withDescription("no answer in time").asException();
    } catch (InterruptedException e) {
      call.cancel();
      throw Status.UNAVAILABLE
          .withDescription("pod '" + dispatcher.config.id() + "' is shutting down")
          .asException();
    }
  }

  ModelConfig config(Named named) throws StatusException {
    ModelMetadataResponse metadata = metadata(named);
    boolean batched = BatchAxis.of(metadata);
    int skip = batched ? 1 : 0;
    ModelConfig.Builder config =
        ModelConfig.newBuilder()
            .setName(named.asked())
            .setPlatform(metadata.getPlatform())
            .setBackend(backend(metadata.getPlatform()))
            .setVersionPolicy(
                ModelVersionPolicy.newBuilder()
                    .setLatest(ModelVersionPolicy.Latest.newBuilder().setNumVersions(1)))
            .setMaxBatchSize(batched ? BatchAxis.MAX_BATCH_SIZE : 0)
            .setModelTransactionPolicy(ModelTransactionPolicy.newBuilder().setDecoupled(false));
    for (TensorMetadata input : metadata.getInputsList()) {
      config.addInput(
          ModelInput.newBuilder()
              .setName(input.getName())
              .setDataType(type(input.getDatatype()))
              .addAllDims(input.getShapeList().subList(skip, input.getShapeCount())));
    }
    for (TensorMetadata output : metadata.getOutputsList()) {
      config.addOutput(
          ModelOutput.newBuilder()
              .setName(output.getName())
              .setDataType(type(output.getDatatype()))
              .addAllDims(output.getShapeList().subList(skip, output.getShapeCount())));
    }
    metadata
        .getPropertiesMap()
        .forEach(
            (key, value) ->
                config.putParameters(
                    key, ModelParameter.newBuilder().setStringValue(value).build()));
    return config.addInstanceGroup(instances(named)).build();
  }

  private ModelInstanceGroup instances(Named named) {
    boolean video = dispatcher.config.capacity().vramBytes() > 0;
    return ModelInstanceGroup.newBuilder()
        .setName(named.asked())
        .setKind(video ? ModelInstanceGroup.Kind.KIND_GPU : ModelInstanceGroup.Kind.KIND_CPU)
        .setCount(
            Math.min(
                dispatcher.config.computeThreads(),
                Tuning.of(named.model(), dispatcher.config).instances()))
        .build();
  }

  /** Triton's name of what runs the model, which begins the platform's name there. */
  private static String backend(String platform) {
    int end = platform.indexOf('_');
    return end < 0 ? platform : platform.substring(0, end);
  }

  private static DataType type(String datatype) {
    RestType type = RestType.of(datatype);
    return type == null ? DataType.TYPE_INVALID : DataType.valueOf(type.configName());
  }

  // ---- statistics

  /** What the models that are loaded in this pod did in it. */
  List<ModelStatistics> statistics() {
    List<ModelStatistics> all = new ArrayList<>();
    dispatcher.host.each((id, slot) -> all.add(own(id, id)));
    return all;
  }

  /**
   * What one model did.
   *
   * @param alone in this pod, and not in all pods that have to do with it now
   */
  ModelStatistics statistics(Named named, boolean alone) {
    String id = named.model().id();
    List<ModelStatistics> pods = new ArrayList<>();
    pods.add(own(id, named.asked()));
    if (!alone) {
      pods.addAll(statistics(others(dispatcher.registry.view(), id), id));
    }
    return Statistics.sum(pods);
  }

  private ModelStatistics own(String id, String name) {
    ModelStats stats = dispatcher.host.stats(id);
    if (stats == null) {
      return Statistics.none(name);
    }
    ModelStatistics told = Statistics.of(name, stats.figures());
    Slot<Held> slot = dispatcher.host.slots().get(id);
    if (slot == null) {
      return told;
    }
    boolean video = dispatcher.config.capacity().vramBytes() > 0;
    long bytes = slot.held().loaded().sizeBytes();
    return told.toBuilder().addMemoryUsage(Statistics.memory(video, bytes)).build();
  }

  /** Asks pods at the same time; one that does not answer is left out. */
  private List<ModelStatistics> statistics(List<Pod> pods, String id) {
    List<CompletableFuture<List<ModelStatistics>>> asked = new ArrayList<>();
    for (Pod pod : pods) {
      asked.add(CompletableFuture.supplyAsync(() -> ask(pod, id), Thread::startVirtualThread));
    }
    List<ModelStatistics> told = new ArrayList<>();
    asked.forEach(answer -> told.addAll(answer.join()));
    return told;
  }

  private List<ModelStatistics> ask(Pod pod, String id) {
    Metadata alone = new Metadata();
    alone.put(Named.ascii(Headers.FORWARDED_BY), dispatcher.config.id());
    ManagedChannel channel = channel(pod);
    try {
      return GRPCInferenceServiceGrpc.newBlockingStub(channel)
          .withDeadlineAfter(STATISTICS_TIMEOUT_MS, TimeUnit.MILLISECONDS)
          .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(alone))
          .modelStatistics(ModelStatisticsRequest.newBuilder().setName(id).build())
          .getModelStatsList();
    } catch (StatusRuntimeException e) {
      LOG.log(Level.DEBUG, "statistics of pod ''{0}'' are missing: {1}", pod.id(), e.getStatus());
      return List.of();
    } finally {
      channel.shutdownNow();
    }
  }
}
