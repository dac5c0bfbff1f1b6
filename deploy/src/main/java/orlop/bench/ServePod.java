package orlop.bench;

import com.sun.management.ThreadMXBean;
import inference.ModelInferRequest;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import orlop.api.LoadRequest;
import orlop.api.PodControlGrpc;
import orlop.payload.PayloadLog;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.pod.Batching;
import orlop.pod.ModelStore;
import orlop.pod.PodConfig;
import orlop.pod.ServingPod;
import orlop.registry.LocalRegistry;
import orlop.runtime.Cancellation;
import orlop.runtime.LoadedModel;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;

/** One pod that runs the models of a directory itself, in a process of its own. */
final class ServePod {
  static final int MAX_MESSAGE_BYTES = 64 << 20;
  private static final int THREADS = Runtime.getRuntime().availableProcessors();

  private ServePod() {}

  /** A directory of {@code .onnx} files, each a model of that name; and whether to batch. */
  public static void main(String[] args) throws Exception {
    Path directory = Path.of(args[0]);
    Batching batch = new Batching(Boolean.parseBoolean(args[1]), 64, 50);
    LocalRegistry registry = new LocalRegistry();
    List<String> models;
    try (var files = Files.list(directory)) {
      models = files.map(f -> f.getFileName().toString().replace(".onnx", "")).sorted().toList();
    }
    for (String model : models) {
      registry.createModel(Model.of(model, "onnx", model + ".onnx", "", 1));
    }
    PodConfig config =
        PodConfig.builder("pod", Memory.ram(1L << 30))
            .host("127.0.0.1")
            .ports(0, 0, 0, 0)
            .eventLoops(1)
            .compute(THREADS, 1_024)
            .batch(batch)
            .inFlight(20_000, 1L << 30)
            .maxMessageBytes(MAX_MESSAGE_BYTES)
            .drainTimeoutMs(0)
            .build();
    try (OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod pod =
            ServingPod.start(
                config,
                registry,
                new Shelf(directory),
                List.of(runtime),
                PayloadLog.disabled(),
                List.of())) {
      load(pod, models);
      BenchProcess.announce(pod.address());
      BenchProcess.answer(question -> answer(question, directory, runtime));
    }
    registry.close();
  }

  private static void load(ServingPod pod, List<String> models) {
    var channel =
        io.grpc.netty.NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort())
            .usePlaintext()
            .build();
    for (String model : models) {
      PodControlGrpc.newBlockingStub(channel)
          .withDeadlineAfter(60, TimeUnit.SECONDS)
          .load(LoadRequest.newBuilder().setModelId(model).setWait(true).build());
    }
    channel.shutdownNow();
  }

  /**
   * {@code allocated}: bytes of heap that all threads have allocated so far. {@code loop MODEL MS}:
   * runs in a second when all cores call the model's session in a loop and nothing else.
   */
  private static String answer(String question, Path directory, OnnxRuntime runtime)
      throws Exception {
    if (question.equals("allocated")) {
      ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
      return Long.toString(threads.getTotalThreadAllocatedBytes());
    }
    String[] words = question.split(" ");
    try (LoadedModel model = runtime.load(words[1], "onnx", directory.resolve(words[1] + ".onnx"));
        var pool = Executors.newFixedThreadPool(THREADS)) {
      ModelInferRequest request = ServeBench.request(words[1], columns(model));
      model.infer(request, Cancellation.NEVER);
      long startNs = System.nanoTime();
      long endNs = startNs + TimeUnit.MILLISECONDS.toNanos(Long.parseLong(words[2]));
      Callable<Long> loop =
          () -> {
            long runs = 0;
            while (System.nanoTime() < endNs) {
              model.infer(request, Cancellation.NEVER);
              runs++;
            }
            return runs;
          };
      List<Future<Long>> loops = new ArrayList<>();
      for (int i = 0; i < THREADS; i++) {
        loops.add(pool.submit(loop));
      }
      long runs = 0;
      for (Future<Long> each : loops) {
        runs += each.get();
      }
      return Double.toString(runs * 1e9 / (System.nanoTime() - startNs));
    }
  }

  private static int columns(LoadedModel model) {
    return Math.toIntExact(model.metadata().getInputs(0).getShape(1));
  }

  /** The models lie where they are to be loaded from. */
  private record Shelf(Path directory) implements ModelStore {
    @Override
    public Files pull(Model model) {
      Path file = directory.resolve(model.path());
      return new Files() {
        @Override
        public Path path() {
          return file;
        }

        @Override
        public void close() {}
      };
    }

    @Override
    public long sizeBytes(Model model) {
      return directory.resolve(model.path()).toFile().length();
    }
  }
}
