package orlop.bench;

import inference.ModelInferRequest;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import orlop.placement.Model;
import orlop.registry.EtcdProcess;
import orlop.registry.EtcdRegistry;
import orlop.registry.RegistryException;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;
import orlop.runtime.Sample;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code orlop bench isolation}: what calls that wait for cold models do to those that need not.
 */
@Command(
    name = "isolation",
    mixinStandardHelpOptions = true,
    description = {
      "Call a loaded model 500 times a second while a crowd waits for cold ones on the same pod,",
      "and let many callers of three pods ask for one cold model at once. Needs etcd."
    })
final class IsolationBench extends Benchmark {
  private static final String HOT = "hot";
  private static final int HOT_PER_SECOND = 500;
  private static final int WINDOW_S = 4;
  private static final int ONE_MODEL_ROUNDS = 5;
  private static final int PODS = 3;
  private static final long VIEW_TIMEOUT_S = 30;
  private static final long REST_MS = 2_000;
  private static final int MOST_LATE_MS = 300;

  @Option(names = "--crowd", defaultValue = "5000", description = "Calls that wait. Default: 5000.")
  int crowd = 5_000;

  @Option(
      names = "--cold-models",
      defaultValue = "100",
      description = "That they wait for, new ones in each window. Default: 100.")
  int coldModels = 100;

  @Option(
      names = "--windows",
      defaultValue = "7",
      description = "With the crowd, and as many without it. Default: 7.")
  int windows = 7;

  @Option(
      names = "--warm-up",
      paramLabel = "WINDOWS",
      defaultValue = "7",
      description = "Of each kind before. Default: 7.")
  int warmUp = 7;

  @Option(
      names = "--callers",
      defaultValue = "1000",
      description = "Of one cold model, over three pods. Default: 1000.")
  int callers = 1_000;

