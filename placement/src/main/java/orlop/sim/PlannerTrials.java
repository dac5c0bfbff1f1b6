package orlop.sim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import orlop.placement.CopyState;
import orlop.placement.MeshView;
import orlop.placement.Planner;

/**
 * What the planner is worth, in virtual time with the production classes. Each trial is a function
 * of its parameters and seed.
 */
public final class PlannerTrials {
  private static final long GB = 1L << 30;
  private static final int PODS = 8;
  private static final long WARM_NS = 10 * Timeline.MINUTE;

  private PlannerTrials() {}

  /** Models of equal size that take a given time to load, called at random, Zipf(0.8) rates. */
  private static final class Callers {
    final PlannerMesh mesh;
    final List<String> ids = new ArrayList<>();
    final double[] perSecond;
    final SplittableRandom random;
    boolean stopped;

    Callers(PlannerMesh mesh, int models, long sizeBytes, long loadNs, double callsPerSecond) {
      this.mesh = mesh;
      this.random = new SplittableRandom(mesh.setup().seed() + 17);
      this.perSecond = new double[models];
      double sum = 0;
      for (int i = 0; i < models; i++) {
        perSecond[i] = Math.pow(i + 1, -0.8);
        sum += perSecond[i];
        String id = "m" + i;
        ids.add(id);
        mesh.register(id, sizeBytes, loadNs);
      }
      for (int i = 0; i < models; i++) {
        perSecond[i] *= callsPerSecond / sum;
      }
      mesh.view();
    }

    void begin() {
      for (int i = 0; i < ids.size(); i++) {
        next(i);
      }
    }

    private void next(int i) {
      long gapNs = (long) (-Math.log(1 - random.nextDouble()) / perSecond[i] * Timeline.SECOND);
      mesh.timeline()
          .after(
              gapNs,
              () -> {
                if (!stopped) {
                  mesh.call(ids.get(i));
                  next(i);
                }
              });
    }
  }

  // Drain.

  /**
   * All pods restarted one after the other.
   *
   * @param fillPercent memory that one copy of each model takes of all pods but one
   * @param calls made from the first drain on
   * @param failed of these, for whatever cause, the deadline of 10 s among them
   * @param minutes from the first drain until the last new pod
   * @param lateMs slowest call
   */
  public record Drain(
      int fillPercent, int models, long calls, long failed, double minutes, double lateMs) {}

  /** Loads take 25 s; the pods' successors start 10 s after them. */
  public static Drain drain(int fillPercent, long seed) {
    PlannerMesh mesh = new PlannerMesh(PlannerMesh.Setup.of(PODS, 16 * GB, seed));
    int models = 14 * (PODS - 1) * fillPercent / 100;
    Callers callers = new Callers(mesh, models, 16 * GB / 14, 25 * Timeline.SECOND, models / 5.0);
    callers.begin();
    mesh.timeline().runUntil(Timeline.START_NS + WARM_NS);
    long calls = mesh.counts().calls;
    long failed = mesh.counts().failed;
    long[] slowest = {0};
    mesh.clockwork((id, startNs, tookNs) -> slowest[0] = Math.max(slowest[0], tookNs));
    long startNs = mesh.nowNs();
    long[] endNs = {0};
    restart(mesh, new ArrayList<>(mesh.live()), endNs);
    while (endNs[0] == 0) {
      mesh.timeline().runUntil(mesh.nowNs() + Timeline.MINUTE);
    }
    long atNs = endNs[0];
    mesh.timeline().runUntil(mesh.nowNs() + 2 * Timeline.MINUTE);
    return new Drain(
        fillPercent,
        models,
        mesh.counts().calls - calls,
        mesh.counts().failed - failed,
        (atNs - startNs) / (double) Timeline.MINUTE,
        slowest[0] / 1e6);
  }

  private static void restart(PlannerMesh mesh, List<PlannerPod> left, long[] endNs) {
    if (left.isEmpty()) {
      endNs[0] = mesh.nowNs();
      return;
    }
    PlannerPod pod = left.removeFirst();
    pod.drain(
        () ->
            mesh.timeline()
                .after(
                    10 * Timeline.SECOND,
                    () -> {
                      mesh.startPod();
                      mesh.timeline().after(Timeline.SECOND, () -> restart(mesh, left, endNs));
                    }));
  }

