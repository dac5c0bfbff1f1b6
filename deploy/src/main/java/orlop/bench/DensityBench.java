package orlop.bench;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import orlop.api.LoadRequest;
import orlop.api.PodControlGrpc;
import orlop.api.UnloadRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * How many models one pod holds, what a load from the disk cache takes, and whether memory comes
 * back: a pod in a process of its own, client and store in this one.
 */
@Command(
    name = "density",
    description = {
      "Fill a pod with tiny models and serve them all; load from the disk cache; load and evict",
      "larger models over and over. Takes six to eight minutes on two quiet cores."
    })
final class DensityBench extends Benchmark {
  private static final int[] TINY = {32, 16, 8};
  private static final int[] LARGE = {512, 1_024, 512};
  private static final long LARGE_BYTES = 4L * (512 * 1_024 + 1_024 + 1_024 * 512 + 512);
  private static final int LARGE_MODELS = 150;
  private static final int LARGE_RESIDENT = 50;
  private static final int FIRST_CYCLES = 100;
  private static final int CALLS_PER_SECOND = 1_000;
  private static final int WARM_CALLS = 5_000;
  private static final int AT_ONCE = 4;
  private static final long SETTLE_MS = 60_000;
  private static final double MIB = 1 << 20;

  @Option(names = "--models", paramLabel = "N", description = "Tiny models. Default: 20000.")
  private int models = 20_000;

  @Option(names = "--reloads", paramLabel = "N", description = "Timed loads. Default: 1000.")
  private int reloads = 1_000;