  private int nextCold;

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Path dir = Files.createTempDirectory("orlop-bench-isolation");
    List<BenchProcess> processes = new ArrayList<>();
    List<ManagedChannel> channels = new ArrayList<>();
    try (EtcdProcess etcd = EtcdProcess.start(dir.resolve("etcd"));
        EtcdRegistry registry = EtcdRegistry.connect(IsolationPod.registry(etcd.endpoint()));
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ExecutorService threads = Executors.newCachedThreadPool()) {
      Sample sample = runtime.sample().orElseThrow();
      Path file = Files.write(dir.resolve("model.onnx"), sample.file().toByteArray());
      Path request = Files.write(dir.resolve("request"), sample.raw().toByteArray());
      register(registry, (windows + warmUp) * coldModels + ONE_MODEL_ROUNDS);
      try {
        Figures figures = new Figures();
        String[] first = start(processes, 0, etcd, file);
        channels.add(channel(first[0]));
        BenchProcess crowd = IsolationCrowd.start(first[0], request);
        processes.add(crowd);
        waiting(figures, table, channels.getFirst(), first[1], crowd, sample.raw(), threads);
        List<String> metrics = new ArrayList<>(List.of(first[1]));
        for (int i = 1; i < PODS; i++) {
          String[] more = start(processes, i, etcd, file);
          channels.add(channel(more[0]));
          metrics.add(more[1]);
        }
        awaitPods(registry);
        oneModel(figures, table, channels, metrics, sample.raw(), threads);
        return figures;
      } finally {
        channels.forEach(ManagedChannel::shutdownNow);
        processes.reversed().forEach(BenchProcess::close);
      }
    } finally {
      Bench.delete(dir);
    }
  }

  private static void register(EtcdRegistry registry, int cold) throws RegistryException {
    registry.createModel(Model.of(HOT, "onnx", HOT, "", 1));
    for (int i = 0; i < cold; i++) {
      String id = IsolationPod.COLD + i;
      registry.createModel(Model.of(id, "onnx", id, "", 1));
    }
  }

  private static String[] start(
      List<BenchProcess> processes, int number, EtcdProcess etcd, Path file) throws IOException {
    BenchProcess pod = IsolationPod.start("pod-" + number, etcd.endpoint(), file);
    processes.add(pod);
    return pod.announced().split(" ");
  }

  private static ManagedChannel channel(String port) {
    return NettyChannelBuilder.forAddress("127.0.0.1", Integer.parseInt(port))
        .usePlaintext()
        .directExecutor()
        .build();
  }

  /** Windows with and without the crowd in turn, each as long, on one pod. */
  private void waiting(
      Figures figures,
      PrintWriter table,
      ManagedChannel channel,
      String metrics,
      BenchProcess others,
      ModelInferRequest request,
      ExecutorService threads)
      throws Exception {
    byte[] hot = request.toBuilder().setModelName(HOT).build().toByteArray();
    List<Double> without = new ArrayList<>();
    List<Double> with = new ArrayList<>();
    int failed = 0;
    int crowdFailed = 0;
    int crowdLateMs = 0;
    table.printf(
        Locale.ROOT,
        "%n  %-10s %10s %10s %10s %10s%n",
        "crowd",
        "p50 ms",
        "p99 ms",
        "worst",
        "loads");
    Pace.run(channel, 1, 1, i -> hot);
    for (int i = 0; i < 2 * (warmUp + windows); i++) {
      boolean crowded = i % 2 == 1;
      long loadsBefore = loads(List.of(metrics));
      Future<String> said = threads.submit(crowded ? ask(others) : () -> "0 0");
      Pace.Outcome outcome =
          Pace.run(channel, HOT_PER_SECOND * WINDOW_S, HOT_PER_SECOND, call -> hot);
      String crowdSaid = said.get();
      long loads = loads(List.of(metrics)) - loadsBefore;
      table.printf(
          Locale.ROOT,
          "  %-10s %10.2f %10.2f %10.2f %10d%n",
          i < 2 * warmUp ? "warm-up" : crowded ? Integer.toString(crowd) : "none",
          outcome.millis(0.5),
          outcome.millis(0.99),
          outcome.millis(1),
          loads);
      table.flush();
      if (crowded && loads != coldModels) {
        throw new IllegalStateException(
            loads + " loads of " + coldModels + " cold models, expected one of each");
      }
      if (i >= 2 * warmUp) {
        failed += outcome.failed();
        crowdFailed += Integer.parseInt(crowdSaid.split(" ")[0]);
        crowdLateMs = Math.max(crowdLateMs, Integer.parseInt(crowdSaid.split(" ")[1]));
        (crowded ? with : without).add(outcome.millis(0.99));
      }
    }
    // A window with another number of loads has ended the benchmark.
    figures
        .atMost("hotP99Ratio", median(with) / median(without), 1.25)
        .add("hotP99Millis", median(without))
        .add("hotP99MillisWithCrowd", median(with))
        .atMost("hotFailed", failed, 0)
        .atMost("crowdFailed", crowdFailed, 0)
        // Else the first loads would be over before the last of the crowd waits.
        .atMost("crowdLateMillis", crowdLateMs, MOST_LATE_MS)
        .atMost("loadsPerColdModel", 1, 1);
  }

  private Callable<String> ask(BenchProcess process) {
    int first = nextCold;
    nextCold += coldModels;
    return () -> process.ask(coldModels + " " + first + " " + crowd);
  }

  /** Many callers of all pods at once, for a model that none of them has. */
  private void oneModel(
      Figures figures,
      PrintWriter table,
      List<ManagedChannel> channels,
      List<String> metrics,
      ModelInferRequest request,
      ExecutorService threads)
      throws Exception {
    long most = 0;
    int failed = 0;
    for (int round = 0; round < ONE_MODEL_ROUNDS; round++) {
      // At rest: each pod has heard what the others became by the last round.
      TimeUnit.MILLISECONDS.sleep(REST_MS);
      String name = IsolationPod.COLD + nextCold++;
      byte[] message = request.toBuilder().setModelName(name).build().toByteArray();
      long before = loads(metrics);
      List<Future<Pace.Outcome>> all = new ArrayList<>();
      for (int i = 0; i < channels.size(); i++) {
        ManagedChannel channel = channels.get(i);
        int share = callers / PODS + (i < callers % PODS ? 1 : 0);
        // All that a client can send at once.
        all.add(threads.submit(() -> Pace.run(channel, share, 1e6, call -> message)));
      }
      for (Future<Pace.Outcome> outcome : all) {
        failed += outcome.get().failed();
      }
      long loads = loads(metrics) - before;
      most = Math.max(most, loads);
      table.printf(
          "  %d callers of one cold model over %d pods: %d load(s)%n", callers, PODS, loads);
      table.flush();
    }
    figures.atMost("loads", most, 1).atMost("oneModelFailed", failed, 0);
  }

  private static void awaitPods(EtcdRegistry registry) throws InterruptedException {
    long untilNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(VIEW_TIMEOUT_S);
    while (registry.view().pods().size() < PODS) {
      if (System.nanoTime() > untilNs) {
        throw new IllegalStateException(
            registry.view().pods().size() + " pods in the view, expected " + PODS);
      }
      TimeUnit.MILLISECONDS.sleep(50);
    }
  }

  private static long loads(List<String> metricsPorts) throws IOException, InterruptedException {
    long sum = 0;
    for (String port : metricsPorts) {
      sum += Bench.counter("127.0.0.1:" + port, "orlop_loads");
    }
    return sum;
  }

  private static double median(List<Double> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }
}
