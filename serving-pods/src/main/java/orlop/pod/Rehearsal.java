package orlop.pod;

import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelMetadataRequest;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.System.Logger.Level;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import orlop.api.LoadRequest;
import orlop.api.PodControlGrpc;
import orlop.payload.PayloadLog;
import orlop.placement.Fault;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.registry.LocalRegistry;
import orlop.registry.RegistryException;
import orlop.runtime.ModelRuntime;
import orlop.runtime.Sample;

/**
 * What a process does before its first pod says that it is ready: it calls the samples of its
 * runtimes in two pods made for that, over their own sockets, so that the first callers do not pay
 * for loading classes and compiling them.
 *
 * <p>The two share nothing with the pod that follows but the runtimes: registry, metrics, payload
 * log and ports are their own, so nobody outside sees them. It takes {@code warmUpMs} at most,
 * gives up after twice that, and never makes the start fail.
 */
final class Rehearsal {
  private static final System.Logger LOG = System.getLogger(Rehearsal.class.getName());
  private static final AtomicBoolean DONE = new AtomicBoolean();
  private static final long CALL_TIMEOUT_MS = 10_000;
  private static final int HTTP_TIMEOUT_MS = 2_000;

  /** After so many the compilers have seen enough, and a quick machine need not go on. */
  private static final int ROUNDS = 2_000;

  static final int COLD_CALLS = 16;

  private final PodConfig config;
  private final List<ModelRuntime> runtimes;
  private final int rounds;
  private final long endNs;
  private final LocalRegistry registry = new LocalRegistry();
  private final Undo undo = new Undo().add(registry);

  private Rehearsal(PodConfig config, List<ModelRuntime> runtimes, int rounds, long endNs) {
    this.config = config;
    this.runtimes = runtimes;
    this.rounds = rounds;
    this.endNs = endNs;
  }