  // Kill.

  /**
   * One pod of eight is killed.
   *
   * @param leaseSeconds from the kill until the registry knew
   * @param lost models called at least once a minute whose only copy it held
   * @param rehomeSeconds from the kill until all of these stood again
   * @param boundSeconds the lease's full time and the time of a load
   * @param newPodSeconds from the start of its successor until that held half of a fair share
   */
  public record Kill(
      double leaseSeconds,
      int lost,
      double rehomeSeconds,
      double boundSeconds,
      double newPodSeconds) {}

  public static Kill kill(long seed) {
    PlannerMesh.Setup setup = PlannerMesh.Setup.of(PODS, 16 * GB, seed).deadlineMs(90_000);
    PlannerMesh mesh = new PlannerMesh(setup);
    int models = 72;
    long loadNs = 25 * Timeline.SECOND;
    Callers callers = new Callers(mesh, models, 16 * GB / 12, loadNs, models / 6.0);
    callers.begin();
    mesh.timeline().runUntil(Timeline.START_NS + WARM_NS);
    PlannerPod victim = mesh.live().get(3);
    Set<String> lost = new HashSet<>();
    MeshView before = mesh.view();
    for (int i = 0; i < models; i++) {
      String id = callers.ids.get(i);
      boolean only = loaded(before, id) == 1 && before.copy(victim.id(), id) != null;
      if (only && callers.perSecond[i] * 60 >= 1) {
        lost.add(id);
      }
    }
    int count = lost.size();
    long[] homeNs = {mesh.nowNs()};
    mesh.watch(
        (pod, id, state) -> {
          if (state instanceof CopyState.Loaded && lost.remove(id)) {
            homeNs[0] = mesh.nowNs();
          }
        });
    long startNs = mesh.nowNs();
    long leaseNs = mesh.kill(victim);
    while (!lost.isEmpty() && mesh.nowNs() - startNs < 10 * Timeline.MINUTE) {
      mesh.timeline().runUntil(mesh.nowNs() + Timeline.SECOND);
    }
    long newNs = mesh.nowNs();
    PlannerPod successor = mesh.startPod();
    int fair = mesh.live().stream().mapToInt(PlannerPod::loadedModels).sum() / PODS / 2;
    while (successor.loadedModels() < fair && mesh.nowNs() - newNs < 20 * Timeline.MINUTE) {
      mesh.timeline().runUntil(mesh.nowNs() + Timeline.SECOND);
    }
    return new Kill(
        seconds(leaseNs),
        count,
        lost.isEmpty() ? seconds(homeNs[0] - startNs) : Double.POSITIVE_INFINITY,
        seconds(setup.leaseMs() * Timeline.MS + loadNs),
        seconds(mesh.nowNs() - newNs));
  }

  private static int loaded(MeshView view, String modelId) {
    return (int) view.copies(modelId).stream().filter(copy -> copy.isLoaded()).count();
  }

  private static double seconds(long ns) {
    return ns / (double) Timeline.SECOND;
  }

  // The second copy.

  /**
   * Models called every few seconds, and others called once or for a moment.
   *
   * @param slowestSeconds from the first call that was served to the second copy, over the steadily
   *     called ones
   * @param fromColdSeconds the same from the very first call, which waited for the first load
   * @param without steadily called models that had no second copy after five minutes
   * @param oneOff second copies of the others
   */
  public record Second(double slowestSeconds, double fromColdSeconds, int without, int oneOff) {}

