package orlop.sim;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import orlop.placement.Attempt;
import orlop.placement.Change;
import orlop.placement.CopyState;
import orlop.placement.Delta;
import orlop.placement.DemandMeter;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Plan;
import orlop.placement.Planner;
import orlop.placement.Pod;
import orlop.placement.PodsWanted;
import orlop.placement.Recall;
import orlop.placement.Route;
import orlop.placement.Router;

/**
 * A mesh without faults but those that a trial causes, in virtual time: the production router,
 * placer, planner and cache, pods with compute threads, and a registry with leases that is seen a
 * moment late. One thread; equal setups and calls give equal histories.
 */
final class PlannerMesh {
  /** Sees copies come and go; a state of null is gone. */
  interface Watch {
    void changed(String podId, String modelId, @Nullable CopyState state);
  }

  /** What happened so far. */
  static final class Counts {
    long calls;
    long served;
    long failed;
    long loads;
    long planned;
    final Map<String, Integer> causes = new HashMap<>();
  }

  /** Hears how long each call took; −1 when it failed. */
  interface Clockwork {
    void ended(String modelId, long startNs, long tookNs);
  }

  static final long NET_NS = 200_000;
  private static final long REPORT_NS = 2 * Timeline.SECOND;

  private final PlannerSetup setup;
  private final Timeline timeline = new Timeline();
  private final SimRegistry registry = new SimRegistry();
  private final Router router = new Router(new Placer());
  private final Planner planner;
  private final DemandMeter meter = new DemandMeter(REPORT_NS / Timeline.MS);
  private final SplittableRandom random;
  private final SplittableRandom service;
  private final Map<String, PlannerPod> pods = new HashMap<>();
  private final List<PlannerPod> live = new ArrayList<>();
  private final Map<String, Memory> sizes = new HashMap<>();
  private final Map<String, Long> loadNs = new HashMap<>();
  private final Counts counts = new Counts();
  private Recall recall = Recall.since(Timeline.START_NS / Timeline.MS);
  private PodsWanted podsWanted = new PodsWanted(1, "nothing is planned yet");
  private Watch watch = (pod, model, state) -> {};
  private Clockwork clockwork = (model, startNs, tookNs) -> {};
  private Consumer<Change> planned = change -> {};
  private int started;

  PlannerMesh(PlannerSetup setup) {
    this.setup = setup;
    this.planner = new Planner(setup.planner(), new Placer());
    SplittableRandom root = new SplittableRandom(setup.seed());
    random = root.split();
    service = root.split();
    for (int i = 0; i < setup.pods(); i++) {
      startPod();
    }
    timeline.every(0, 20 * Timeline.MS, () -> registry.flush(nowNs()));
    timeline.every(setup.planMs() * Timeline.MS, setup.planMs() * Timeline.MS, this::plan);
    timeline.every(REPORT_NS, REPORT_NS, () -> live.forEach(pod -> pod.report(meter, REPORT_NS)));
  }

  PlannerSetup setup() {
    return setup;
  }

  Timeline timeline() {
    return timeline;
  }

  SimRegistry registry() {
    return registry;
  }

  long nowNs() {
    return timeline.nowNs();
  }

  long nowMs() {
    return timeline.nowMs();
  }

  Counts counts() {
    return counts;
  }

  PodsWanted podsWanted() {
    return podsWanted;
  }

  Watch watch() {
    return watch;
  }

  void watch(Watch newWatch) {
    watch = newWatch;
  }

  void clockwork(Clockwork newClockwork) {
    clockwork = newClockwork;
  }

  void planned(Consumer<Change> sink) {
    planned = sink;
  }

  Memory size(String modelId) {
    return sizes.getOrDefault(modelId, Memory.NONE);
  }

  long loadNs(String modelId) {
    return loadNs.getOrDefault(modelId, Timeline.SECOND);
  }

  /** The view of somebody without delay. */
  MeshView view() {
    return registry.flush(nowNs());
  }

  List<PlannerPod> live() {
    return live;
  }

  // Models and pods.

  /** Registers a model with its size as the hint. */
  void register(String id, long sizeBytes, long takesNs) {
    sizes.put(id, Memory.ram(sizeBytes));
    loadNs.put(id, takesNs);
    registry.write(
        new Delta.ModelPut(
            new Model(id, "onnx", "s3://m/" + id, "", sizeBytes, 0, 0, Set.of(), Set.of(), 0)));
  }

  PlannerPod startPod() {
    String id = "pod-" + started++;
    Pod record =
        new Pod(
            id,
            id + ":8033",
            "zone-" + started % 3,
            Set.of(),
            Memory.ram(setup.podBytes()),
            Memory.NONE,
            0,
            0,
            false,
            nowMs(),
            "1");
    long lagNs = (5 + random.nextLong(95)) * Timeline.MS;
    PlannerPod pod = new PlannerPod(this, record, setup.threads(), setup.loaders(), lagNs);
    pods.put(id, pod);
    live.add(pod);
    pod.join();
    tick(pod, random.nextLong(Timeline.SECOND));
    return pod;
  }

  private void tick(PlannerPod pod, long delayNs) {
    timeline.after(
        delayNs,
        () -> {
          if (pod.alive()) {
            pod.tick();
            tick(pod, Timeline.SECOND);
          }
        });
  }

  void ended(PlannerPod pod) {
    pods.remove(pod.id());
    live.remove(pod);
  }

