package orlop.sim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.PriorityQueue;
import java.util.SplittableRandom;

/**
 * Azure-shaped traffic, on one pod for each model and on meshes: all get the same calls, each with
 * the same work.
 */
final class PodsTrial {
  private static final double SERVICE_MS = 20;
  private static final int THREADS = 4;
  private static final long WARM_NS = 60 * Timeline.MINUTE;

  /** A call that waited for longer than this before it was served was cold. */
  private static final long COLD_NS = Timeline.SECOND / 2;

  private static final long DEADLINE_MS = 300_000;

  /** An idle pod of a model goes after this, and starts in this and the model's load. */
  private static final long IDLE_NS = 60 * Timeline.SECOND;

  private static final long START_NS = 5 * Timeline.SECOND;

  /** The calls, in the order of their times since the start. */
  private record Work(long[] atNs, int[] model, long[] serviceNs) {
    int calls() {
      return atNs.length;
    }

    long lastNs() {
      return atNs[atNs.length - 1];
    }
  }

  private final Work work;
  private final Stock.Item[] items;
  private final long seed;

  PodsTrial(int models, double callsPerSecond, int minutes, long seed) {
    this.seed = seed;
    this.work = work(models, callsPerSecond, minutes, seed);
    this.items = new Stock.Item[models];
    Arrays.setAll(items, Stock.of(seed)::item);
  }

  private static Work work(int models, double callsPerSecond, int minutes, long seed) {
    Traffic traffic =
        new Traffic(Traffic.Plan.of(Traffic.Shape.AZURE, models, callsPerSecond, 1, seed));
    SplittableRandom random = new SplittableRandom(seed);
    int size = (int) (callsPerSecond * 60 * minutes * 2) + 1_000;
    long[] at = new long[size];
    int[] model = new int[size];
    long[] service = new long[size];
    int n = 0;
    while (n < size) {
      traffic.next();
      if (traffic.timeNs() > minutes * Timeline.MINUTE) {
        break;
      }
      at[n] = traffic.timeNs();
      model[n] = traffic.model();
      service[n++] = PlannerMesh.serviceNs(random, SERVICE_MS);
    }
    return new Work(Arrays.copyOf(at, n), Arrays.copyOf(model, n), Arrays.copyOf(service, n));
  }

  List<PlannerTrials.Cost> run(long podBytes, int[] meshes) {
    List<PlannerTrials.Cost> costs = new ArrayList<>();
    costs.add(alone("one pod per model, always on", false));
    costs.add(alone("one pod per model, from zero", true));
    for (int pods : meshes) {
      costs.add(mesh(pods, podBytes));
    }
    return costs;
  }

  // One pod for each model.

  /** The pod of one model. */
  private static final class OwnPod {
    private final PriorityQueue<Long> threadsFreeNs = new PriorityQueue<>();
    private final long loadNs;
    private final boolean goes;
    private long readyNs;
    private long lastNs;
    private double onNs;

    OwnPod(long loadNs, boolean goes) {
      this.loadNs = loadNs;
      this.goes = goes;
      this.lastNs = goes ? Long.MIN_VALUE / 2 : 0;
      for (int t = 0; t < THREADS; t++) {
        threadsFreeNs.add(0L);
      }
    }

    void call(long atNs, long serviceNs, Latencies latencies) {
      boolean cold = goes && atNs - lastNs > IDLE_NS;
      if (cold) {
        readyNs = atNs + START_NS + loadNs;
      }
      long beginNs = Math.max(Math.max(atNs, threadsFreeNs.remove()), readyNs);
      long endNs = beginNs + serviceNs;
      threadsFreeNs.add(endNs);
      onNs += cold ? IDLE_NS + (readyNs - atNs) : Math.max(0, endNs - Math.max(lastNs, 0));
      lastNs = Math.max(lastNs, endNs);
      latencies.add(atNs, endNs - atNs, beginNs - atNs > COLD_NS);
    }
  }

  private PlannerTrials.Cost alone(String how, boolean goes) {
    OwnPod[] pods = new OwnPod[items.length];
    Arrays.setAll(pods, m -> new OwnPod(items[m].loadNs(), goes));
    Latencies latencies = new Latencies(work.calls());
    for (int k = 0; k < work.calls(); k++) {
      pods[work.model[k]].call(work.atNs[k], work.serviceNs[k], latencies);
    }
    double onNs = Arrays.stream(pods).mapToDouble(pod -> pod.onNs).sum();
    return latencies.cost(how, goes ? onNs / work.lastNs() : items.length);
  }

  // Meshes.

  private PlannerTrials.Cost mesh(int pods, long podBytes) {
    PlannerMesh mesh =
        new PlannerMesh(
            PlannerSetup.of(pods, podBytes, seed)
                .deadlineMs(DEADLINE_MS)
                .threads(THREADS)
                .serviceMs(SERVICE_MS));
    for (int i = 0; i < items.length; i++) {
      mesh.register("m" + i, items[i].sizeBytes(), items[i].loadNs());
    }
    mesh.view();
    Latencies latencies = new Latencies(work.calls());
    mesh.clockwork(
        (id, startNs, tookNs) ->
            latencies.add(
                startNs - Timeline.START_NS,
                tookNs < 0 ? DEADLINE_MS * Timeline.MS : tookNs,
                tookNs < 0 || tookNs > COLD_NS));
    next(mesh, 0);
    mesh.timeline().runUntil(Timeline.START_NS + work.lastNs() + Timeline.MINUTE);
    return latencies.cost("mesh of " + pods, pods);
  }

  private void next(PlannerMesh mesh, int k) {
    if (k < work.calls()) {
      mesh.timeline()
          .after(
              Timeline.START_NS + work.atNs[k] - mesh.nowNs(),
              () -> {
                mesh.call("m" + work.model[k], work.serviceNs[k]);
                next(mesh, k + 1);
              });
    }
  }

  /** Of the calls after the warm-up. */
  private static final class Latencies {
    private final long[] tookNs;
    private int count;
    private int cold;

    Latencies(int most) {
      tookNs = new long[most];
    }

    void add(long atNs, long ns, boolean wasCold) {
      if (atNs >= WARM_NS) {
        tookNs[count++] = ns;
        cold += wasCold ? 1 : 0;
      }
    }

    PlannerTrials.Cost cost(String how, double pods) {
      long[] sorted = Arrays.copyOf(tookNs, count);
      Arrays.sort(sorted);
      double mean = Arrays.stream(sorted).average().orElse(0) / 1e6;
      double p99 = count == 0 ? 0 : sorted[(int) Math.ceil(count * 0.99) - 1] / 1e6;
      double coldPercent = count == 0 ? 0 : 100.0 * cold / count;
      return new PlannerTrials.Cost(how, pods, mean, p99, coldPercent);
    }
  }
}
