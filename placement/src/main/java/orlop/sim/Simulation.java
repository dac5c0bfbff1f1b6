package orlop.sim;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import orlop.placement.Attempt;
import orlop.placement.Copy;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Pod;
import orlop.placement.Route;
import orlop.placement.Router;

/**
 * A mesh in virtual time. First the safety phase: calls, surprises and faults, invariants checked
 * after every event. Then the liveness phase: the faults stop, the calls go on, and the mesh must
 * settle: every popular model that can be served is, and nothing is on its way for ever.
 */
public final class Simulation {
  /*
   * One thread, one seed. Each source of randomness has its own stream, so that leaving out a kind of
   * fault leaves the workload as it was. Whatever iterates to an effect iterates in a fixed order.
   */

  private static final long NET_NS = Timeline.MS;
  private static final long CONNECT_NS = 2 * Timeline.SECOND;
  private static final long DEADLINE_NS = 90 * Timeline.SECOND;
  private static final long SETTLE_NS = 2 * Timeline.MINUTE;
  private static final long PROBE_NS = Timeline.MINUTE;
  private static final int PROBES = 40;
  private static final int PROBE_TRIES = 4;
  private static final int ZONES = 3;

  private final Options options;
  private final Timeline timeline = new Timeline();
  private final Tally tally = new Tally();
  private final Invariants invariants;
  private final SimRegistry registry = new SimRegistry();
  private final Catalogue catalogue;
  private final Router router = new Router(new Placer());
  private final SimPlanner planner = new SimPlanner(this);
  private final Faults faults;
  private final Workload workload;
  private final SplittableRandom chance;
  private final SplittableRandom ingress;
  private final Map<String, SimPod> pods = new HashMap<>();
  private final List<SimPod> live = new ArrayList<>();
  private final Map<Integer, Integer> starts = new HashMap<>();
  private final Set<SimCall> open = new LinkedHashSet<>();
  private long numbered;

  // The liveness phase's.
  private final Set<String> servedProbes = new LinkedHashSet<>();
  private final Map<String, String> failedProbes = new HashMap<>();
  private final Set<String> expected = new LinkedHashSet<>();

  private Simulation(Options options) {
    this.options = options;
    SplittableRandom root = new SplittableRandom(options.seed());
    invariants = new Invariants(options, timeline);
    catalogue = new Catalogue(options);
    faults = new Faults(this, options.faults(), root.split());
    workload = new Workload(this, options, root.split());
    chance = root.split();
    ingress = root.split();
  }

  /**
   * Runs a simulation to its end.
   *
   * @throws Violation when the mesh breaks a promise
   */
  public static Report run(Options options) {
    return new Simulation(options).run();
  }

  private Report run() {
    workload.register();
    for (int i = 0; i < options.pods(); i++) {
      startPod(i);
    }
    timeline.every(0, 100 * Timeline.MS, () -> registry.flush(timeline.nowNs()));
    timeline.every(Timeline.SECOND, Timeline.SECOND, () -> invariants.leases(registry));
    timeline.every(5 * Timeline.SECOND, 5 * Timeline.SECOND, planner::step);
    timeline.after(Timeline.SECOND, workload::begin);
    timeline.after(2 * Timeline.SECOND, faults::begin);
    long endNs = Timeline.START_NS + options.minutes() * Timeline.MINUTE;
    timeline.runUntil(endNs);
    faults.end();
    workload.calmDown();
    timeline.runUntil(endNs + SETTLE_NS);
    probe();
    timeline.runUntil(endNs + SETTLE_NS + PROBE_NS);
    checkSettled();
    return tally.report(options);
  }

  // The parts.

  Timeline timeline() {
    return timeline;
  }

  Tally tally() {
    return tally;
  }

  Invariants invariants() {
    return invariants;
  }

  SimRegistry registry() {
    return registry;
  }

  Catalogue catalogue() {
    return catalogue;
  }

  SimPlanner planner() {
    return planner;
  }

  Faults faults() {
    return faults;
  }

  /** Mostly milliseconds; one call in fifty is a long stream. */
  long serviceNs() {
    if (chance.nextInt(50) == 0) {
      return chance.nextLong(20 * Timeline.SECOND);
    }
    return Timeline.MS + chance.nextLong(40 * Timeline.MS);
  }