  /** kill -9: its lease ends as long after its last renewal as it lasts. */
  long kill(PlannerPod pod) {
    long leftNs =
        setup.leaseMs() * Timeline.MS - random.nextLong(setup.leaseMs() * Timeline.MS / 3);
    pod.die();
    // The leader's stream from the pod breaks, and it cannot be opened again.
    timeline.after(Timeline.SECOND / 2, () -> meter.unreachable(pod.id(), nowMs()));
    timeline.after(
        leftNs,
        () -> {
          registry.revoke(pod.id());
          hasten();
        });
    return leftNs;
  }

  // The planner.

  /** A pod goes or is gone: the controller does not wait for its next turn. */
  void hasten() {
    timeline.after(150 * Timeline.MS, this::plan);
  }

  private void plan() {
    MeshView view = registry.asOf(nowNs() - 20 * Timeline.MS);
    meter.retain(view);
    Plan plan = planner.plan(view, meter.snapshot(nowMs()), recall, nowMs());
    recall = plan.recall();
    podsWanted = plan.podsWanted();
    for (Change change : plan.changes()) {
      counts.planned++;
      planned.accept(change);
      switch (change) {
        case Change.LoadCopy load -> {
          Model model = view.model(load.modelId());
          if (model != null) {
            atPod(load.podId(), pod -> pod.want(model, load.lastUsedMs() * Timeline.MS));
          }
        }
        case Change.UnloadCopy unload -> atPod(unload.podId(), pod -> pod.letGo(unload.modelId()));
        case Change.PromoteAlias _, Change.FailAlias _ -> {}
      }
    }
  }

  private void atPod(String podId, Consumer<PlannerPod> call) {
    timeline.after(
        5 * Timeline.MS,
        () -> {
          PlannerPod pod = pods.get(podId);
          if (pod != null) {
            call.accept(pod);
          }
        });
  }

  // Calls.

  void call(String modelId) {
    call(modelId, serviceNs(service, setup.serviceMs()));
  }

  void call(String modelId, long takesNs) {
    List<PlannerPod> doors = live.stream().filter(PlannerPod::ready).toList();
    counts.calls++;
    if (doors.isEmpty()) {
      counts.failed++;
      return;
    }
    PlannerCall call =
        new PlannerCall(
            modelId, counts.calls, nowNs(), takesNs, doors.get(random.nextInt(doors.size())));
    timeline.after(setup.deadlineMs() * Timeline.MS, () -> end(call, "DEADLINE"));
    attempt(call);
  }

  /** Log-normal, a coefficient of variation of about one half. */
  static long serviceNs(SplittableRandom random, double meanMs) {
    double sigma = 0.5;
    double factor = Math.exp(sigma * random.nextGaussian() - sigma * sigma / 2);
    return (long) (meanMs * factor * Timeline.MS);
  }

  private void attempt(PlannerCall call) {
    PlannerPod self = call.ingress();
    if (call.ended()) {
      return;
    }
    if (!self.alive()) {
      end(call, "INGRESS_LOST");
      return;
    }
    MeshView view = self.view();
    Model model = view.model(call.modelId());
    if (model == null) {
      end(call, "UNKNOWN_MODEL");
      return;
    }
    if (!call.tried().contains(self.id()) && self.callable(model.id())) {
      visit(self, call, model);
      return;
    }
    switch (router.route(view, given(call, self, false))) {
      case Route.Here() -> visit(self, call, model);
      case Route.There(Pod pod) -> forward(call, model, pod.id());
      case Route.Load(Pod pod) -> {
        if (pod.id().equals(self.id())) {
          visit(self, call, model);
        } else {
          forward(call, model, pod.id());
        }
      }
      case Route.Reject(Route.Cause cause, String _) -> end(call, cause.name());
    }
  }

  private Attempt given(PlannerCall call, PlannerPod self, boolean forwarded) {
    return new Attempt(
        call.modelId(),
        self.id(),
        forwarded,
        forwarded ? Set.of() : call.tried(),
        false,
        call.number(),
        nowMs());
  }

  private void visit(PlannerPod pod, PlannerCall call, Model model) {
    pod.visit(
        new PlannerPod.Visit(call, model.id(), reply -> replied(call, pod.id(), reply)), model);
  }

  private void forward(PlannerCall call, Model model, String podId) {
    Reply.Listener back = reply -> timeline.after(NET_NS, () -> replied(call, podId, reply));
    timeline.after(NET_NS, () -> arrive(call, model, podId, back));
  }

  private void arrive(PlannerCall call, Model model, String podId, Reply.Listener back) {
    PlannerPod pod = pods.get(podId);
    if (pod == null) {
      back.ended(Reply.LOST);
      return;
    }
    boolean serves =
        pod.callable(model.id())
            || switch (router.route(pod.view(), given(call, pod, true))) {
              case Route.Here() -> true;
              case Route.Load(Pod self) -> self.id().equals(podId);
              case Route.There _, Route.Reject _ -> false;
            };
    if (serves) {
      pod.visit(new PlannerPod.Visit(call, model.id(), back), model);
    } else {
      back.ended(Reply.REFUSED);
    }
  }

  private void replied(PlannerCall call, String podId, Reply reply) {
    if (call.ended()) {
      return;
    }
    if (reply == Reply.SERVED) {
      end(call, "");
    } else {
      call.tried().add(podId);
      attempt(call);
    }
  }

  private void end(PlannerCall call, String cause) {
    if (call.ended()) {
      return;
    }
    call.end();
    if (cause.isEmpty()) {
      counts.served++;
      clockwork.ended(call.modelId(), call.startNs(), nowNs() - call.startNs());
    } else {
      counts.failed++;
      counts.causes.merge(cause, 1, Integer::sum);
      clockwork.ended(call.modelId(), call.startNs(), -1);
    }
  }
}
