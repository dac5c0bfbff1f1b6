package orlop.bench;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * What a call of a model inside the pod costs, beside a bare grpc-netty echo of the same messages
 * and beside the model's session alone. Pod, echo and client are processes of their own.
 */
@Command(
    name = "serve",
    description = {
      "Measure what serving a model inside the pod costs, beside a bare gRPC echo of the",
      "same messages and beside the model's session called in a loop."
    })
final class ServeBench extends Benchmark {
  private static final int ROUNDS = 5;
  private static final int TINY_COLUMNS = 32;
  private static final int HEAVY_SIZE = 512;

  /** About 5 ms on one core: 262,144 multiplications each, from the nearest cache. */
  private static final int HEAVY_STEPS = 220;

  private static final int MIB = 1 << 20;

  @Option(
      names = "--seconds",
      paramLabel = "N",
      description = "Seconds for each case: half of them warm up. Default: 30.")
  private int seconds = 30;

  /** One kind of call, answered by one of the two processes. */
  private record Case(LoadGenerator.Case what, BenchProcess server) {}

  /** What a case showed, window by window. */
  private static final class Seen {
    final List<Double> perSecond = new ArrayList<>();
    final List<Double> p50 = new ArrayList<>();
    final List<Double> cpuMicros = new ArrayList<>();
    final List<Double> heapBytes = new ArrayList<>();
  }

  static ModelInferRequest request(String model, int columns) {
    return request(model, columns, 1, columns);
  }

