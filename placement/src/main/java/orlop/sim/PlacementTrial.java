package orlop.sim;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import orlop.placement.Attempt;
import orlop.placement.Copy;
import orlop.placement.Delta;
import orlop.placement.Eviction;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Pod;
import orlop.placement.Route;
import orlop.placement.Router;

/**
 * How long calls wait for loads in one mesh under one set of placement rules, in virtual time: no
 * faults, no planner, one copy of each model; the production router, placer and cache, or the
 * incumbent's rules on the same cache. Same setup, same result.
 */
public final class PlacementTrial {
  /** Who places. */
  public enum Rules {
    ORLOP,
    /** The incumbent's, as it was meant. */
    INCUMBENT,
    /** The incumbent's, with the slip in its shortlist. */
    INCUMBENT_AS_CODED,
    /** The incumbent's, as if every pod knew all others as they were a tenth of a second ago. */
    INCUMBENT_ALL_SEEING
  }

  /**
   * @param pods of equal capacity, in three zones
   * @param models in the catalogue, called by Zipf's law
   * @param podBytes memory of each pod
   * @param loaders loads that a pod runs at a time
   * @param callsPerSecond of the whole mesh, each to a random pod
   * @param lagMs age of what pods know of one another
   * @param warmupS seconds before the calls count
   * @param measuredS seconds in which they do
   * @param policy of each pod's cache
   */
  public record Setup(
      Rules rules,
      int pods,
      int models,
      long podBytes,
      int loaders,
      double callsPerSecond,
      double zipf,
      long lagMs,
      int warmupS,
      int measuredS,
      long seed,
      Eviction policy) {}

  /**
   * What the calls met.
   *
   * @param meanWaitMs over all calls, those that found the model loaded included
   * @param missRatio share of the calls that waited
   * @param loaderUse share of the loaders' time spent loading
   * @param failed calls that were not served within {@link #DEADLINE_MS}, which count as so long
   * @param bounced loads sent back because the queue was longer than the sender knew
   * @param busiestOverMean loads of the busiest pod ÷ mean
   */
  public record Result(
      long calls,
      double meanWaitMs,
      double p99WaitMs,
      double missRatio,
      double loaderUse,
      long failed,
      long bounced,
      double busiestOverMean) {}

  /** Longest that a caller waits. */
  public static final long DEADLINE_MS = 90_000;

  private static final long NET_NS = Timeline.MS;
  private static final long FLUSH_NS = 100 * Timeline.MS;

  /** One call under way. */
  private static final class Call {
    final TrialPod ingress;
    final Model model;
    final long startNs;
    final long salt;
    final Set<String> tried = new HashSet<>();
    boolean ended;

    Call(TrialPod ingress, Model model, long startNs, long salt) {
      this.ingress = ingress;
      this.model = model;
      this.startNs = startNs;
      this.salt = salt;
    }
  }

  private record Snapshot(long atNs, MeshView view) {}

  final Setup setup;
  final TrialStock stock;
  final Timeline timeline = new Timeline();
  private final Router router = new Router(new Placer());
  private final IncumbentRules incumbent;
  private final Map<String, TrialPod> byId = new HashMap<>();
  private final List<TrialPod> pods = new ArrayList<>();
  private final Map<String, IncumbentRules.Instance> instances = new HashMap<>();
  private final List<Delta> pending = new ArrayList<>();
  private final Deque<Snapshot> history = new ArrayDeque<>();
  private final SplittableRandom random;
  private MeshView newest = MeshView.empty();
  private MeshView known = MeshView.empty();
  private long numbered;
  private long measureFromNs;
  private double[] waits = new double[1 << 16];
  private int counted;
  private long waited;
  private long failed;
  private long bounced;
  private final boolean frozen;

