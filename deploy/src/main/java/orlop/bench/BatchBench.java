package orlop.bench;

import io.grpc.ManagedChannel;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * What it gives that requests for one model run together: a model whose weights cost more to read
 * than to use, in a pod that batches and in one that does not.
 */
@Command(
    name = "batch",
    description = {
      "Measure what it gives that requests which gather run together, on a model of large",
      "dense layers: a pod that batches beside one that does not."
    })
final class BatchBench extends Benchmark {
  private static final int ROUNDS = 5;
  private static final int COLUMNS = 1_024;
  private static final int MANY = 64;

  @Option(
      names = "--seconds",
      paramLabel = "N",
      description = "Seconds for each case: half of them warm up. Default: 20.")
  private int seconds = 20;

  /** One case and what its windows showed. */
  private record Case(LoadGenerator.Case what, List<Double> perSecond, List<Double> p50) {
    static Case of(String name, int inFlight, ManagedChannel channel, byte[] message) {
      return new Case(
          ServeBench.single(name, inFlight, channel, message),
          new ArrayList<>(),
          new ArrayList<>());
    }

    void run(long ms) throws InterruptedException {
      LoadGenerator.Window window = LoadGenerator.run(what, ms);
      perSecond.add(window.perSecond());
      p50.add(window.p50());
    }
  }

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Path models = Files.createTempDirectory("orlop-bench-batch-");
    List<String> heap = List.of("-Xmx256m");
    try (Client client = new Client()) {
      ServeBench.write(models, "dense", BenchModels.dense(1, COLUMNS, 4 * COLUMNS, COLUMNS));
      try (BenchProcess batching =
              BenchProcess.start(ServePod.class, heap, models.toString(), "true");
          BenchProcess single =
              BenchProcess.start(ServePod.class, heap, models.toString(), "false")) {
        byte[] message = ServeBench.request("dense", COLUMNS).toByteArray();
        ManagedChannel toBatching = client.channel(batching.announced());
        ManagedChannel toSingle = client.channel(single.announced());
        Case batchedMany = Case.of("batching, 64 in flight", MANY, toBatching, message);
        Case singleMany = Case.of("one by one, 64", MANY, toSingle, message);
        Case batchedOne = Case.of("batching, 1", 1, toBatching, message);
        Case singleOne = Case.of("one by one, 1", 1, toSingle, message);
        List<Case> cases = List.of(batchedMany, singleMany, batchedOne, singleOne);
        run(cases, table);
        return new Figures()
            .atLeast(
                "throughputGain",
                ServeBench.median(batchedMany.perSecond) / ServeBench.median(singleMany.perSecond),
                2)
            .atMost(
                "c1LatencyRatio",
                ServeBench.median(batchedOne.p50) / ServeBench.median(singleOne.p50),
                1.05);
      }
    } finally {
      Bench.delete(models);
    }
  }

  private void run(List<Case> cases, PrintWriter table) throws InterruptedException {
    for (Case each : cases) {
      LoadGenerator.run(each.what, seconds * 500L);
    }
    long windowMs = Math.max(200, seconds * 500L / ROUNDS);
    for (int round = 0; round < ROUNDS; round++) {
      for (Case each : cases) {
        each.run(windowMs);
      }
    }
    table.printf(Locale.ROOT, "%n  %-24s %10s %10s%n", "", "calls/s", "p50 µs");
    for (Case each : cases) {
      table.printf(
          Locale.ROOT,
          "  %-24s %10.0f %10.0f%n",
          each.what.name(),
          ServeBench.median(each.perSecond),
          ServeBench.median(each.p50));
    }
  }
}
