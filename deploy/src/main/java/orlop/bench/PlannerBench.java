package orlop.bench;

import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import orlop.sim.PlannerTrials;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code orlop bench planner}: what drains, deaths, tides and idle models cost. */
@Command(
    name = "planner",
    mixinStandardHelpOptions = true,
    description = {
      "How many copies, and when: rolling restart, a killed pod, the second copy, a day's tides,",
      "and the pods that a mesh needs beside one pod for each model. In virtual time."
    })
final class PlannerBench extends Benchmark {
  private static final double SECOND_COPY_SECONDS = 60;
  private static final double POD_RATIO = 0.2;

  /** Above it the pods that stay have no room for all that is in use beside what is being moved. */
  private static final int TIGHT_PERCENT = 80;

  @Option(
      names = "--seeds",
      defaultValue = "3",
      description = "Of restart, kill and second copy. Default: ${DEFAULT-VALUE}.")
  int seeds = 3;

  @Option(
      names = "--long-seeds",
      defaultValue = "1",
      description = "Of the day and of the Azure-shaped traffic. Default: ${DEFAULT-VALUE}.")
  int longSeeds = 1;

  @Option(
      names = "--hours",
      defaultValue = "24",
      description = "Of the diurnal day. Default: ${DEFAULT-VALUE}.")
  int hours = 24;

  @Option(
      names = "--models",
      defaultValue = "400",
      description = "Of the Azure-shaped traffic. Default: ${DEFAULT-VALUE}.")
  int models = 400;

  @Override
  Figures measure(PrintWriter table) {
    Figures figures = new Figures();
    drain(table, figures);
    kill(table, figures);
    second(table, figures);
    day(table, figures);
    pods(table, figures);
    return figures;
  }

  private void drain(PrintWriter table, Figures figures) {
    say(
        table,
        "%nRolling restart: 8 pods of 16 GiB, 2 loads at a time of 25 s each, deadline 10 s,"
            + " successor after 10 s%n  %6s %6s %6s %8s %8s %9s %11s",
        "fill %",
        "seed",
        "models",
        "calls",
        "failed",
        "minutes",
        "slowest ms");
    long failed = 0;
    long tight = 0;
    for (int fill : new int[] {50, 70, 90}) {
      for (int seed = 1; seed <= seeds; seed++) {
        PlannerTrials.Drain drain = PlannerTrials.drain(fill, seed);
        if (fill > TIGHT_PERCENT) {
          tight += drain.failed();
        } else {
          failed += drain.failed();
        }
        say(
            table,
            "  %6d %6d %6d %8d %8d %9.1f %11.0f",
            fill,
            seed,
            drain.models(),
            drain.calls(),
            drain.failed(),
            drain.minutes(),
            drain.lateMs());
      }
    }
    figures.atMost("drainFailedCalls", failed, 0).add("drainFailedCallsWhenTight", tight);
  }

  private void kill(PrintWriter table, Figures figures) {
    say(
        table,
        "%nOne pod of eight killed: 72 models, 12 fit a pod, lease 10 s, loads of 25 s%n"
            + "  %6s %8s %6s %8s %8s %16s",
        "seed",
        "lease s",
        "lost",
        "home s",
        "bound s",
        "new pod warm s");
    double worst = 0;
    double bound = 0;
    double warm = 0;
    double lease = 0;
    for (int seed = 1; seed <= seeds; seed++) {
      PlannerTrials.Kill kill = PlannerTrials.kill(seed);
      worst = Math.max(worst, kill.rehomeSeconds());
      bound = kill.boundSeconds();
      warm = Math.max(warm, kill.newPodSeconds());
      lease = Math.max(lease, kill.leaseSeconds());
      say(
          table,
          "  %6d %8.1f %6d %8.1f %8.1f %16.1f",
          seed,
          kill.leaseSeconds(),
          kill.lost(),
          kill.rehomeSeconds(),
          kill.boundSeconds(),
          kill.newPodSeconds());
    }
    figures
        .atMost("rehomeSeconds", worst, bound)
        .add("leasePlusLoadSeconds", bound)
        .add("leaseEndedSeconds", lease)
        .add("newPodWarmSeconds", warm);
  }

