package orlop.sim;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import orlop.placement.Action;
import orlop.placement.CacheConfig;
import orlop.placement.CopyState;
import orlop.placement.Event;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.ModelCache;
import orlop.placement.Placer;
import orlop.placement.Pod;

/** One serving pod: the production cache, and a runtime, a shell and a registry link in play. */
final class SimPod {
  private final Simulation sim;
  private final Pod first;
  private final int ordinal;
  private final CacheConfig config;
  private final ModelCache cache;
  private final Ledger ledger = new Ledger();
  private final SimLink link;
  private final SimRuntime runtime;
  private final SimVisits visits;
  private final Turns turns;
  private final Map<String, Long> lastWantNs = new HashMap<>();
  private final Set<String> known = new HashSet<>();
  private boolean alive = true;
  private boolean draining;

  SimPod(Simulation sim, Pod first, int ordinal, long lagNs) {
    this.sim = sim;
    this.first = first;
    this.ordinal = ordinal;
    config = config(first.capacity());
    cache = new ModelCache(config, ledger);
    link = new SimLink(sim, first, lagNs);
    runtime = new SimRuntime(sim, this, ledger);
    visits = new SimVisits(sim, this);
    turns = new Turns(cache, ledger, link);
  }

  /** Short queues and pauses, so that a few minutes see all of them end. */
  private static CacheConfig config(Memory capacity) {
    Memory unknownSize = new Memory(capacity.ramBytes() / 64, capacity.vramBytes() / 64);
    return new CacheConfig(
        capacity,
        unknownSize,
        1_000,
        3,
        200,
        500,
        60_000,
        1_000,
        2_000,
        2_000,
        60_000,
        1_000,
        16_000);
  }

  String id() {
    return first.id();
  }

  int ordinal() {
    return ordinal;
  }

  String zone() {
    return first.zone();
  }

  Memory capacity() {
    return first.capacity();
  }

  CacheConfig config() {
    return config;
  }

  ModelCache cache() {
    return cache;
  }

  Ledger ledger() {
    return ledger;
  }

  SimLink link() {
    return link;
  }

  SimRuntime runtime() {
    return runtime;
  }

  Turns turns() {
    return turns;
  }

  boolean alive() {
    return alive;
  }

  boolean draining() {
    return draining;
  }

  MeshView view() {
    return link.view();
  }

  // Calls.

  boolean callable(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    return holding != null && holding.callable;
  }

  /** Serves the call here, after a load when there must be one. */
  void visit(SimCall call, Model model, Reply.Listener listener) {
    if (callable(model.id())) {
      visits.run(call, model.id(), listener);
      return;
    }
    visits.queue(call, model.id(), listener);
    want(model, sim.timeline().nowNs(), call.batch() ? Event.Purpose.BATCH : Event.Purpose.ONLINE);
  }

  /** Nobody waits: a plan. */
  void want(Model model, long lastUsedNs) {
    want(model, lastUsedNs, Event.Purpose.ONLINE);
  }

  private void want(Model model, long lastUsedNs, Event.Purpose purpose) {
    Memory size = Placer.expectedSize(view(), model, first);
    lastWantNs.put(model.id(), sim.timeline().nowNs());
    if (lastUsedNs >= sim.timeline().nowNs() - config.liveWindowMs() * Timeline.MS) {
      turns.urgent(model.id());
    }
    if (purpose == Event.Purpose.ONLINE) {
      turns.online(model.id());
    }
    feed(new Event.Wanted(model.id(), size, lastUsedNs, purpose));
  }

  void letGo(String modelId) {
    ledger.letGo(modelId);
    feed(new Event.Unwanted(modelId));
  }

  /** No call is in the pod. */
  boolean idle() {
    return visits.none();
  }

  // The cache and what it asks for.

  void tick() {
    MeshView view = view();
    for (String modelId : List.copyOf(link.models())) {
      if (view.model(modelId) != null) {
        known.add(modelId);
      } else if (known.remove(modelId) || unknownForLong(modelId)) {
        forget(modelId);
      }
    }
    feed(new Event.Tick());
    introduce();
    sim.invariants().truthful(this);
    visits.checkWaits(mostWaitNs());
  }

  /** In the queue, for a load, for an unload, and in the queue once more. */
  private long mostWaitNs() {
    return 2 * config.queueTimeoutMs() * Timeline.MS + 2 * SimRuntime.LOAD_TIMEOUT_NS;
  }

  /** Longer than any stale view could explain. */
  private boolean unknownForLong(String modelId) {
    long sinceNs = lastWantNs.getOrDefault(modelId, 0L);
    return sim.timeline().nowNs() - sinceNs > Timeline.MINUTE;
  }

  private void forget(String modelId) {
    ledger.letGo(modelId);
    lastWantNs.remove(modelId);
    feed(new Event.Forgotten(modelId));
  }

  /** Tells the cache what happened and carries out what it says; nothing once the pod is dead. */
  void feed(Event event) {
    if (!alive) {
      return;
    }
    List<Action> actions = cache.step(event, sim.timeline().nowNs());
    List<Runnable> answers = new ArrayList<>();
    for (Action action : actions) {
      switch (action) {
        case Action.Load(String modelId) -> runtime.load(modelId);
        case Action.Unload(String modelId) -> runtime.unload(modelId);
        case Action.Publish(String modelId, CopyState state) -> link.announce(modelId, state);
        case Action.Answer(String modelId, Action.Outcome outcome) ->
            answers.add(() -> answer(modelId, outcome));
      }
    }
    sim.invariants().afterStep(this, actions);
    answers.forEach(Runnable::run);
  }

  private void answer(String modelId, Action.Outcome outcome) {
    turns.answered(modelId);
    visits.answered(modelId, outcome);
  }

  // The pod in the mesh.

  /** Joins, for the first time or after the lease was lost. */
  void join() {
    if (alive) {
      link.join(record());
    }
  }

  /** Publishes the pod's own record when it changed. */
  private void introduce() {
    link.introduce(record());
  }

  private Pod record() {
    return new Pod(
        id(),
        first.address(),
        first.zone(),
        first.labels(),
        first.capacity(),
        cache.used(),
        cache.loadsQueued(),
        cache.oldestUseNs() / Timeline.MS,
        draining,
        first.startedMs(),
        first.version());
  }

  void drain() {
    draining = true;
    feed(new Event.Draining());
    introduce();
  }

  /** Sees and writes the registry again after it was {@linkplain SimLink#cutOff cut off}. */
  void reconnect() {
    link.reconnect();
    if (alive) {
      join();
      introduce();
    }
  }

  /** Dies: what it held is gone and its calls are lost. */
  void die() {
    alive = false;
    visits.lose();
  }
}