  @Option(
      names = "--cycles",
      paramLabel = "N",
      description = "Loads and evictions of 4 MB models. Default: 10000.")
  private int cycles = 10_000;

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Figures figures = new Figures();
    Path disk = Files.createTempDirectory("orlop-bench-density-");
    try {
      many(disk.resolve("tiny"), figures, table);
      oftenAndLarge(disk.resolve("large"), figures, table);
    } finally {
      delete(disk);
    }
    return figures;
  }

  /** Tiny models: how many, how much memory, how fast they come back from the disk. */
  private void many(Path disk, Figures figures, PrintWriter table) throws Exception {
    try (ModelShop shop = new ModelShop(number -> BenchModels.dense(number, TINY));
        Guest pod = Guest.start(shop, disk, models, 1L << 32, List.of("-Xmx512m"))) {
      long emptyBytes = pod.process.rssBytes();
      long startNs = System.nanoTime();
      each(models, pod::load, "loaded", table);
      say(table, "%d models loaded in %.1f s", models, (System.nanoTime() - startNs) / 1e9);
      double loads = pod.metric("orlop_loads_total");
      int[] first = Arrays.copyOf(order(models), Math.min(models, WARM_CALLS));
      var unused = PacedCalls.run(pod.channel, first, TINY[0], CALLS_PER_SECOND);
      PacedCalls served = PacedCalls.run(pod.channel, order(models), TINY[0], CALLS_PER_SECOND);
      long fullBytes = pod.process.rssBytes();
      double resident = pod.metric("modelmesh_instance_models_total");
      double again = pod.metric("orlop_loads_total") - loads;
      say(
          table,
          "each called once: %.0f/s, p50 %.2f ms, p99 %.2f ms, %.0f loads, %.0f MiB of %.0f at the"
              + " start",
          served.perSecond(),
          served.p50Ms(),
          served.p99Ms(),
          again,
          fullBytes / MIB,
          emptyBytes / MIB);
      double[] loadMs = reload(pod, table);
      double hiccups = pod.process.rssBytes();
      say(table, "%d loads from the disk, then %.0f MiB", loadMs.length, hiccups / MIB);
      each(models, pod::unload, "unloaded", table);
      pod.awaitModels(0);
      long leftBytes = settled(pod.process, fullBytes);
      say(table, "all unloaded: %.0f MiB", leftBytes / MIB);
      figures
          .atLeast("residentModels", served.failed() == 0 && again == 0 ? resident : 0, 20_000)
          .atMost("rssGiB", fullBytes / MIB / 1_024, 3)
          .add("kibPerModel", (fullBytes - emptyBytes) / 1_024.0 / models)
          .atLeast("servedPerSecond", served.perSecond(), 0.99 * CALLS_PER_SECOND)
          .add("servedP50Millis", served.p50Ms())
          .add("servedP99Millis", served.p99Ms())
          .atMost("loadP50Millis", quantile(loadMs, 0.5), 2)
          .add("loadP99Millis", quantile(loadMs, 0.99))
          .add("tinyReturnedPct", returned(emptyBytes, fullBytes, leftBytes));
    }
  }

  /** Times loads by one caller after another, with all others resident. */
  private double[] reload(Guest pod, PrintWriter table) throws Exception {
    int count = Math.min(reloads, models);
    int[] chosen = Arrays.copyOf(order(models), count);
    for (int number : chosen) {
      pod.unload(number);
    }
    pod.awaitModels(models - count);
    double[] ms = new double[count];
    for (int i = 0; i < count; i++) {
      long startNs = System.nanoTime();
      pod.load(chosen[i]);
      ms[i] = (System.nanoTime() - startNs) / 1e6;
    }
    Arrays.sort(ms);
    say(
        table,
        "a load from the disk: p10 %.2f, p50 %.2f, p90 %.2f, p99 %.2f ms",
        quantile(ms, 0.1),
        quantile(ms, 0.5),
        quantile(ms, 0.9),
        quantile(ms, 0.99));
    return ms;
  }

  /** Models of 4 MB that come and go: whether the process stays as large as it was. */
  private void oftenAndLarge(Path disk, Figures figures, PrintWriter table) throws Exception {
    // The heap is touched from the start: what grows is what models take.
    List<String> heap = List.of("-Xms256m", "-Xmx256m", "-XX:+AlwaysPreTouch");
    long capacity = LARGE_RESIDENT * (LARGE_BYTES + (64 << 10));
    try (ModelShop shop = new ModelShop(number -> BenchModels.dense(number, LARGE));
        Guest pod = Guest.start(shop, disk, LARGE_MODELS, capacity, heap)) {
      // One round first, so that what the process itself comes to need is not taken for models'.
      each(LARGE_MODELS, number -> pod.infer(number, LARGE[0]), "", null);
      each(LARGE_MODELS, pod::unload, "", null);
      pod.awaitModels(0);
      long emptyBytes = settled(pod.process, pod.process.rssBytes());
      long before = (long) pod.metric("orlop_loads_total");
      cycle(pod, before + FIRST_CYCLES);
      long firstBytes = pod.process.rssBytes();
      say(
          table,
          "first %d loads of 4 MB: %.0f MiB of %.0f at the start",
          FIRST_CYCLES,
          firstBytes / MIB,
          emptyBytes / MIB);
      long startNs = System.nanoTime();
      int steps = 10;
      for (int step = 1; step <= steps; step++) {
        cycle(pod, before + (long) cycles * step / steps);
        say(
            table,
            "%.0f loads, %.0f evictions: %.0f MiB, %.0f loads/s",
            pod.metric("orlop_loads_total"),
            pod.metric("modelmesh_model_evicted_total"),
            pod.process.rssBytes() / MIB,
            cycles * step / steps * 1e9 / (System.nanoTime() - startNs));
      }
      long lastBytes = pod.process.rssBytes();
      each(LARGE_MODELS, pod::unload, "unloaded", table);
      pod.awaitModels(0);
      long leftBytes = settled(pod.process, lastBytes);
      say(table, "all unloaded: %.0f MiB", leftBytes / MIB);
      figures
          .add("cycles", pod.metric("modelmesh_model_evicted_total"))
          .atMost("rssDriftPct", 100.0 * (lastBytes - firstBytes) / firstBytes, 10)
          .atLeast("rssReturnedPct", returned(emptyBytes, lastBytes, leftBytes), 90);
    }
  }

  /** Calls one model after another, most of them cold, until so many have been loaded. */
  private static void cycle(Guest pod, long untilLoads) throws Exception {
    while (pod.metric("orlop_loads_total") < untilLoads) {
      each(LARGE_MODELS, number -> pod.infer(number, LARGE[0]), "", null);
    }
  }

  private static double returned(long emptyBytes, long fullBytes, long leftBytes) {
    return 100.0 * (fullBytes - leftBytes) / (fullBytes - emptyBytes);
  }

  private static double quantile(double[] sorted, double part) {
    return sorted[(int) (part * (sorted.length - 1))];
  }

  /** All numbers below the bound, in an order that looks like none. */
  private static int[] order(int bound) {
    List<Integer> numbers = new ArrayList<>();
    for (int i = 0; i < bound; i++) {
      numbers.add(i);
    }
    Collections.shuffle(numbers, new Random(bound));
    return numbers.stream().mapToInt(Integer::intValue).toArray();
  }

  /** Waits until the process no longer shrinks; at most a minute. */
  private static long settled(BenchProcess process, long fromBytes) throws Exception {
    long least = fromBytes;
    long sinceNs = System.nanoTime();
    long endNs = sinceNs + TimeUnit.MILLISECONDS.toNanos(SETTLE_MS);
    while (System.nanoTime() < endNs && System.nanoTime() - sinceNs < SETTLE_MS * 100_000L) {
      long now = process.rssBytes();
      if (now < least - least / 100) {
        least = now;
        sinceNs = System.nanoTime();
      }
      TimeUnit.MILLISECONDS.sleep(100);
    }
    return process.rssBytes();
  }

  /** Does it for each number below the bound, a few at a time, and says how far it is. */
  private static void each(int bound, LongConsumer what, String done, @Nullable PrintWriter table)
      throws Exception {
    AtomicLong next = new AtomicLong();
    try (ExecutorService threads = Executors.newFixedThreadPool(AT_ONCE)) {
      List<Future<?>> ends = new ArrayList<>();
      for (int thread = 0; thread < AT_ONCE; thread++) {
        ends.add(
            threads.submit(
                () -> {
                  for (long i = next.getAndIncrement(); i < bound; i = next.getAndIncrement()) {
                    what.accept(i);
                    if (table != null && i % 5_000 == 4_999) {
                      say(table, "  %d %s", i + 1, done);
                    }
                  }
                }));
      }
      for (Future<?> end : ends) {
        end.get();
      }
    }
  }

  private static void say(PrintWriter table, String format, Object... args) {
    synchronized (table) {
      table.println(String.format(java.util.Locale.ROOT, format, args));
      table.flush();
    }
  }

  private static void delete(Path directory) throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }

  /** The encoded request for one row of zeros. */
  static byte[] request(long number, int columns) {
    return ModelInferRequest.newBuilder()
        .setModelName(DensityPod.model(number))
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("x")
                .setDatatype("FP32")
                .addShape(1)
                .addShape(columns))
        .addRawInputContents(ByteString.copyFrom(new byte[4 * columns]))
        .build()
        .toByteArray();
  }

  /** The pod that is measured, as its client sees it. Thread-safe. */
  private record Guest(BenchProcess process, ManagedChannel channel, URI metrics, HttpClient http)
      implements AutoCloseable {
    private static final long TIMEOUT_MS = 60_000;

    static Guest start(
        ModelShop shop, Path disk, int models, long capacityBytes, List<String> jvmOptions)
        throws IOException {
      BenchProcess process =
          BenchProcess.start(
              DensityPod.class,
              jvmOptions,
              shop.endpoint(),
              disk.toString(),
              Integer.toString(models),
              Long.toString(capacityBytes));
      String[] said = process.announced().split(" ");
      return new Guest(
          process,
          NettyChannelBuilder.forTarget("dns:///" + said[0]).usePlaintext().build(),
          URI.create("http://127.0.0.1:" + said[1] + "/metrics"),
          HttpClient.newHttpClient());
    }

    private PodControlGrpc.PodControlBlockingStub control() {
      return PodControlGrpc.newBlockingStub(channel)
          .withDeadlineAfter(TIMEOUT_MS, TimeUnit.MILLISECONDS);
    }

    void load(long number) {
      LoadRequest request =
          LoadRequest.newBuilder().setModelId(DensityPod.model(number)).setWait(true).build();
      control().load(request);
    }

    void unload(long number) {
      control().unload(UnloadRequest.newBuilder().setModelId(DensityPod.model(number)).build());
    }

    void infer(long number, int columns) {
      ClientCalls.blockingUnaryCall(
          channel,
          EchoServer.Raw.INFER,
          CallOptions.DEFAULT.withDeadlineAfter(TIMEOUT_MS, TimeUnit.MILLISECONDS),
          request(number, columns));
    }

    double metric(String name) throws IOException, InterruptedException {
      String page =
          http.send(HttpRequest.newBuilder(metrics).build(), HttpResponse.BodyHandlers.ofString())
              .body();
      return page.lines()
          .filter(line -> line.startsWith(name + " "))
          .mapToDouble(line -> Double.parseDouble(line.substring(name.length() + 1)))
          .findFirst()
          .orElseThrow(() -> new IOException("no " + name + " at " + metrics));
    }

    void awaitModels(int count) throws IOException, InterruptedException {
      long endNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(TIMEOUT_MS);
      double now = metric("modelmesh_instance_models_total");
      while (now != count) {
        if (System.nanoTime() > endNs) {
          throw new IllegalStateException(
              "the pod still has " + now + " models after a minute, expected " + count);
        }
        TimeUnit.MILLISECONDS.sleep(50);
        now = metric("modelmesh_instance_models_total");
      }
    }

    @Override
    public void close() {
      channel.shutdownNow();
      http.close();
      process.close();
    }
  }
}
