package orlop.sim;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.CopyState;
import orlop.placement.Planner;

/** Diurnal traffic on a mesh whose copies come and go with the tide. */
final class DayTrial {
  private static final int MODELS = 150;

  /** What happened to one model's number of copies. */
  private static final class Copies {
    final Set<String> pods = new HashSet<>();

    /** When the number last rose to the index, and when it last fell from it. */
    final long[] roseNs = new long[64];

    final long[] fellNs = new long[64];

    int most() {
      int most = 0;
      for (int n = 0; n < roseNs.length; n++) {
        most = roseNs[n] > 0 ? n : most;
      }
      return most;
    }
  }

  private final PlannerMesh mesh;
  private final Traffic traffic;
  private final long endNs;
  private final Map<String, Copies> copies = new HashMap<>();
  private final Rates rates = new Rates();
  private int added;
  private int removed;
  private int again;
  private int flaps;
  private long late;

  DayTrial(int hours, long seed) {
    endNs = (long) hours * 60 * Timeline.MINUTE;
    traffic = new Traffic(Traffic.Plan.of(Traffic.Shape.DIURNAL, MODELS, 12, 0.9, seed));
    mesh =
        new PlannerMesh(
            PlannerSetup.of(PlannerTrials.PODS, 16 * PlannerTrials.GB, seed)
                .planEveryMs(5_000)
                .deadlineMs(90_000)
                .serviceMs(100)
                .planner(config()));
    Stock stock = new Stock(seed, 400 * Stock.MB);
    for (int i = 0; i < MODELS; i++) {
      Stock.Item item = stock.item(i);
      mesh.register("m" + i, item.sizeBytes(), item.loadNs());
    }
    mesh.view();
    mesh.watch(this::changed);
    mesh.clockwork((id, startNs, tookNs) -> late += tookNs > Timeline.SECOND ? 1 : 0);
  }

  /** The defaults, but for how many calls a copy bears. */
  private static Planner.Config config() {
    Planner.Config d = Planner.Config.defaults();
    return new Planner.Config(
        d.maxChanges(),
        d.steadyMs(),
        d.hotMs(),
        d.hotCallsPerMinute(),
        15,
        d.trimAfterMs(),
        d.keepFreePercent(),
        d.queuedMs(),
        d.recentMs(),
        d.idleUnloadMs());
  }

  PlannerTrials.Day run() {
    next();
    mesh.timeline().runUntil(Timeline.START_NS + endNs);
    PlannerMesh.Counts counts = mesh.counts();
    return new PlannerTrials.Day(
        counts.calls,
        added,
        removed,
        again,
        flaps,
        copies.values().stream().mapToInt(Copies::most).max().orElse(0),
        counts.failed,
        100.0 * (counts.calls - late) / counts.calls);
  }

  private void next() {
    traffic.next();
    long atNs = traffic.timeNs();
    if (atNs > endNs) {
      return;
    }
    String id = "m" + traffic.model();
    mesh.timeline()
        .after(
            Timeline.START_NS + atNs - mesh.nowNs(),
            () -> {
              rates.called(id, mesh.nowNs());
              mesh.call(id);
              next();
            });
  }

  private void changed(String podId, String id, @Nullable CopyState state) {
    Copies known = copies.computeIfAbsent(id, key -> new Copies());
    if (state instanceof CopyState.Loaded) {
      if (known.pods.add(podId)) {
        rose(id, known);
      }
    } else if (!(state instanceof CopyState.Loading) && known.pods.contains(podId)) {
      int n = known.pods.size();
      known.pods.remove(podId);
      known.fellNs[n] = mesh.nowNs();
      removed += n > 1 ? 1 : 0;
    }
  }

  private void rose(String id, Copies known) {
    int n = known.pods.size();
    long nowNs = mesh.nowNs();
    long beforeNs = known.roseNs[n];
    known.roseNs[n] = nowNs;
    if (n > 1) {
      added++;
      boolean within = beforeNs > 0 && nowNs - beforeNs <= 60 * Timeline.MINUTE;
      if (within && known.fellNs[n] > beforeNs) {
        again++;
        flaps += rates.steady(id, beforeNs, nowNs) ? 1 : 0;
      }
    }
  }

  /** Calls of each model in each minute, averaged over five. */
  private static final class Rates {
    private static final int WINDOW = 5;
    private static final double HYSTERESIS = 1.5;
    private final Map<String, Map<Integer, Integer>> minutes = new HashMap<>();

    void called(String id, long atNs) {
      minutes.computeIfAbsent(id, key -> new HashMap<>()).merge(minute(atNs), 1, Integer::sum);
    }

    private static int minute(long atNs) {
      return (int) ((atNs - Timeline.START_NS) / Timeline.MINUTE);
    }

    /** Whether the demand stayed within the hysteresis all the time. */
    boolean steady(String id, long fromNs, long toNs) {
      Map<Integer, Integer> own = minutes.getOrDefault(id, Map.of());
      double least = Double.MAX_VALUE;
      double most = 0;
      for (int m = minute(fromNs) - WINDOW; m <= minute(toNs) - WINDOW; m++) {
        int sum = 0;
        for (int k = 0; k < WINDOW; k++) {
          sum += own.getOrDefault(m + k, 0);
        }
        least = Math.min(least, sum);
        most = Math.max(most, sum);
      }
      return most <= HYSTERESIS * least;
    }
  }
}
