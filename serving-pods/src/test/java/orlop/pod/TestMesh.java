package orlop.pod;

import inference.GRPCInferenceServiceGrpc;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;
import orlop.api.PayloadEvent;
import orlop.payload.PayloadLog;
import orlop.payload.PayloadLogConfig;
import orlop.payload.PayloadSink;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.registry.LocalRegistry;

/** Pods in this JVM on one in-process registry, each with a fake runtime of its own. */
final class TestMesh implements AutoCloseable {
  final LocalRegistry registry = new LocalRegistry();
  final FakeStore store = new FakeStore();
  final List<ServingPod> pods = new ArrayList<>();
  final List<FakeRuntime> runtimes = new ArrayList<>();
  final List<PayloadEvent> events = new CopyOnWriteArrayList<>();
  private final List<PayloadLog> logs = new ArrayList<>();
  private final Map<ServingPod, ManagedChannel> channels = new HashMap<>();

  TestMesh(int count) throws Exception {
    this(count, builder -> builder);
  }

  TestMesh(int count, UnaryOperator<PodConfigBuilder> settings) throws Exception {
    for (int i = 0; i < count; i++) {
      add(settings);
    }
  }

  ServingPod add(UnaryOperator<PodConfigBuilder> settings) throws Exception {
    FakeRuntime runtime = new FakeRuntime();
    PodConfig config =
        settings
            .apply(
                PodConfig.builder("pod-" + pods.size(), Memory.ram(1_000_000))
                    .host("127.0.0.1")
                    .ports(0, 0, 0, 0)
                    .compute(4, 1_024)
                    .sharedMemory(new SharedMemoryConfig(true, ""))
                    .drainTimeoutMs(10_000))
            .build();
    PayloadLog log =
        PayloadLog.start(
            PayloadLogConfig.to("none:1", "urn:" + config.id()),
            new PayloadSink() {
              @Override
              public void send(PayloadEvent event, Outcome outcome) {
                events.add(event);
                outcome.accept(true);
              }

              @Override
              public void close(long timeoutMs) {}
            });
    ServingPod pod = ServingPod.start(config, registry, store, List.of(runtime), log, List.of());
    pods.add(pod);
    runtimes.add(runtime);
    logs.add(log);
    return pod;
  }

  ServingPod pod(int index) {
    return pods.get(index);
  }

  Model register(String id) throws Exception {
    return register(id, Set.of());
  }

  /** Registers a model that only pods with these labels may load. */
  Model register(String id, Set<String> labels) throws Exception {
    Model model = new Model(id, FakeRuntime.TYPE, "fake:" + id, "", 0, 0, 0, labels, Set.of(), 1);
    return registry.createModel(model);
  }

  /** Registers a model with this key. */
  Model registerWithKey(String id, String key) throws Exception {
    return registry.createModel(Model.of(id, FakeRuntime.TYPE, "fake:" + id, key, 1));
  }

  void alias(String name, String modelId) throws Exception {
    registry.compareAndSetAlias(name, null, new Alias(name, "", modelId, modelId, Set.of(), ""));
  }

  int loads() {
    return runtimes.stream().mapToInt(r -> r.loads.get()).sum();
  }

  int inferences() {
    return runtimes.stream().mapToInt(r -> r.inferences.get()).sum();
  }

  /** The index of the one pod that has the model loaded, by the registry. */
  int holder(String modelId) {
    await("a copy of " + modelId, () -> loadedCopies(modelId) > 0);
    String podId =
        registry.view().copies(modelId).stream()
            .filter(Copy::isLoaded)
            .findFirst()
            .orElseThrow()
            .podId();
    return Integer.parseInt(podId.substring("pod-".length()));
  }

  long loadedCopies(String modelId) {
    return registry.view().copies(modelId).stream().filter(Copy::isLoaded).count();
  }

  ManagedChannel channel(ServingPod pod) {
    return channels.computeIfAbsent(
        pod,
        p ->
            NettyChannelBuilder.forAddress("127.0.0.1", p.grpcPort())
                .usePlaintext()
                .directExecutor()
                .disableRetry()
                .maxInboundMessageSize(64 << 20)
                .build());
  }

  GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub client(ServingPod pod) {
    return GRPCInferenceServiceGrpc.newBlockingStub(channel(pod))
        .withDeadlineAfter(60, TimeUnit.SECONDS);
  }

  GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub client(
      ServingPod pod, Map<String, String> headers) {
    Metadata metadata = new Metadata();
    headers.forEach((name, value) -> metadata.put(Named.ascii(name), value));
    return client(pod).withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
  }

  static ModelInferRequest request(String model) {
    return ModelInferRequest.newBuilder()
        .setModelName(model)
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("x")
                .setDatatype("FP32")
                .addShape(2)
                .setContents(
                    InferTensorContents.newBuilder().addFp32Contents(1.5f).addFp32Contents(-2)))
        .build();
  }

  /** The status of a call that is expected to fail. */
  static Status failure(org.junit.jupiter.api.function.Executable call) {
    StatusRuntimeException e =
        org.junit.jupiter.api.Assertions.assertThrows(StatusRuntimeException.class, call);
    return e.getStatus();
  }

  static void await(String what, BooleanSupplier condition) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline) {
        throw new AssertionError("waited 60 s in vain for " + what);
      }
      java.util.concurrent.locks.LockSupport.parkNanos(2_000_000);
    }
  }

  @Override
  public void close() {
    channels.values().forEach(ManagedChannel::shutdownNow);
    for (FakeRuntime runtime : runtimes) {
      var load = runtime.loadGate;
      if (load != null) {
        load.countDown();
      }
      var infer = runtime.inferGate;
      if (infer != null) {
        infer.countDown();
      }
    }
    pods.forEach(ServingPod::close);
    logs.forEach(PayloadLog::close);
    registry.close();
  }
}