  /** Once in a process; returns when the time is over or enough has been done. */
  static void before(PodConfig config, List<ModelRuntime> runtimes) {
    // A runtime beside the pod is not to be told of models that nobody has registered.
    List<ModelRuntime> own =
        runtimes.stream().filter(runtime -> runtime.sample().isPresent()).toList();
    if (config.warmUpMs() == 0 || own.isEmpty() || !DONE.compareAndSet(false, true)) {
      return;
    }
    try {
      perform(config, own, ROUNDS);
    } catch (ExecutionException e) {
      LOG.log(Level.WARNING, "the first calls will be slow: {0}", String.valueOf(e.getCause()));
    } catch (TimeoutException e) {
      LOG.log(Level.INFO, "the rehearsal is not over after {0} ms", 2L * config.warmUpMs());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * @param rounds of calls after which it is over before its time
   * @throws TimeoutException when it takes twice as long as it may; it then ends by itself
   */
  static void perform(PodConfig config, List<ModelRuntime> runtimes, int rounds)
      throws ExecutionException, TimeoutException, InterruptedException {
    long endNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(config.warmUpMs());
    Rehearsal rehearsal = new Rehearsal(config, runtimes, rounds, endNs);
    CompletableFuture<Void> over = new CompletableFuture<>();
    Thread.ofPlatform().daemon().name("orlop-rehearsal").start(() -> rehearsal.play(over));
    over.get(2L * config.warmUpMs(), TimeUnit.MILLISECONDS);
  }

  /** Nobody need wait for the sweeping up. */
  private void play(CompletableFuture<Void> over) {
    try {
      scene();
      over.complete(null);
    } catch (Exception | LinkageError e) {
      over.completeExceptionally(e);
    } finally {
      undo.all();
    }
  }

  private void scene() throws Exception {
    Path dir = Files.createTempDirectory("orlop-rehearsal");
    undo.add(() -> Files.delete(dir));
    ServingPod one = pod("rehearsal-1");
    ServingPod other = pod("rehearsal-2");
    ManagedChannel channel = channel(one);
    ManagedChannel elsewhere = channel(other);
    List<ModelInferRequest> requests = new ArrayList<>();
    for (ModelRuntime runtime : runtimes) {
      Sample sample = runtime.sample().orElse(null);
      if (sample != null) {
        Path file = dir.resolve(runtime.name());
        Files.write(file, sample.file().toByteArray());
        undo.add(() -> Files.delete(file));
        String local = runtime.name() + "-local";
        String far = runtime.name() + "-far";
        load(channel, Model.of(local, sample.modelType(), file.toString(), "", 1));
        load(elsewhere, Model.of(far, sample.modelType(), file.toString(), "", 1));
        for (String model : List.of(local, far)) {
          requests.add(sample.raw().toBuilder().setModelName(model).build());
          requests.add(sample.typed().toBuilder().setModelName(model).build());
        }
        coldCalls(channel, sample, file);
      }
    }
    calls(one, channel, requests);
  }

  private ServingPod pod(String id) throws IOException, RegistryException {
    PodConfig own =
        PodConfig.builder(id, Memory.ram(64 << 20))
            .host("127.0.0.1")
            .ports(0, 0, 0, 0)
            .eventLoops(1)
            .compute(config.computeThreads(), config.computeQueue())
            .drainTimeoutMs(0)
            .build();
    ServingPod pod =
        ServingPod.start(own, registry, new OnDisk(), runtimes, PayloadLog.disabled(), List.of());
    undo.add(pod);
    return pod;
  }

  private ManagedChannel channel(ServingPod pod) {
    ManagedChannel channel =
        NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort())
            .usePlaintext()
            .directExecutor()
            .build();
    undo.add(channel::shutdownNow);
    return channel;
  }

  private void load(ManagedChannel channel, Model model) throws RegistryException {
    registry.createModel(model);
    var unused =
        PodControlGrpc.newBlockingStub(channel)
            .withDeadlineAfter(CALL_TIMEOUT_MS, TimeUnit.MILLISECONDS)
            .load(LoadRequest.newBuilder().setModelId(model.id()).setWait(true).build());
  }

  /** Calls that wait for a load, here and there. */
  private void coldCalls(ManagedChannel channel, Sample sample, Path file) throws Exception {
    for (int i = 0; i < COLD_CALLS && leftNs() > 0; i++) {
      String name = file.getFileName() + "-cold-" + i;
      registry.createModel(Model.of(name, sample.modelType(), file.toString(), "", 1));
      infer(channel, sample.raw().toBuilder().setModelName(name).build())
          .get(CALL_TIMEOUT_MS, TimeUnit.MILLISECONDS);
      registry.deleteModel(name);
    }
  }

  /** All of the requests at once, again and again. */
  private void calls(ServingPod pod, ManagedChannel channel, List<ModelInferRequest> requests)
      throws Exception {
    String rest = "http://127.0.0.1:" + pod.restPort() + "/v2/models/";
    List<Future<?>> underWay = new ArrayList<>();
    for (int round = 0; round < rounds && leftNs() > 0; round++) {
      for (ModelInferRequest request : requests) {
        underWay.add(infer(channel, request));
      }
      ModelInferRequest one = requests.get(round % requests.size());
      if (round % 10 == 0) {
        http(rest + one.getModelName() + "/infer", json(one));
      }
      if (round % 100 == 0) {
        http("http://127.0.0.1:" + pod.metricsPort() + "/metrics", null);
        http("http://127.0.0.1:" + pod.probePort() + "/ready", null);
        underWay.add(
            GRPCInferenceServiceGrpc.newFutureStub(channel)
                .modelMetadata(
                    ModelMetadataRequest.newBuilder().setName(one.getModelName()).build()));
      }
      for (Future<?> call : underWay) {
        call.get(CALL_TIMEOUT_MS, TimeUnit.MILLISECONDS);
      }
      underWay.clear();
    }
  }

  private static Future<?> infer(ManagedChannel channel, ModelInferRequest request) {
    return GRPCInferenceServiceGrpc.newFutureStub(channel).modelInfer(request);
  }

  private static String json(ModelInferRequest request) {
    ModelInferRequest.InferInputTensor input = request.getInputs(0);
    long columns = input.getShape(1);
    return """
    {"inputs":[{"name":"%s","datatype":"%s","shape":[1,%d],"data":[%s0]}]}\
    """
        .formatted(input.getName(), input.getDatatype(), columns, "0,".repeat((int) columns - 1));
  }

  /**
   * @param body null to get, else what to post
   */
  private static void http(String address, @Nullable String body) throws IOException {
    HttpURLConnection connection = (HttpURLConnection) URI.create(address).toURL().openConnection();
    connection.setConnectTimeout(HTTP_TIMEOUT_MS);
    connection.setReadTimeout(HTTP_TIMEOUT_MS);
    if (body != null) {
      connection.setDoOutput(true);
      try (OutputStream out = connection.getOutputStream()) {
        out.write(body.getBytes(StandardCharsets.UTF_8));
      }
    }
    try (InputStream answer = connection.getInputStream()) {
      var unused = answer.readAllBytes();
    }
  }

  private long leftNs() {
    return endNs - System.nanoTime();
  }

  /** A model's path is where its file lies. */
  private static final class OnDisk implements ModelStore {
    @Override
    public Files pull(Model model) {
      return new Files() {
        @Override
        public Path path() {
          return Path.of(model.path());
        }

        @Override
        public void close() {}
      };
    }

    @Override
    public long sizeBytes(Model model) throws StoreException {
      try {
        return java.nio.file.Files.size(Path.of(model.path()));
      } catch (IOException e) {
        throw new StoreException(Fault.PERMANENT, "no sample at " + model.path(), e);
      }
    }
  }
}