  private static ModelInferRequest request(String model, int elements, long... shape) {
    InferInputTensor.Builder x = InferInputTensor.newBuilder().setName("x").setDatatype("FP32");
    for (long dimension : shape) {
      x.addShape(dimension);
    }
    return ModelInferRequest.newBuilder()
        .setModelName(model)
        .addInputs(x)
        .addRawInputContents(ByteString.copyFrom(new byte[4 * elements]))
        .build();
  }

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Path models = Files.createTempDirectory("orlop-bench-serve-");
    try (Client client = new Client()) {
      write(models, "tiny", BenchModels.dense(1, TINY_COLUMNS, 64, TINY_COLUMNS));
      write(models, "heavy", BenchModels.chain(HEAVY_SIZE, HEAVY_STEPS));
      write(models, "same", BenchModels.identity());
      try (BenchProcess echo = BenchProcess.start(EchoServer.class, List.of("-Xmx512m"));
          BenchProcess pod =
              BenchProcess.start(ServePod.class, List.of("-Xmx512m"), models.toString(), "false")) {
        return run(cases(client, echo, pod), pod, table);
      }
    } finally {
      Bench.delete(models);
    }
  }

  static void write(Path directory, String name, byte[] model) throws IOException {
    Files.write(directory.resolve(name + ".onnx"), model);
  }

  private static Map<String, Case> cases(Client client, BenchProcess echo, BenchProcess pod) {
    ManagedChannel toEcho = client.channel(echo.announced());
    ManagedChannel toPod = client.channel(pod.announced());
    byte[] tiny = request("tiny", TINY_COLUMNS).toByteArray();
    byte[] heavy = request("heavy", HEAVY_SIZE).toByteArray();
    byte[] one = request("same", MIB / 4, MIB / 4).toByteArray();
    byte[] sixteen = request("same", 4 * MIB, 4 * MIB).toByteArray();
    Map<String, Case> cases = new java.util.LinkedHashMap<>();
    both(cases, "c=1", 1, tiny, toEcho, toPod, echo, pod);
    both(cases, "c=32", 32, tiny, toEcho, toPod, echo, pod);
    both(cases, "1 MB", 8, one, toEcho, toPod, echo, pod);
    both(cases, "16 MB", 4, sixteen, toEcho, toPod, echo, pod);
    cases.put("pod 5 ms", new Case(single("pod 5 ms", 32, toPod, heavy), pod));
    return cases;
  }

  private static void both(
      Map<String, Case> cases,
      String name,
      int inFlight,
      byte[] message,
      ManagedChannel toEcho,
      ManagedChannel toPod,
      BenchProcess echo,
      BenchProcess pod) {
    cases.put("echo " + name, new Case(single("echo " + name, inFlight, toEcho, message), echo));
    cases.put("pod " + name, new Case(single("pod " + name, inFlight, toPod, message), pod));
  }

  static LoadGenerator.Case single(
      String name, int inFlight, ManagedChannel channel, byte[] message) {
    return new LoadGenerator.Case(name, inFlight, List.of(channel), new byte[][][] {{message}});
  }

  private Figures run(Map<String, Case> cases, BenchProcess pod, PrintWriter table)
      throws Exception {
    long windowMs = Math.max(200, seconds * 500L / ROUNDS);
    Map<String, Seen> seen = new HashMap<>();
    for (Case each : cases.values()) {
      LoadGenerator.run(each.what, seconds * 500L);
      seen.put(each.what.name(), new Seen());
    }
    List<Double> alone = new ArrayList<>();
    for (int round = 0; round < ROUNDS; round++) {
      for (Case each : cases.values()) {
        measure(each, pod, windowMs, of(seen, each.what.name()));
      }
      alone.add(Double.parseDouble(pod.ask("loop heavy " + windowMs)));
    }
    print(table, cases, seen, alone);
    return figures(seen, median(alone));
  }

  private static void measure(Case of, BenchProcess pod, long windowMs, Seen seen)
      throws Exception {
    long heap = Long.parseLong(pod.ask("allocated"));
    long cpu = of.server.cpuMicros();
    LoadGenerator.Window window = LoadGenerator.run(of.what, windowMs);
    seen.cpuMicros.add((double) (of.server.cpuMicros() - cpu) / window.calls());
    seen.heapBytes.add((double) (Long.parseLong(pod.ask("allocated")) - heap) / window.calls());
    seen.perSecond.add(window.perSecond());
    seen.p50.add(window.p50());
  }

  private static void print(
      PrintWriter table, Map<String, Case> cases, Map<String, Seen> seen, List<Double> alone) {
    table.printf(
        Locale.ROOT,
        "%n  %-14s %10s %10s %12s %14s%n",
        "",
        "calls/s",
        "p50 µs",
        "CPU µs/call",
        "heap B/call");
    for (String name : cases.keySet()) {
      Seen of = of(seen, name);
      table.printf(
          Locale.ROOT,
          "  %-14s %10.0f %10.1f %12.1f %14s%n",
          name,
          median(of.perSecond),
          median(of.p50),
          median(of.cpuMicros),
          name.startsWith("pod") ? Math.round(median(of.heapBytes)) : "");
    }
    table.printf(Locale.ROOT, "  %-14s %10.0f%n", "session alone", median(alone));
  }

  private static Figures figures(Map<String, Seen> seen, double alone) {
    return new Figures()
        .atMost("addedP50Micros", p50(seen, "pod c=1") - p50(seen, "echo c=1"), 50)
        .atLeast("throughputVsEcho", rate(seen, "pod c=32") / rate(seen, "echo c=32"), 0.62)
        .atMost(
            "cpuVsEcho",
            median(of(seen, "pod c=32").cpuMicros) / median(of(seen, "echo c=32").cpuMicros),
            2.3)
        .atLeast("throughputVsRawSession", rate(seen, "pod 5 ms") / alone, 0.95)
        .atLeast("oneMbVsEcho", rate(seen, "pod 1 MB") / rate(seen, "echo 1 MB"), 0.7)
        .atLeast("sixteenMbVsEcho", rate(seen, "pod 16 MB") / rate(seen, "echo 16 MB"), 0.7)
        .atMost("heapBytesPerCall", median(of(seen, "pod c=32").heapBytes), 4_096)
        .atMost("heapBytesPerOneMb", median(of(seen, "pod 1 MB").heapBytes), 16_384)
        .atMost("heapBytesPerSixteenMb", median(of(seen, "pod 16 MB").heapBytes), 65_536);
  }

  private static double rate(Map<String, Seen> seen, String name) {
    return median(of(seen, name).perSecond);
  }

  private static double p50(Map<String, Seen> seen, String name) {
    return median(of(seen, name).p50);
  }

  private static Seen of(Map<String, Seen> seen, String name) {
    Seen found = seen.get(name);
    if (found == null) {
      throw new IllegalArgumentException("no case '" + name + "'");
    }
    return found;
  }

  static double median(List<Double> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }
}
