package orlop.bench;

import inference.ModelInferRequest;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import mmesh.ModelInfo;
import mmesh.ModelMeshGrpc;
import mmesh.RegisterModelRequest;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;
import orlop.runtime.Sample;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code orlop bench warmup}: how soon a new pod is ready, and how slow its first calls are. */
@Command(
    name = "warmup",
    mixinStandardHelpOptions = true,
    description = {
      "Start pods by ./orlop pod and measure the time to /ready and the first calls to a small model.",
      "Every other one starts without what ./orlop warm learned and without its own warm-up."
    })
final class WarmupBench extends Benchmark {
  private static final long READY_TIMEOUT_NS = TimeUnit.SECONDS.toNanos(120);
  private static final String MODEL = "first";

  @Option(names = "--starts", defaultValue = "5", description = "Of each kind. Default: 5.")
  int starts = 5;

  @Option(names = "--calls", defaultValue = "1000", description = "To each pod. Default: 1000.")
  int calls = 1_000;

  @Option(
      names = "--rate",
      paramLabel = "N",
      defaultValue = "200",
      description = "Calls in a second, from when the pod is ready. Default: 200.")
  int rate = 200;

  @Option(
      names = "--each",
      description = "Measure the Java machine's cache and the pod's own warm-up alone, too.")
  boolean each;

  private record Started(double readySeconds, double cpuSeconds, Pace.Outcome calls) {}

  /** How a pod is started: with what {@code ./orlop warm} learned, with its own warm-up. */
  private record Kind(String name, boolean learned, boolean warmUp) {}