  /** Loads take 25 s, memory is free. */
  public static Second second(long seed) {
    PlannerMesh.Setup setup = PlannerMesh.Setup.of(PODS, 16 * GB, seed).deadlineMs(90_000);
    PlannerMesh mesh = new PlannerMesh(setup);
    SplittableRandom random = new SplittableRandom(seed);
    Map<String, Long> calledNs = new HashMap<>();
    Map<String, Long> firstNs = new HashMap<>();
    Map<String, Long> secondNs = new HashMap<>();
    Map<String, Set<String>> where = new HashMap<>();
    mesh.clockwork((id, startNs, tookNs) -> firstNs.putIfAbsent(id, mesh.nowNs()));
    mesh.watch(
        (pod, id, state) -> {
          Set<String> pods = where.computeIfAbsent(id, key -> new HashSet<>());
          if (state instanceof CopyState.Loaded && pods.add(pod) && pods.size() == 2) {
            secondNs.putIfAbsent(id, mesh.nowNs());
          }
        });
    int each = 16;
    for (int i = 0; i < each; i++) {
      String steady = "steady" + i;
      String once = "once" + i;
      for (String id : List.of(steady, once)) {
        mesh.register(id, GB / 2, 25 * Timeline.SECOND);
      }
      long startNs = (20 + random.nextLong(400)) * Timeline.SECOND;
      long periodNs = (i % 4 + 1) * Timeline.SECOND;
      for (long at = startNs; at < startNs + 5 * Timeline.MINUTE; at += periodNs) {
        mesh.timeline().after(at, () -> called(mesh, steady, calledNs));
      }
      // One call, two calls 40 s apart, a burst of a hundred, six calls 100 s apart.
      int burst = i % 4 == 2 ? 100 : i % 4 == 3 ? 6 : i % 4 + 1;
      long gapNs =
          i % 4 == 2 ? 50 * Timeline.MS : i % 4 == 3 ? 100 * Timeline.SECOND : 40 * Timeline.SECOND;
      for (int n = 0; n < burst; n++) {
        mesh.timeline().after(startNs + n * gapNs, () -> called(mesh, once, calledNs));
      }
    }
    mesh.timeline().runUntil(Timeline.START_NS + 20 * Timeline.MINUTE);
    long slowest = 0;
    long cold = 0;
    int without = 0;
    int oneOff = 0;
    for (int i = 0; i < each; i++) {
      String id = "steady" + i;
      Long second = secondNs.get(id);
      if (second == null) {
        without++;
      } else {
        slowest = Math.max(slowest, second - firstNs.getOrDefault(id, second));
        cold = Math.max(cold, second - calledNs.getOrDefault(id, second));
      }
      oneOff += secondNs.containsKey("once" + i) ? 1 : 0;
    }
    return new Second(seconds(slowest), seconds(cold), without, oneOff);
  }

  private static void called(PlannerMesh mesh, String id, Map<String, Long> calledNs) {
    calledNs.putIfAbsent(id, mesh.nowNs());
    mesh.call(id);
  }

  // A day.

  /**
   * A day of diurnal traffic.
   *
   * @param added copies beyond a model's first
   * @param removed of several copies, trimmed or evicted
   * @param again a copy was added, removed and added again within an hour
   * @param flaps of these, those in whose hour the demand never differed by more than the
   *     hysteresis
   * @param mostCopies of one model
   * @param hitPercent calls that did not wait for a load
   */
  public record Day(
      long calls,
      int added,
      int removed,
      int again,
      int flaps,
      int mostCopies,
      long failed,
      double hitPercent) {}

  /** What happened to one model's number of copies. */
  private static final class Copies {
    final Set<String> pods = new HashSet<>();

    /** When the number last rose to the index, and when it last fell from it. */
    final long[] roseNs = new long[64];

    final long[] fellNs = new long[64];
  }

