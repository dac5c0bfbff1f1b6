package orlop.bench;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import orlop.placement.Eviction;
import orlop.sim.EvictionCost;
import orlop.sim.Replay;
import orlop.sim.Trace;
import orlop.sim.Traffic.Plan;
import orlop.sim.Traffic.Shape;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code orlop bench policy}: what each eviction policy costs in load time. The same trace goes
 * through the production cache with each policy; what counts is the seconds spent on loads after a
 * warm-up of a quarter of the calls.
 */
@Command(
    name = "policy",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Compare eviction policies: load seconds under LRU divided by load seconds under each.",
      "Replays synthetic traces through the production cache; a number above 1 is a saving."
    })
final class PolicyBench extends Benchmark {
  private static final double[] CAPACITIES = {0.05, 0.10, 0.20};
  private static final long DAY_NS = 3_600_000_000_000L;
  private static final double CALLS_PER_SECOND = 40;
  private static final double SCAN_EVERY_SECONDS = 600;

  /** A kind of traffic. */
  private record Workload(String name, Shape shape, double zipf, int changeEvery) {}

  private static final List<Workload> WORKLOADS =
      List.of(
          new Workload("zipf 0.7", Shape.ZIPF, 0.7, 50_000),
          new Workload("zipf 0.9", Shape.ZIPF, 0.9, 50_000),
          new Workload("zipf 1.1", Shape.ZIPF, 1.1, 50_000),
          new Workload("zipf 1.2", Shape.ZIPF, 1.2, 50_000),
          new Workload("azure", Shape.AZURE, 0.9, 50_000),
          new Workload("azure, restless", Shape.AZURE, 0.9, 5_000),
          new Workload("diurnal", Shape.DIURNAL, 0.9, 50_000),
          new Workload("flash crowds", Shape.FLASH_CROWD, 0.9, 50_000),
          new Workload("scans", Shape.SCAN, 0.9, 50_000),
          new Workload("roll-outs", Shape.ROLL_OUT, 0.9, 50_000),
          new Workload("churn", Shape.CHURN, 0.9, 50_000));

  @Option(names = "--models", defaultValue = "2000", description = "Models. Default: 2000")
  int models;

  @Option(names = "--calls", defaultValue = "120000", description = "Calls. Default: 120000")
  int calls;

  @Option(names = "--seeds", defaultValue = "3", description = "Seeds of each cell. Default: 3")
  int seeds;

  @Option(names = "--seed", defaultValue = "7001", description = "The first seed. Default: 7001")
  long seed;

  /** One workload, capacity and seed: LRU's load seconds over the others'. */
  private record Cell(double[] gains, double clairvoyant, double gapClosed) {
    double byDefault() {
      return gains[Eviction.ADAPTIVE.ordinal()];
    }
  }

  @Override
  Figures measure(PrintWriter table) {
    table.printf(
        Locale.ROOT,
        "%d models of 1 MB to 4 GB, %d calls at %.0f/s, seeds %d to %d; capacity is a share of all bytes.%n",
        models,
        calls,
        CALLS_PER_SECOND,
        seed,
        seed + seeds - 1);
    table.printf(
        "LRU's load seconds divided by each policy's (medians over the seeds; least for the default).%n%n");
    table.printf(
        "%-17s%6s%8s%8s%9s%10s%8s%13s%n",
        "workload", "share", "gds", "gdsf", "density", "adaptive", "least", "clairvoyant");
    List<Double> zipf = new ArrayList<>();
    List<Double> azure = new ArrayList<>();
    List<Double> all = new ArrayList<>();
    List<Double> gaps = new ArrayList<>();
    for (Workload workload : WORKLOADS) {
      for (double capacity : CAPACITIES) {
        List<Cell> cells = new ArrayList<>();
        for (int i = 0; i < seeds; i++) {
          cells.add(cell(workload, capacity, seed + i));
        }
        print(table, workload, capacity, cells);
        for (Cell cell : cells) {
          all.add(cell.byDefault());
          gaps.add(cell.gapClosed());
          if (workload.shape() == Shape.ZIPF) {
            zipf.add(cell.byDefault());
          } else if (workload.shape() == Shape.AZURE) {
            azure.add(cell.byDefault());
          }
        }
      }
    }
    Figures figures =
        new Figures()
            .atLeast("zipfMedian", median(zipf), 1.35)
            .atLeast("azureMedian", median(azure), 1.15)
            .atLeast("worstCell", Collections.min(all), 1.0)
            .add("cells", all.size())
            .add("oracleGapClosed", median(gaps));
    scans(table, figures);
    EvictionCost.Result cost = EvictionCost.measure(Eviction.ADAPTIVE, 20_000, 20_000);
    return figures
        .add("evictionMicrosAt20k", cost.microsPerEviction())
        .add(
            "lruEvictionMicrosAt20k",
            EvictionCost.measure(Eviction.LRU, 20_000, 20_000).microsPerEviction());
  }