  PlacementTrial(Setup setup, TrialStock stock, boolean frozen) {
    this.setup = setup;
    this.stock = stock;
    this.frozen = frozen;
    this.random = new SplittableRandom(setup.seed());
    this.incumbent =
        new IncumbentRules(setup.rules() == Rules.INCUMBENT_AS_CODED, setup.seed() + 1);
    for (int i = 0; i < setup.pods(); i++) {
      TrialPod pod = new TrialPod(this, i);
      pods.add(pod);
      byId.put(pod.id(), pod);
    }
  }

  public static Result run(Setup setup) {
    PlacementTrial trial =
        new PlacementTrial(setup, new TrialStock(setup.seed(), setup.models(), false), false);
    trial.fill();
    return trial.measure();
  }

  /**
   * What became of many cold models called in one moment, while no pod hears of another.
   *
   * @param maxOverMean loads of the pod that was sent most ÷ mean
   * @param makespanOverIdeal until the last is loaded ÷ the same when whoever knows everything
   *     gives each loader that becomes free the longest load that is left
   */
  public record Herd(double maxOverMean, double makespanOverIdeal, long bounced) {}

  /**
   * All models are called at once, each in a pod drawn by chance; what pods know of one another is
   * as old as the mesh throughout.
   *
   * @param alike whether all models take the same, else as in {@link #run}
   * @param setup its pods are empty, its models all cold; rates and times are not looked at
   */
  public static Herd herd(Setup setup, boolean alike) {
    PlacementTrial trial =
        new PlacementTrial(setup, new TrialStock(setup.seed(), setup.models(), alike), true);
    for (int i = 0; i < setup.models(); i++) {
      trial.write(new Delta.ModelPut(trial.stock.model(i)));
    }
    trial.settle();
    long startNs = Timeline.START_NS + 40 * Timeline.SECOND;
    trial.timeline.runUntil(startNs);
    double[] loadMs = new double[setup.models()];
    for (int i = 0; i < setup.models(); i++) {
      Model model = trial.stock.model(i);
      loadMs[i] = trial.stock.loadMs(model) + trial.stock.pullMs(model);
      trial.begin(trial.pods.get(trial.random.nextInt(setup.pods())), model);
    }
    trial.timeline.runUntil(startNs + 10 * Timeline.MINUTE);
    double most = trial.pods.stream().mapToLong(TrialPod::loads).max().orElse(0);
    double loads = trial.pods.stream().mapToLong(TrialPod::loads).sum();
    double lastMs =
        (trial.pods.stream().mapToLong(TrialPod::lastDoneNs).max().orElse(0) - startNs)
            / (double) Timeline.MS;
    double idealMs = longestFirst(loadMs, setup.pods() * setup.loaders());
    return new Herd(most * setup.pods() / loads, lastMs / idealMs, trial.bounced);
  }

  /** Until all is done when whoever knows everything gives the longest to the first free loader. */
  private static double longestFirst(double[] loadMs, int loaders) {
    double[] longest = loadMs.clone();
    Arrays.sort(longest);
    PriorityQueue<Double> freeAtMs = new PriorityQueue<>();
    for (int i = 0; i < loaders; i++) {
      freeAtMs.add(0.0);
    }
    double lastMs = 0;
    for (int i = longest.length - 1; i >= 0; i--) {
      double doneMs = freeAtMs.remove() + longest[i];
      freeAtMs.add(doneMs);
      lastMs = Math.max(lastMs, doneMs);
    }
    return lastMs;
  }

  boolean ours() {
    return setup.rules() == Rules.ORLOP;
  }

  List<TrialPod> pods() {
    return pods;
  }

  // The registry.

  void write(Delta delta) {
    pending.add(delta);
  }

  void publish(IncumbentRules.Instance instance) {
    instances.put(instance.id(), instance);
  }

  /** What was written becomes visible once the lag is over. */
  private void flush() {
    if (!pending.isEmpty()) {
      newest = newest.with(pending, newest.revision() + 1);
      pending.clear();
      history.addLast(new Snapshot(timeline.nowNs(), newest));
    }
    long asOfNs = timeline.nowNs() - setup.lagMs() * Timeline.MS;
    while (!history.isEmpty() && history.getFirst().atNs <= asOfNs) {
      known = history.removeFirst().view;
    }
    if (!ours()) {
      incumbent.see(instances.values());
    }
  }

