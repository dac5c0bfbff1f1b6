package orlop.bench;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import orlop.placement.Eviction;
import orlop.sim.PlacementTrial;
import orlop.sim.PlacementTrial.Herd;
import orlop.sim.PlacementTrial.Result;
import orlop.sim.PlacementTrial.Rules;
import orlop.sim.PlacementTrial.Setup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * How long calls wait for loads, against ModelMesh's placement rules: two meshes, three loads each,
 * in virtual time; then fifty cold models called at once. A ratio is the smallest of all meshes,
 * loads and seeds, against the better of the two ways in which the incumbent's rules can be read.
 */
@Command(
    name = "placement",
    mixinStandardHelpOptions = true,
    description = {
      "How long calls wait for loads, against ModelMesh's placement rules, in virtual time."
    })
final class PlacementBench extends Benchmark {
  private static final int LOADERS = 4;
  private static final long POD_BYTES = 8_000_000_000L;
  private static final int MODELS_PER_POD = 200;
  private static final double ZIPF = 0.9;
  private static final long LAG_MS = 500;
  private static final double[] CALLS_PER_S_AND_POD = {1, 4, 10};
  private static final int HERD_PODS = 5;
  private static final int HERD_MODELS = 50;
  private static final int HERD_SEEDS = 40;

  /** One mesh at one load. */
  private record Cell(int pods, double callsPerSAndPod, long seed) {}

  @Option(
      names = "--pods",
      split = ",",
      paramLabel = "N",
      description = "Sizes of the meshes. Default: ${DEFAULT-VALUE}.")
  List<Integer> pods = List.of(200, 1_000);

  @Option(
      names = "--seed",
      paramLabel = "S",
      description = "First seed. Default: ${DEFAULT-VALUE}.")
  long seed = 1;

  @Override
  Figures measure(PrintWriter table) throws Exception {
    table.println(
        """
        Wait for loads, milliseconds, over all calls; loader use; loads of the busiest pod ÷ mean
             pods  calls/s/pod  seed  rules                 mean       p99   miss    use  busiest  failed\
        """);
    List<Cell> cells = cells();
    double meanRatio = Double.MAX_VALUE;
    double p99Ratio = Double.MAX_VALUE;
    try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
      List<Map<Rules, Future<Result>>> runs = new ArrayList<>();
      for (Cell cell : cells) {
        Map<Rules, Future<Result>> byRules = new EnumMap<>(Rules.class);
        for (Rules rules : Rules.values()) {
          Callable<Result> run = () -> PlacementTrial.run(setup(cell, rules));
          byRules.put(rules, threads.submit(run));
        }
        runs.add(byRules);
      }
      for (int i = 0; i < cells.size(); i++) {
        Map<Rules, Result> results = new EnumMap<>(Rules.class);
        for (Map.Entry<Rules, Future<Result>> run : runs.get(i).entrySet()) {
          results.put(run.getKey(), run.getValue().get());
          print(table, cells.get(i), run.getKey(), run.getValue().get());
        }
        meanRatio = Math.min(meanRatio, ratio(results, Result::meanWaitMs));
        p99Ratio = Math.min(p99Ratio, ratio(results, Result::p99WaitMs));
      }
    }
    Figures figures =
        new Figures().atLeast("meanWaitRatio", meanRatio, 3).atLeast("p99WaitRatio", p99Ratio, 2);
    return herd(table, figures);
  }

  private List<Cell> cells() {
    List<Cell> cells = new ArrayList<>();
    for (int size : pods) {
      int seeds = size <= 200 ? 2 : 1;
      for (double rate : CALLS_PER_S_AND_POD) {
        for (int s = 0; s < seeds; s++) {
          cells.add(new Cell(size, rate, seed + s));
        }
      }
    }
    return cells;
  }

  private static Setup setup(Cell cell, Rules rules) {
    boolean large = cell.pods > 200;
    return new Setup(
        rules,
        cell.pods,
        cell.pods * MODELS_PER_POD,
        POD_BYTES,
        LOADERS,
        cell.callsPerSAndPod * cell.pods,
        ZIPF,
        LAG_MS,
        large ? 20 : 30,
        large ? 30 : 60,
        cell.seed,
        rules == Rules.ORLOP ? Eviction.ADAPTIVE : Eviction.LRU);
  }

  /** Of a wait, the better of the incumbents' ÷ ours. */
  private static double ratio(
      Map<Rules, Result> results, java.util.function.ToDoubleFunction<Result> wait) {
    double theirs = Double.MAX_VALUE;
    double ours = 0;
    for (Map.Entry<Rules, Result> result : results.entrySet()) {
      double ms = wait.applyAsDouble(result.getValue());
      if (result.getKey() == Rules.ORLOP) {
        ours = ms;
      } else if (result.getKey() != Rules.INCUMBENT_ALL_SEEING) {
        theirs = Math.min(theirs, ms);
      }
    }
    return theirs / Math.max(1, ours);
  }

  private static void print(PrintWriter table, Cell cell, Rules rules, Result r) {
    table.printf(
        Locale.ROOT,
        "%9d %12.1f %5d  %-20s %6.0f %9.0f %6.3f %6.3f %8.2f %7d%n",
        cell.pods,
        cell.callsPerSAndPod,
        cell.seed,
        rules.name().toLowerCase(Locale.ROOT).replace('_', ' '),
        r.meanWaitMs(),
        r.p99WaitMs(),
        r.missRatio(),
        r.loaderUse(),
        r.busiestOverMean(),
        r.failed());
    table.flush();
  }

  /** The mean of many seeds, of sizes as they are and of models alike; the worse of the two. */
  private Figures herd(PrintWriter table, Figures figures) {
    table.printf(
        Locale.ROOT,
        "%n%d cold models called at once over %d pods whose views are 40 s old, mean of %d seeds%n"
            + "    models    rules                 max/mean  makespan/ideal%n",
        HERD_MODELS,
        HERD_PODS,
        HERD_SEEDS);
    double worstShare = 0;
    double worstMakespan = 0;
    for (boolean alike : new boolean[] {false, true}) {
      for (Rules rules : Rules.values()) {
        double share = 0;
        double makespan = 0;
        for (int s = 0; s < HERD_SEEDS; s++) {
          Herd herd = PlacementTrial.herd(herdSetup(rules, seed + s), alike);
          share += herd.maxOverMean() / HERD_SEEDS;
          makespan += herd.makespanOverIdeal() / HERD_SEEDS;
        }
        table.printf(
            Locale.ROOT,
            "    %-9s %-20s %9.2f %15.2f%n",
            alike ? "alike" : "realistic",
            rules.name().toLowerCase(Locale.ROOT).replace('_', ' '),
            share,
            makespan);
        if (rules == Rules.ORLOP) {
          worstShare = Math.max(worstShare, share);
          worstMakespan = Math.max(worstMakespan, makespan);
        }
      }
    }
    return figures
        .atMost("herdMaxOverMean", worstShare, 1.5)
        .atMost("herdMakespanOverIdeal", worstMakespan, 1.3);
  }

  private static Setup herdSetup(Rules rules, long seed) {
    return new Setup(
        rules,
        HERD_PODS,
        HERD_MODELS,
        POD_BYTES,
        LOADERS,
        1,
        ZIPF,
        0,
        0,
        0,
        seed,
        rules == Rules.ORLOP ? Eviction.ADAPTIVE : Eviction.LRU);
  }
}