  private static final Kind WARM = new Kind("warm", true, true);
  private static final Kind COLD = new Kind("cold", false, false);

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Path dir = Files.createTempDirectory("orlop-bench-warmup");
    try (OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults())) {
      Sample sample = runtime.sample().orElseThrow();
      Path model = Files.write(dir.resolve("model.onnx"), sample.file().toByteArray());
      ModelInferRequest request = sample.raw().toBuilder().setModelName(MODEL).build();
      // This process learns to send calls, too.
      start(dir, model, request.toByteArray(), WARM);
      table.printf(
          "%n  %-8s %10s %10s %10s %10s %10s%n",
          "start", "ready s", "CPU s", "p50 ms", "p99 ms", "worst ms");
      Map<Kind, List<Started>> of = new LinkedHashMap<>();
      for (Kind kind : kinds()) {
        of.put(kind, new ArrayList<>());
      }
      for (int i = 0; i < starts; i++) {
        for (Map.Entry<Kind, List<Started>> kind : of.entrySet()) {
          Started started = start(dir, model, request.toByteArray(), kind.getKey());
          kind.getValue().add(started);
          show(table, kind.getKey(), started);
        }
      }
      return figures(of);
    } finally {
      Bench.delete(dir);
    }
  }

  private List<Kind> kinds() {
    return each
        ? List.of(WARM, new Kind("cache", true, false), new Kind("warm-up", false, true), COLD)
        : List.of(WARM, COLD);
  }

  private static void show(PrintWriter table, Kind kind, Started started) {
    table.printf(
        Locale.ROOT,
        "  %-8s %10.2f %10.2f %10.2f %10.2f %10.2f%n",
        kind.name,
        started.readySeconds,
        started.cpuSeconds,
        started.calls.millis(0.5),
        started.calls.millis(0.99),
        started.calls.millis(1));
    table.flush();
  }

  private static Figures figures(Map<Kind, List<Started>> of) {
    List<Started> warm = of.getOrDefault(WARM, List.of());
    List<Started> cold = of.getOrDefault(COLD, List.of());
    int failed = of.values().stream().flatMap(List::stream).mapToInt(s -> s.calls.failed()).sum();
    return new Figures()
        .atMost("readySeconds", median(warm.stream().map(Started::readySeconds).toList()), 3)
        .atMost("firstCallsP99Millis", median(millis(warm, 0.99)), 15)
        .add("firstCallsP50Millis", median(millis(warm, 0.5)))
        .add("cpuSecondsToReady", median(warm.stream().map(Started::cpuSeconds).toList()))
        .add("coldReadySeconds", median(cold.stream().map(Started::readySeconds).toList()))
        .add("coldFirstCallsP99Millis", median(millis(cold, 0.99)))
        .add("coldFirstCallsP50Millis", median(millis(cold, 0.5)))
        .atMost("failedCalls", failed, 0);
  }

  private static List<Double> millis(List<Started> starts, double share) {
    return starts.stream().map(s -> s.calls.millis(share)).toList();
  }

  private static double median(List<Double> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }

  private Started start(Path dir, Path model, byte[] message, Kind kind) throws Exception {
    int grpc = freePort();
    int probe = freePort();
    List<String> command =
        new ArrayList<>(List.of(Path.of(System.getProperty("orlop.home"), "orlop").toString()));
    command.add("pod");
    for (String set :
        List.of(
            "pod.host=127.0.0.1",
            "pod.grpcPort=" + grpc,
            "pod.probePort=" + probe,
            "pod.restPort=0",
            "pod.metricsPort=0",
            "puller.cacheDirectory=" + dir.resolve("cache"))) {
      command.addAll(List.of("--set", set));
    }
    if (!kind.warmUp) {
      command.addAll(List.of("--set", "pod.warmUpMs=0"));
    }
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(dir.resolve("err").toFile());
    builder.environment().put("ORLOP_BUILT", "1");
    builder.environment().remove("CLASSPATH");
    if (!kind.learned) {
      builder.environment().put("ORLOP_NO_WARM", "1");
    }
    long startNs = System.nanoTime();
    Process pod = builder.start();
    try {
      awaitReady(pod, probe, startNs + READY_TIMEOUT_NS, dir.resolve("err"));
      double readySeconds = (System.nanoTime() - startNs) / 1e9;
      double cpuSeconds =
          pod.info().totalCpuDuration().map(cpu -> cpu.toMillis() / 1e3).orElse(0.0);
      return new Started(readySeconds, cpuSeconds, firstCalls(grpc, model, message));
    } finally {
      pod.destroy();
      if (!pod.waitFor(30, TimeUnit.SECONDS)) {
        pod.destroyForcibly();
      }
    }
  }

  private Pace.Outcome firstCalls(int port, Path model, byte[] message)
      throws InterruptedException {
    ManagedChannel channel =
        NettyChannelBuilder.forAddress("127.0.0.1", port).usePlaintext().directExecutor().build();
    try {
      var unused =
          ModelMeshGrpc.newBlockingStub(channel)
              .withDeadlineAfter(60, TimeUnit.SECONDS)
              .registerModel(
                  RegisterModelRequest.newBuilder()
                      .setModelId(MODEL)
                      .setModelInfo(
                          ModelInfo.newBuilder().setType("onnx").setPath(model.toUri().toString()))
                      .setLoadNow(true)
                      .setSync(true)
                      .build());
      return Pace.run(channel, calls, rate, i -> message);
    } finally {
      channel.shutdownNow();
    }
  }

  private static void awaitReady(Process pod, int port, long deadlineNs, Path err)
      throws IOException {
    URI ready = URI.create("http://127.0.0.1:" + port + "/ready");
    while (true) {
      try {
        HttpURLConnection connection = (HttpURLConnection) ready.toURL().openConnection();
        if (connection.getResponseCode() == 200) {
          return;
        }
      } catch (IOException e) {
        // It does not listen yet.
      }
      if (!pod.isAlive() || System.nanoTime() - deadlineNs > 0) {
        throw new IOException("the pod did not become ready: " + Files.readString(err));
      }
      LockSupport.parkNanos(2_000_000);
    }
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }
}