  private Plan plan(Workload workload, long ofSeed) {
    return new Plan(
        workload.shape(),
        models,
        CALLS_PER_SECOND,
        workload.zipf(),
        DAY_NS,
        workload.changeEvery(),
        ofSeed);
  }

  private Cell cell(Workload workload, double capacity, long ofSeed) {
    Trace trace = Trace.of(plan(workload, ofSeed), calls);
    long bytes = (long) (trace.bytes(models) * capacity);
    double[] seconds = new double[Eviction.values().length];
    for (Eviction eviction : Eviction.values()) {
      seconds[eviction.ordinal()] =
          Replay.run(trace, bytes, eviction.policy(), calls / 4).loadSeconds();
    }
    double lru = seconds[Eviction.LRU.ordinal()];
    double oracle = Replay.runClairvoyant(trace, bytes, calls / 4).loadSeconds();
    double[] gains = new double[seconds.length];
    for (int i = 0; i < gains.length; i++) {
      gains[i] = lru / seconds[i];
    }
    double closed = (lru - seconds[Eviction.ADAPTIVE.ordinal()]) / (lru - oracle);
    return new Cell(gains, lru / oracle, closed);
  }

  private static void print(
      PrintWriter table, Workload workload, double capacity, List<Cell> cells) {
    table.printf(
        Locale.ROOT,
        "%-17s%5.0f%%%8.2f%8.2f%9.2f%10.2f%8.2f%13.2f%n",
        workload.name(),
        capacity * 100,
        medianOf(cells, Eviction.GDS),
        medianOf(cells, Eviction.GDSF),
        medianOf(cells, Eviction.DENSITY),
        medianOf(cells, Eviction.ADAPTIVE),
        Collections.min(cells.stream().map(Cell::byDefault).toList()),
        median(cells.stream().map(Cell::clairvoyant).toList()));
    table.flush();
  }

  /** What scans of everything take from the hit ratio of the hot traffic between them. */
  private void scans(PrintWriter table, Figures figures) {
    Workload calm = new Workload("", Shape.ZIPF, 0.9, 50_000);
    Workload scanned = new Workload("", Shape.SCAN, 0.9, 50_000);
    table.printf("%nHit ratio of the hot traffic, points lost when scans run (10 %% capacity):%n");
    double[] worst = new double[Eviction.values().length];
    for (Eviction eviction : Eviction.values()) {
      for (int i = 0; i < seeds; i++) {
        // Scans add calls; without them both traces are the same.
        int scans = (int) (calls / CALLS_PER_SECOND / SCAN_EVERY_SECONDS);
        Trace without = Trace.of(plan(calm, seed + i), calls);
        Trace with = Trace.of(plan(scanned, seed + i), calls + scans * models);
        long bytes = (long) (without.bytes(models) * 0.10);
        double before = Replay.run(without, bytes, eviction.policy(), calls / 4).hotHitRatio();
        double after = Replay.run(with, bytes, eviction.policy(), calls / 4).hotHitRatio();
        worst[eviction.ordinal()] = Math.max(worst[eviction.ordinal()], 100 * (before - after));
      }
      table.printf(Locale.ROOT, "  %-10s%6.2f%n", eviction, worst[eviction.ordinal()]);
    }
    figures
        .atMost("scanHitDropPoints", worst[Eviction.ADAPTIVE.ordinal()], 2)
        .add("lruScanHitDropPoints", worst[Eviction.LRU.ordinal()]);
  }

  private static double medianOf(List<Cell> cells, Eviction eviction) {
    return median(cells.stream().map(cell -> cell.gains()[eviction.ordinal()]).toList());
  }

  private static double median(List<Double> values) {
    List<Double> sorted = values.stream().sorted().toList();
    int middle = sorted.size() / 2;
    return sorted.size() % 2 == 1
        ? sorted.get(middle)
        : (sorted.get(middle - 1) + sorted.get(middle)) / 2;
  }
}