  /** All see all, at once. */
  void settle() {
    pods.forEach(TrialPod::introduce);
    flush();
    known = newest;
    history.clear();
  }

  /**
   * The popular models lie in memory already, dealt out evenly, as after a long time; no rule
   * profits.
   */
  private void fill() {
    for (int i = 0; i < setup.models(); i++) {
      write(new Delta.ModelPut(stock.model(i)));
    }
    int[] byCalls = new int[setup.models()];
    Traffic calls = traffic(setup.seed() + 7);
    for (int n = 0; n < setup.models() * 4; n++) {
      calls.next();
      byCalls[calls.model()]++;
    }
    Integer[] order = new Integer[setup.models()];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, (a, b) -> byCalls[b] - byCalls[a]);
    int turn = 0;
    int full = 0;
    for (int i = 0; i < order.length && full < pods.size(); i++) {
      if (pods.get(turn++ % pods.size()).fill(stock.model(order[i]), i)) {
        full = 0;
      } else {
        full++;
      }
    }
    settle();
  }

  private Traffic traffic(long seed) {
    return new Traffic(
        Traffic.Plan.of(
            Traffic.Shape.ZIPF, setup.models(), setup.callsPerSecond(), setup.zipf(), seed));
  }

  private Result measure() {
    measureFromNs = timeline.nowNs() + setup.warmupS() * Timeline.SECOND;
    long endNs = measureFromNs + setup.measuredS() * Timeline.SECOND;
    timeline.every(FLUSH_NS, FLUSH_NS, this::flush);
    for (TrialPod pod : pods) {
      timeline.every(random.nextLong(Timeline.SECOND), Timeline.SECOND, pod::tick);
    }
    Traffic calls = traffic(setup.seed() + 7);
    next(calls, Timeline.START_NS, endNs);
    timeline.after(measureFromNs - timeline.nowNs(), () -> pods.forEach(TrialPod::startCounting));
    timeline.runUntil(endNs);
    double use = pods.stream().mapToDouble(TrialPod::loadSeconds).sum();
    use /= (double) setup.measuredS() * setup.pods() * setup.loaders();
    double busiest = pods.stream().mapToLong(TrialPod::loads).max().orElse(0);
    double mean = pods.stream().mapToLong(TrialPod::loads).average().orElse(1);
    timeline.runUntil(endNs + DEADLINE_MS * Timeline.MS);
    return result(use, mean == 0 ? 1 : busiest / mean);
  }

  private void next(Traffic calls, long startNs, long endNs) {
    calls.next();
    long atNs = startNs + calls.timeNs();
    if (atNs >= endNs) {
      return;
    }
    int model = calls.model();
    timeline.after(
        atNs - timeline.nowNs(),
        () -> {
          begin(pods.get(random.nextInt(pods.size())), stock.model(model));
          next(calls, startNs, endNs);
        });
  }

  private Result result(double use, double busiestOverMean) {
    double[] sorted = Arrays.copyOf(waits, counted);
    Arrays.sort(sorted);
    double mean = Arrays.stream(sorted).sum() / Math.max(1, counted);
    double p99 = counted == 0 ? 0 : sorted[(int) Math.min(counted - 1L, counted * 99L / 100)];
    return new Result(
        counted,
        mean,
        p99,
        (double) waited / Math.max(1, counted),
        use,
        failed,
        bounced,
        busiestOverMean);
  }

  // Calls.

  void begin(TrialPod ingress, Model model) {
    Call call = new Call(ingress, model, timeline.nowNs(), numbered++);
    timeline.after(DEADLINE_MS * Timeline.MS, () -> end(call, false));
    attempt(call);
  }

  private void attempt(Call call) {
    TrialPod self = call.ingress;
    if (call.ended) {
      return;
    }
    if (!call.tried.contains(self.id()) && self.holds(call.model.id())) {
      visit(self, call);
      return;
    }
    Route route = ours() ? router.route(known, attempt(call, self)) : incumbentRoute(call);
    switch (route) {
      case Route.Here() -> visit(self, call);
      case Route.There(Pod pod) -> forward(call, pod, -1);
      case Route.Load(Pod pod) -> load(call, pod);
      case Route.Reject _ -> end(call, false);
    }
  }

  private Attempt attempt(Call call, TrialPod self) {
    return new Attempt(
        call.model.id(),
        self.id(),
        false,
        call.tried,
        false,
        call.salt,
        timeline.nowMs(),
        self.hints(),
        -1);
  }

  private void load(Call call, Pod pod) {
    TrialPod self = call.ingress;
    if (!ours()) {
      forward(call, pod, -1);
      return;
    }
    Router.Expected expected = router.expect(known, call.model, pod, attempt(call, self));
    self.sent(pod.id(), call.model.id(), expected);
    forward(call, pod, call.tried.isEmpty() ? expected.queueMs() : -1);
  }

  /** Where a copy stands it goes, else where the rules say. */
  private Route incumbentRoute(Call call) {
    Set<String> excluded = new HashSet<>(call.tried);
    Copy best = null;
    for (Copy copy : known.copies(call.model.id())) {
      excluded.add(copy.podId());
      boolean usable = copy.isLoaded() || copy.isLoading();
      if (usable && !call.tried.contains(copy.podId())) {
        best = best == null || copy.sinceMs() < best.sinceMs() ? copy : best;
      }
    }
    Pod there = best == null ? null : known.pod(best.podId());
    if (there != null) {
      return new Route.There(there);
    }
    String id = incumbent.choose(call.ingress.instance(), excluded, timeline.nowMs());
    Pod pod = id == null ? null : known.pod(id);
    return pod == null ? new Route.Reject(Route.Cause.NO_ROOM, "") : new Route.Load(pod);
  }

  private void forward(Call call, Pod pod, long promisedMs) {
    TrialPod target = byId.get(pod.id());
    if (target == null || target == call.ingress) {
      visit(call.ingress, call);
    } else {
      timeline.after(NET_NS, () -> arrive(call, target, promisedMs));
    }
  }

  private void arrive(Call call, TrialPod pod, long promisedMs) {
    if (pod.holds(call.model.id()) || !ours()) {
      visit(pod, call);
      return;
    }
    Attempt attempt =
        new Attempt(
            call.model.id(),
            pod.id(),
            true,
            Set.of(),
            false,
            call.salt,
            timeline.nowMs(),
            pod.selfHints(),
            promisedMs);
    if (router.route(known, attempt) instanceof Route.Reject) {
      if (promisedMs >= 0) {
        bounced++;
      }
      timeline.after(NET_NS, () -> refused(call, pod));
    } else {
      visit(pod, call);
    }
  }

  private void visit(TrialPod pod, Call call) {
    pod.visit(
        call.model,
        served -> {
          if (pod != call.ingress && ours()) {
            call.ingress.hear(pod);
          }
          if (served) {
            end(call, true);
          } else {
            refused(call, pod);
          }
        });
  }

  private void refused(Call call, TrialPod pod) {
    if (ours()) {
      call.ingress.hear(pod);
    }
    call.tried.add(pod.id());
    attempt(call);
  }

  private void end(Call call, boolean served) {
    if (call.ended) {
      return;
    }
    call.ended = true;
    if (call.startNs < measureFromNs) {
      return;
    }
    if (counted == waits.length) {
      waits = Arrays.copyOf(waits, counted * 2);
    }
    double waitMs = served ? (timeline.nowNs() - call.startNs) / (double) Timeline.MS : DEADLINE_MS;
    // A hop is no wait for a load.
    waits[counted++] = waitMs <= 2 ? 0 : waitMs;
    waited += waitMs <= 2 ? 0 : 1;
    failed += served ? 0 : 1;
  }

  boolean frozen() {
    return frozen;
  }

  @Nullable TrialPod pod(String id) {
    return byId.get(id);
  }
}