  long unloadNs() {
    return 50 * Timeline.MS + chance.nextLong(Timeline.SECOND);
  }

  /**
   * Between the word that a model is ready and the call that waited for it: a change of threads.
   */
  long handOverNs() {
    return chance.nextLong(5 * Timeline.MS);
  }

  /** By size and format, give or take. */
  long loadNs(Catalogue.@Nullable Truth truth) {
    double seconds = truth == null ? 0.5 : truth.loadSeconds();
    return (long) (seconds * Timeline.SECOND * (0.7 + 0.6 * chance.nextDouble()));
  }

  // Pods.

  /** Pods that run, draining or not. */
  List<SimPod> livePods() {
    return live;
  }

  @Nullable SimPod pod(String id) {
    return pods.get(id);
  }

  void startPod(int ordinal) {
    int start = starts.merge(ordinal, 1, Integer::sum);
    String id = "pod-" + ordinal + "-" + start;
    boolean accelerated = ordinal % 5 == 0;
    Memory capacity = new Memory(Catalogue.POD_BYTES, accelerated ? Catalogue.POD_BYTES : 0);
    Set<String> labels = ordinal % 4 == 0 ? Set.of("rt:special", "disk:fast") : Set.of("rt:common");
    Pod record =
        new Pod(
            id,
            id + ":8033",
            "zone-" + ordinal % ZONES,
            labels,
            capacity,
            Memory.NONE,
            0,
            0,
            false,
            timeline.nowMs(),
            "1");
    SimPod pod = new SimPod(this, record, ordinal, (20 + chance.nextLong(500)) * Timeline.MS);
    pods.put(id, pod);
    live.add(pod);
    pod.join();
    tick(pod, chance.nextLong(Timeline.SECOND));
    tally.note(timeline.nowNs(), "start", id, "", 0);
  }

  private void tick(SimPod pod, long delayNs) {
    timeline.after(
        delayNs,
        () -> {
          if (pod.alive()) {
            pod.tick();
            tick(pod, Timeline.SECOND);
          }
        });
  }

  void kill(SimPod pod) {
    if (pod.alive()) {
      tally.note(timeline.nowNs(), "die", pod.id(), "", 0);
      pods.remove(pod.id());
      live.remove(pod);
      pod.die();
    }
  }

  // Calls.

  void call(String name) {
    call(name, false);
  }

  private void call(String name, boolean probe) {
    if (live.isEmpty()) {
      tally.calls++;
      tally.rejected("NO_POD");
      return;
    }
    SimPod door = live.get(ingress.nextInt(live.size()));
    SimCall call = new SimCall(numbered++, name, door, timeline.nowNs(), probe);
    tally.calls++;
    open.add(call);
    timeline.after(DEADLINE_NS, () -> end(call, "DEADLINE"));
    attempt(call);
  }

  private void attempt(SimCall call) {
    SimPod self = call.ingress();
    if (call.ended()) {
      return;
    }
    if (!self.alive()) {
      end(call, "INGRESS_LOST");
      return;
    }
    call.nextAttempt();
    invariants.attempt(call);
    MeshView view = self.view();
    Model model = view.resolve(call.name());
    if (model == null) {
      end(call, Route.Cause.UNKNOWN_MODEL.name());
      return;
    }
    if (call.attempts() == 1) {
      planner.called(model.id(), timeline.nowMs());
    }
    if (!call.tried().contains(self.id()) && self.callable(model.id())) {
      visit(self, call, model);
      return;
    }
    switch (router.route(view, given(call, model, self, false))) {
      case Route.Here() -> visit(self, call, model);
      case Route.There(Pod pod) -> forward(call, model, pod);
      case Route.Load(Pod pod) -> {
        if (pod.id().equals(self.id())) {
          visit(self, call, model);
        } else {
          forward(call, model, pod);
        }
      }
      case Route.Reject(Route.Cause cause, String _) -> end(call, cause.name());
    }
  }

  private Attempt given(SimCall call, Model model, SimPod self, boolean forwarded) {
    return new Attempt(
        model.id(),
        self.id(),
        forwarded,
        forwarded ? Set.of() : call.tried(),
        false,
        call.number(),
        timeline.nowMs());
  }

  private void visit(SimPod pod, SimCall call, Model model) {
    pod.visit(call, model, reply -> timeline.after(NET_NS, () -> replied(call, pod, reply)));
  }