  private void second(PrintWriter table, Figures figures) {
    say(
        table,
        "%nSecond copy: 16 models called every 1 to 4 s, 16 called once, twice, in one burst or"
            + " every 100 s; loads of 25 s%n  %6s %10s %12s %9s %8s",
        "seed",
        "slowest s",
        "from cold s",
        "without",
        "one-off");
    double slowest = 0;
    double cold = 0;
    int oneOff = 0;
    for (int seed = 1; seed <= seeds; seed++) {
      PlannerTrials.Second second = PlannerTrials.second(seed);
      slowest =
          Math.max(
              slowest, second.without() > 0 ? Double.POSITIVE_INFINITY : second.slowestSeconds());
      cold = Math.max(cold, second.fromColdSeconds());
      oneOff += second.oneOff();
      say(
          table,
          "  %6d %10.1f %12.1f %9d %8d",
          seed,
          second.slowestSeconds(),
          second.fromColdSeconds(),
          second.without(),
          second.oneOff());
    }
    figures
        .atMost("secondCopySeconds", slowest, SECOND_COPY_SECONDS)
        .add("secondCopyFromColdSeconds", cold)
        .atMost("oneOffSecondCopies", oneOff, 0);
  }

  private void day(PrintWriter table, Figures figures) {
    say(
        table,
        "%nDiurnal day of %d h: 8 pods of 16 GiB, 150 models, 12 calls/s on average, 100 ms each,"
            + " a copy bears 15 calls a minute%n  %6s %9s %7s %8s %7s %6s %12s %7s %9s",
        hours,
        "seed",
        "calls",
        "added",
        "removed",
        "again",
        "flaps",
        "most copies",
        "failed",
        "prompt %");
    int flaps = 0;
    int again = 0;
    for (int seed = 1; seed <= longSeeds; seed++) {
      PlannerTrials.Day day = PlannerTrials.day(hours, seed);
      flaps += day.flaps();
      again += day.again();
      say(
          table,
          "  %6d %9d %7d %8d %7d %6d %12d %7d %9.3f",
          seed,
          day.calls(),
          day.added(),
          day.removed(),
          day.again(),
          day.flaps(),
          day.mostCopies(),
          day.failed(),
          day.hitPercent());
    }
    figures.atMost("flaps", flaps, 0).add("addedAgainWithinHour", again);
  }

  private void pods(PrintWriter table, Figures figures) {
    int[] meshes = {2, 4, 6, 8};
    say(
        table,
        "%nAzure-shaped traffic: %d models of 1 MB to 4 GB, 20 calls/s on average, 20 ms each; all"
            + " pods with 4 threads and 8 GiB; 2 h, the first not counted%n  %6s %-30s %8s %9s %9s"
            + " %9s",
        models,
        "seed",
        "",
        "pods",
        "mean ms",
        "p99 ms",
        "cold %");
    double ratio = 0;
    double podsNeeded = 0;
    for (int seed = 1; seed <= longSeeds; seed++) {
      List<PlannerTrials.Cost> costs = PlannerTrials.pods(models, 20, 120, 8L << 30, meshes, seed);
      double goal = costs.getFirst().p99Ms();
      double least = Double.POSITIVE_INFINITY;
      for (PlannerTrials.Cost cost : costs) {
        say(
            table,
            "  %6d %-30s %8.1f %9.2f %9.2f %9.4f",
            seed,
            cost.how(),
            cost.pods(),
            cost.meanMs(),
            cost.p99Ms(),
            cost.coldPercent());
        if (cost.how().startsWith("mesh") && cost.p99Ms() <= goal) {
          least = Math.min(least, cost.pods());
        }
      }
      podsNeeded = Math.max(podsNeeded, least);
      ratio = Math.max(ratio, least / models);
    }
    figures.add("podsForEqualP99", podsNeeded).atMost("podRatio", ratio, POD_RATIO);
  }

  private static void say(PrintWriter table, String format, Object... values) {
    table.println(String.format(Locale.ROOT, format, values));
    table.flush();
  }
}