  public static Day day(int hours, long seed) {
    // A copy bears 15 calls a minute here, so that a million calls make copies come and go.
    Planner.Config d = Planner.Config.defaults();
    Planner.Config config =
        new Planner.Config(
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
    PlannerMesh mesh =
        new PlannerMesh(
            PlannerMesh.Setup.of(PODS, 16 * GB, seed)
                .planEveryMs(5_000)
                .deadlineMs(90_000)
                .serviceMs(100)
                .planner(config));
    int models = 150;
    Stock stock = new Stock(seed, 400 * Stock.MB);
    for (int i = 0; i < models; i++) {
      Stock.Item item = stock.item(i);
      mesh.register("m" + i, item.sizeBytes(), item.loadNs());
    }
    mesh.view();
    Map<String, Copies> copies = new HashMap<>();
    Rates rates = new Rates();
    int[] seen = new int[4];
    mesh.watch((pod, id, state) -> follow(mesh, copies, rates, seen, pod, id, state));
    long[] late = {0};
    mesh.clockwork((id, startNs, tookNs) -> late[0] += tookNs > Timeline.SECOND ? 1 : 0);
    Traffic traffic = new Traffic(Traffic.Plan.of(Traffic.Shape.DIURNAL, models, 12, 0.9, seed));
    feed(mesh, traffic, rates, (long) hours * 60 * Timeline.MINUTE);
    mesh.timeline().runUntil(Timeline.START_NS + (long) hours * 60 * Timeline.MINUTE);
    PlannerMesh.Counts counts = mesh.counts();
    int most = 0;
    for (Copies c : copies.values()) {
      for (int n = 0; n < c.roseNs.length; n++) {
        most = c.roseNs[n] > 0 ? Math.max(most, n) : most;
      }
    }
    return new Day(
        counts.calls,
        seen[0],
        seen[1],
        seen[2],
        seen[3],
        most,
        counts.failed,
        100.0 * (counts.calls - late[0]) / counts.calls);
  }

  private static void follow(
      PlannerMesh mesh,
      Map<String, Copies> copies,
      Rates rates,
      int[] seen,
      String pod,
      String id,
      @Nullable CopyState state) {
    Copies c = copies.computeIfAbsent(id, key -> new Copies());
    long nowNs = mesh.nowNs();
    if (state instanceof CopyState.Loaded) {
      if (!c.pods.add(pod)) {
        return;
      }
      int n = c.pods.size();
      boolean within = c.roseNs[n] > 0 && nowNs - c.roseNs[n] <= 60 * Timeline.MINUTE;
      if (n > 1) {
        seen[0]++;
        if (within && c.fellNs[n] > c.roseNs[n]) {
          seen[2]++;
          seen[3] += rates.steady(id, c.roseNs[n], nowNs) ? 1 : 0;
        }
      }
      c.roseNs[n] = nowNs;
    } else if (!(state instanceof CopyState.Loading) && c.pods.contains(pod)) {
      int n = c.pods.size();
      c.pods.remove(pod);
      c.fellNs[n] = nowNs;
      seen[1] += n > 1 ? 1 : 0;
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

  private static void feed(PlannerMesh mesh, Traffic traffic, Rates rates, long untilNs) {
    traffic.next();
    long atNs = traffic.timeNs();
    if (atNs > untilNs) {
      return;
    }
    String id = "m" + traffic.model();
    mesh.timeline()
        .after(
            Timeline.START_NS + atNs - mesh.nowNs(),
            () -> {
              rates.called(id, mesh.nowNs());
              mesh.call(id);
              feed(mesh, traffic, rates, untilNs);
            });
  }

  // Pods.

  /**
   * A mesh beside one pod for each model, on the same calls.
   *
   * @param meanMs and {@code p99Ms}: from a call to its answer, after the warm-up
   * @param pods on average, where they come and go
   */
  public record Cost(String how, double pods, double meanMs, double p99Ms, double coldPercent) {}

  /** What all ways of serving get: the same calls, each with the same work. */
  private record Work(long[] atNs, int[] model, long[] serviceNs, Stock.Item[] items) {}

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
    Stock stock = Stock.of(seed);
    Stock.Item[] items = new Stock.Item[models];
    Arrays.setAll(items, stock::item);
    return new Work(
        Arrays.copyOf(at, n), Arrays.copyOf(model, n), Arrays.copyOf(service, n), items);
  }

  private static final double SERVICE_MS = 20;
  private static final int THREADS = 4;
  private static final int AZURE_WARM_MINUTES = 60;

  /**
   * One pod for each model, always on; one for each model that goes after {@code idleMs} without a
   * call and starts in 5 s and the model's load; and meshes of the given sizes.
   */
  public static List<Cost> pods(
      int models, double callsPerSecond, int minutes, long podBytes, int[] meshes, long seed) {
    Work work = work(models, callsPerSecond, minutes, seed);
    List<Cost> costs = new ArrayList<>();
    costs.add(alone(work, Long.MAX_VALUE, "one pod per model, always on"));
    costs.add(alone(work, 60 * Timeline.SECOND, "one pod per model, from zero"));
    for (int pods : meshes) {
      costs.add(mesh(work, pods, podBytes, seed));
    }
    return costs;
  }

  private static Cost alone(Work work, long idleNs, String how) {
    int models = work.items.length;
    List<PriorityQueue<Long>> threads = new ArrayList<>();
    long[] readyNs = new long[models];
    long[] lastNs = new long[models];
    double[] onNs = new double[models];
    Arrays.fill(lastNs, idleNs == Long.MAX_VALUE ? 0 : Long.MIN_VALUE / 2);
    for (int i = 0; i < models; i++) {
      PriorityQueue<Long> free = new PriorityQueue<>();
      for (int t = 0; t < THREADS; t++) {
        free.add(0L);
      }
      threads.add(free);
    }
    Latencies latencies = new Latencies(work.atNs.length);
    for (int k = 0; k < work.atNs.length; k++) {
      int m = work.model[k];
      long atNs = work.atNs[k];
      boolean cold = idleNs != Long.MAX_VALUE && atNs - lastNs[m] > idleNs;
      if (cold) {
        readyNs[m] = atNs + 5 * Timeline.SECOND + work.items[m].loadNs();
      }
      long freeNs = threads.get(m).remove();
      long beginNs = Math.max(Math.max(atNs, freeNs), readyNs[m]);
      long endNs = beginNs + work.serviceNs[k];
      threads.get(m).add(endNs);
      onNs[m] += cold ? idleNs + (readyNs[m] - atNs) : Math.max(0, endNs - Math.max(lastNs[m], 0));
      lastNs[m] = Math.max(lastNs[m], endNs);
      latencies.add(atNs, endNs - atNs, beginNs - atNs > Timeline.SECOND / 2);
    }
    double spanNs = work.atNs[work.atNs.length - 1];
    double pods = idleNs == Long.MAX_VALUE ? models : Arrays.stream(onNs).sum() / spanNs;
    return latencies.cost(how, pods);
  }

  private static Cost mesh(Work work, int pods, long podBytes, long seed) {
    PlannerMesh mesh =
        new PlannerMesh(
            PlannerMesh.Setup.of(pods, podBytes, seed)
                .deadlineMs(300_000)
                .threads(THREADS)
                .serviceMs(SERVICE_MS));
    for (int i = 0; i < work.items.length; i++) {
      Stock.Item item = work.items[i];
      mesh.register("m" + i, item.sizeBytes(), item.loadNs());
    }
    mesh.view();
    Latencies latencies = new Latencies(work.atNs.length);
    mesh.clockwork(
        (id, startNs, tookNs) ->
            latencies.add(
                startNs - Timeline.START_NS,
                tookNs < 0 ? 300 * Timeline.SECOND : tookNs,
                tookNs < 0 || tookNs > Timeline.SECOND / 2));
    next(mesh, work, 0);
    long endNs = work.atNs[work.atNs.length - 1] + Timeline.MINUTE;
    mesh.timeline().runUntil(Timeline.START_NS + endNs);
    return latencies.cost("mesh of " + pods, pods);
  }

  private static void next(PlannerMesh mesh, Work work, int k) {
    if (k < work.atNs.length) {
      mesh.timeline()
          .after(
              Timeline.START_NS + work.atNs[k] - mesh.nowNs(),
              () -> {
                mesh.call("m" + work.model[k], work.serviceNs[k]);
                next(mesh, work, k + 1);
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
      if (atNs >= AZURE_WARM_MINUTES * Timeline.MINUTE) {
        tookNs[count++] = ns;
        cold += wasCold ? 1 : 0;
      }
    }

    Cost cost(String how, double pods) {
      long[] sorted = Arrays.copyOf(tookNs, count);
      Arrays.sort(sorted);
      double mean = Arrays.stream(sorted).average().orElse(0) / 1e6;
      double p99 = count == 0 ? 0 : sorted[(int) Math.ceil(count * 0.99) - 1] / 1e6;
      return new Cost(how, pods, mean, p99, count == 0 ? 0 : 100.0 * cold / count);
    }
  }
}