  private void forward(SimCall call, Model model, Pod target) {
    invariants.check(call.hop() == 1, "call %d hops twice in one attempt", call.number());
    tally.hops++;
    timeline.after(NET_NS, () -> arrive(call, model, target.id()));
  }

  private void arrive(SimCall call, Model model, String podId) {
    SimPod pod = pod(podId);
    if (pod == null) {
      timeline.after(NET_NS, () -> retry(call, podId));
      return;
    }
    if (faults.parted(call.ingress(), pod)) {
      timeline.after(CONNECT_NS, () -> retry(call, podId));
      return;
    }
    if (pod.callable(model.id())) {
      visit(pod, call, model);
      return;
    }
    boolean serves =
        switch (router.route(pod.view(), given(call, model, pod, true))) {
          case Route.Here() -> true;
          case Route.Load(Pod self) -> self.id().equals(podId);
          case Route.There(Pod other) ->
              throw invariants.broken(
                  "call %d travels on from %s to %s", call.number(), podId, other.id());
          case Route.Reject _ -> false;
        };
    if (serves) {
      visit(pod, call, model);
    } else {
      timeline.after(NET_NS, () -> retry(call, podId));
    }
  }

  private void replied(SimCall call, SimPod pod, Reply reply) {
    boolean arrives = !faults.parted(call.ingress(), pod);
    if (reply == Reply.SERVED && arrives) {
      end(call, "");
    } else {
      retry(call, pod.id());
    }
  }

  private void retry(SimCall call, String podId) {
    if (!call.ended()) {
      call.tried().add(podId);
      attempt(call);
    }
  }

  /**
   * @param cause empty when it was served
   */
  private void end(SimCall call, String cause) {
    if (call.ended()) {
      return;
    }
    call.end();
    open.remove(call);
    tally.note(timeline.nowNs(), "end", call.name(), cause, call.number());
    if (cause.isEmpty()) {
      tally.served((timeline.nowNs() - call.startNs()) / Timeline.MS);
      tally.hits += call.waited() ? 0 : 1;
    } else {
      tally.rejected(cause);
      if (call.probe()) {
        failedProbes.merge(call.name(), cause, (a, b) -> a + "," + b);
      }
    }
    if (call.probe() && cause.isEmpty()) {
      servedProbes.add(call.name());
    }
  }

  // The liveness phase.

  /** Calls each popular name until it is served, a few times at most. */
  private void probe() {
    long delayNs = 0;
    for (String name : workload.popular(PROBES)) {
      Model model = registry.newest().resolve(name);
      if (model != null && catalogue.servable(model.id()) && placeable(model)) {
        expected.add(name);
        probe(name, delayNs, PROBE_TRIES);
        delayNs += 200 * Timeline.MS;
      }
    }
  }

  private void probe(String name, long delayNs, int tries) {
    if (tries > 0) {
      timeline.after(
          delayNs,
          () -> {
            if (!servedProbes.contains(name)) {
              call(name, true);
              probe(name, 7 * Timeline.SECOND, tries - 1);
            }
          });
    }
  }

  private boolean placeable(Model model) {
    for (SimPod pod : live) {
      Pod record = registry.newest().pod(pod.id());
      if (record != null && record.labels().containsAll(model.requiredLabels())) {
        return true;
      }
    }
    return false;
  }

  private void checkSettled() {
    for (String name : expected) {
      invariants.check(
          servedProbes.contains(name),
          "'%s' can be served, but was not: %s",
          name,
          failedProbes.getOrDefault(name, "no answer"));
    }
    // What the last calls caused is not for ever: a deadline, a queue, a load, and time to tell.
    long untilNs = timeline.nowNs() + 4 * Timeline.MINUTE;
    workload.silence();
    timeline.runUntil(untilNs);
    MeshView view = registry.flush(timeline.nowNs());
    invariants.check(open.isEmpty(), "%d calls never ended", open.size());
    invariants.check(
        live.size() == options.pods(), "%d of %d pods came back", live.size(), options.pods());
    for (SimPod pod : live) {
      invariants.settled(pod, view);
    }
    for (Pod pod : view.pods()) {
      for (Copy copy : view.copiesIn(pod.id())) {
        invariants.check(pod(copy.podId()) != null, "a copy in %s, which is dead", pod.id());
      }
    }
  }
}
