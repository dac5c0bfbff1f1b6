package orlop.sim;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.Action;
import orlop.placement.CacheConfig;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Event;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.ModelCache;
import orlop.placement.Placer;
import orlop.placement.Pod;
import orlop.placement.Usage;

/** One serving pod: the production cache, and a runtime, a shell and a registry link in play. */
final class SimPod implements Usage {
  /** How a visit of a call ended. */
  enum Reply {
    SERVED,
    REFUSED,
    LOST
  }

  /** Hears how a visit ended. */
  interface Listener {
    void ended(Reply reply);
  }

  private record Visit(SimCall call, Listener listener) {}

  private static final long LOAD_TIMEOUT_NS = 60 * Timeline.SECOND;
  private static final double SLOW_DISK_PER_SECOND = 40e6;

  /** A load is announced when it takes longer than this. */
  private static final long HOLD_BACK_NS = 250 * Timeline.MS;

  private final Simulation sim;
  private final Pod first;
  private final int ordinal;
  private final CacheConfig config;
  private final ModelCache cache;
  private final Ledger ledger = new Ledger();
  private final Map<String, List<Visit>> waiting = new HashMap<>();
  private final Set<Visit> running = new LinkedHashSet<>();
  private final Map<String, Long> lastWantNs = new HashMap<>();
  private final Set<String> known = new HashSet<>();
  private final Map<String, Copy> announced = new LinkedHashMap<>();
  private final Set<String> unsent = new LinkedHashSet<>();
  private final Set<String> sent = new HashSet<>();
  private final Map<String, Long> heldBack = new HashMap<>();
  private final Set<Visit> handedOver = new LinkedHashSet<>();
  private final Set<String> urgent = new HashSet<>();
  private final Set<String> online = new HashSet<>();
  private final Map<String, Long> turn = new HashMap<>();
  private final Map<String, Long> waitingSinceNs = new HashMap<>();
  private final Map<String, Long> retryAtMs = new HashMap<>();
  private final long lagNs;
  private boolean alive = true;
  private boolean draining;
  private @Nullable MeshView frozen;
  private boolean cutOff;
  private int slowness = 1;
  private boolean slowDisk;
  private long turns;
  private Pod said;

  SimPod(Simulation sim, Pod first, int ordinal, long lagNs) {
    this.sim = sim;
    this.first = first;
    this.ordinal = ordinal;
    this.lagNs = lagNs;
    this.said = first;
    Memory capacity = first.capacity();
    config =
        new CacheConfig(
            capacity,
            new Memory(capacity.ramBytes() / 64, capacity.vramBytes() / 64),
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
    cache = new ModelCache(config, this);
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

  boolean alive() {
    return alive;
  }

  boolean draining() {
    return draining;
  }

  MeshView view() {
    return frozen != null ? frozen : sim.registry().asOf(sim.timeline().nowNs() - lagNs);
  }

  // Usage.

  @Override
  public long lastUsedNs(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    return holding == null ? 0 : holding.lastUsedNs;
  }

  @Override
  public long lastOnlineUseNs(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    return holding == null ? 0 : holding.lastOnlineUseNs;
  }

  @Override
  public long uses(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    return holding == null ? 0 : holding.uses;
  }

  @Override
  public int recentUses(String modelId, long[] newestFirst) {
    Ledger.Holding holding = ledger.get(modelId);
    return holding == null ? 0 : holding.recentUses(newestFirst);
  }

  @Override
  public boolean pinned(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    return holding != null && holding.pins > 0;
  }

  // Calls.

  boolean callable(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    return holding != null && holding.callable;
  }

  /** Serves the call here, after a load when there must be one. */
  void visit(SimCall call, Model model, Listener listener) {
    Visit visit = new Visit(call, listener);
    if (callable(model.id())) {
      run(visit, model.id());
      return;
    }
    call.waits();
    waiting.computeIfAbsent(model.id(), id -> new ArrayList<>()).add(visit);
    waitingSinceNs.putIfAbsent(model.id(), sim.timeline().nowNs());
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
      urgent.add(model.id());
    }
    if (purpose == Event.Purpose.ONLINE) {
      online.add(model.id());
    }
    feed(new Event.Wanted(model.id(), size, lastUsedNs, purpose));
  }

  void letGo(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    if (holding != null) {
      holding.letGo = true;
    }
    feed(new Event.Unwanted(modelId));
  }

  private void run(Visit visit, String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    if (holding == null) {
      throw sim.invariants().broken("pod %s runs a call on absent %s", id(), modelId);
    }
    holding.pins++;
    holding.used(sim.timeline().nowNs(), !visit.call.batch());
    running.add(visit);
    sim.timeline()
        .after(
            sim.serviceNs(),
            () -> {
              if (running.remove(visit)) {
                holding.pins--;
                holding.lastUsedNs = sim.timeline().nowNs();
                visit.listener.ended(Reply.SERVED);
              }
            });
  }

  // The cache and what it asks for.

  void tick() {
    MeshView view = view();
    for (String modelId : List.copyOf(announced.keySet())) {
      if (view.model(modelId) != null) {
        known.add(modelId);
      } else if (known.remove(modelId) || unknownForLong(modelId)) {
        forget(modelId);
      }
    }
    feed(new Event.Tick());
    introduce();
    sim.invariants().truthful(this);
    waitingSinceNs.forEach(
        (id, sinceNs) ->
            sim.invariants().waitEnds(this, id, sim.timeline().nowNs() - sinceNs, mostWaitNs()));
  }

  /** In the queue, for a load, for an unload, and in the queue once more. */
  private long mostWaitNs() {
    return 2 * config.queueTimeoutMs() * Timeline.MS + 2 * LOAD_TIMEOUT_NS;
  }

  /** Longer than any stale view could explain. */
  private boolean unknownForLong(String modelId) {
    long sinceNs = lastWantNs.getOrDefault(modelId, 0L);
    return sim.timeline().nowNs() - sinceNs > Timeline.MINUTE;
  }

  private void forget(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    if (holding != null) {
      holding.letGo = true;
    }
    lastWantNs.remove(modelId);
    feed(new Event.Forgotten(modelId));
  }

  void drain() {
    draining = true;
    feed(new Event.Draining());
    introduce();
  }

  boolean idle() {
    return running.isEmpty() && waiting.isEmpty() && handedOver.isEmpty();
  }

  private void feed(Event event) {
    if (!alive) {
      return;
    }
    List<Action> actions = cache.step(event, sim.timeline().nowNs());
    List<Runnable> answers = new ArrayList<>();
    for (Action action : actions) {
      switch (action) {
        case Action.Load(String modelId) -> startLoad(modelId);
        case Action.Unload(String modelId) -> startUnload(modelId);
        case Action.Publish(String modelId, CopyState state) -> announce(modelId, state);
        case Action.Answer(String modelId, Action.Outcome outcome) ->
            answers.add(() -> answer(modelId, outcome));
      }
    }
    sim.invariants().afterStep(this, actions);
    answers.forEach(Runnable::run);
  }

  private void answer(String modelId, Action.Outcome outcome) {
    List<Visit> visits = waiting.remove(modelId);
    waitingSinceNs.remove(modelId);
    urgent.remove(modelId);
    online.remove(modelId);
    if (visits == null) {
      return;
    }
    for (Visit visit : visits) {
      if (outcome instanceof Action.Outcome.Ready) {
        handOver(visit, modelId);
      } else {
        visit.listener.ended(Reply.REFUSED);
      }
    }
  }

  private void handOver(Visit visit, String modelId) {
    handedOver.add(visit);
    sim.timeline()
        .after(
            sim.handOverNs(),
            () -> {
              if (handedOver.remove(visit)) {
                sim.invariants().promised(this, modelId);
                run(visit, modelId);
              }
            });
  }

  private void startLoad(String modelId) {
    sim.invariants().loadStarts(this, modelId);
    Memory reserved = cache.size(modelId);
    ledger.take(modelId, reserved);
    sim.tally().loads++;
    sim.tally().note(sim.timeline().nowNs(), "load", id(), modelId, reserved.ramBytes());
    Catalogue.Truth truth = sim.catalogue().truth(modelId);
    Memory real = truth == null ? reserved : Catalogue.memory(truth, capacity().vramBytes() > 0);
    long startNs = sim.timeline().nowNs();
    long durationNs = sim.loadNs(truth) * slowness + diskNs(truth);
    boolean hangs = sim.faults().hangs();
    String failure = sim.faults().loadFailure(truth);
    sim.timeline()
        .after(
            Math.min(hangs ? LOAD_TIMEOUT_NS : durationNs, LOAD_TIMEOUT_NS),
            () -> {
              sim.tally().loadNs += sim.timeline().nowNs() - startNs;
              if (hangs || durationNs >= LOAD_TIMEOUT_NS) {
                loadFailed(modelId, "timed out", false);
              } else if (failure != null) {
                boolean permanent = truth != null && truth.nature() == Catalogue.Nature.BROKEN;
                loadFailed(modelId, failure, permanent);
              } else if (runsOutOfMemory(modelId, real)) {
                loadFailed(modelId, "out of memory", false);
              } else {
                loadDone(modelId, real);
              }
            });
  }

  private long diskNs(Catalogue.@Nullable Truth truth) {
    return slowDisk && truth != null
        ? (long) (truth.sizeBytes() / SLOW_DISK_PER_SECOND * Timeline.SECOND)
        : 0;
  }

  private boolean runsOutOfMemory(String modelId, Memory real) {
    Ledger.Holding holding = ledger.get(modelId);
    return holding != null
        && sim.faults()
            .outOfMemory(ledger.used().minus(holding.size).plus(real).fitsIn(capacity()));
  }

  private void loadDone(String modelId, Memory real) {
    Ledger.Holding holding = ledger.get(modelId);
    if (!alive || holding == null) {
      return;
    }
    ledger.measured(holding, real);
    holding.letGo = holding.letGo || !real.fitsIn(capacity());
    sim.tally().note(sim.timeline().nowNs(), "loaded", id(), modelId, real.ramBytes());
    feed(new Event.LoadDone(modelId, real));
  }

  private void loadFailed(String modelId, String reason, boolean permanent) {
    if (alive) {
      ledger.gone(modelId);
      sim.tally().failedLoads++;
      sim.tally().note(sim.timeline().nowNs(), "failed", id(), modelId, 0);
      feed(new Event.LoadFailed(modelId, reason, permanent));
    }
  }

  private void startUnload(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    if (holding == null) {
      throw sim.invariants().broken("pod %s unloads absent %s", id(), modelId);
    }
    sim.invariants().unloadStarts(this, modelId, holding.pins);
    if (ledger.evictedForRoom(modelId)) {
      sim.tally().evictions++;
    }
    ledger.unloading(holding);
    sim.tally().note(sim.timeline().nowNs(), "unload", id(), modelId, 0);
    boolean fails = sim.faults().unloadFails();
    sim.timeline()
        .after(
            sim.unloadNs(),
            () -> {
              if (!alive) {
                return;
              }
              if (fails) {
                ledger.stuck(holding);
                feed(new Event.UnloadFailed(modelId, "busy"));
              } else {
                ledger.gone(modelId);
                feed(new Event.UnloadDone(modelId));
              }
            });
  }

  // What the invariants ask.

  Set<String> announcedModels() {
    return announced.keySet();
  }

  @Nullable CopyState announced(String modelId) {
    Copy copy = announced.get(modelId);
    return copy == null ? null : copy.state();
  }

  /** Gives each model that began to queue for a call its turn. */
  void noteTurns() {
    turn.keySet().removeIf(id -> !queues(id));
    urgent.stream()
        .filter(id -> !turn.containsKey(id) && queues(id))
        .sorted()
        .forEach(id -> turn.put(id, turns++));
  }

  private boolean queues(String modelId) {
    return urgent.contains(modelId)
        && !ledger.holds(modelId)
        && announced(modelId) instanceof CopyState.Loading;
  }

  /** Bytes of what calls, batches apart, wait for since before it was this one's turn. */
  long claimedBefore(String modelId) {
    long until = turn.getOrDefault(modelId, Long.MAX_VALUE);
    long bytes = 0;
    for (Map.Entry<String, Long> other : turn.entrySet()) {
      if (other.getValue() < until && online.contains(other.getKey()) && queues(other.getKey())) {
        bytes += cache.size(other.getKey()).ramBytes();
      }
    }
    return bytes;
  }

  /** Whether the pause that was announced with its last failure is over. */
  boolean mayLoadAgain(String modelId) {
    return retryAtMs.getOrDefault(modelId, 0L) <= sim.timeline().nowMs();
  }

  /** Bytes of the models that wait to be loaded here. */
  long waitingBytes() {
    long bytes = 0;
    for (Copy copy : announced.values()) {
      if (copy.isLoading() && !ledger.holds(copy.modelId())) {
        bytes += cache.size(copy.modelId()).ramBytes();
      }
    }
    return bytes;
  }

  // The registry link.

  private void announce(String modelId, @Nullable CopyState state) {
    if (state == null) {
      announced.remove(modelId);
    } else {
      announced.put(modelId, new Copy(modelId, id(), state, sim.timeline().nowMs()));
    }
    if (state instanceof CopyState.FailedToLoad(String _, long untilMs)) {
      retryAtMs.put(modelId, untilMs);
    } else if (!(state instanceof CopyState.Loading)) {
      retryAtMs.remove(modelId);
    }
    if (state instanceof CopyState.Loading && !sent.contains(modelId)) {
      holdBack(modelId);
    } else {
      heldBack.remove(modelId);
      unsent.add(modelId);
      send();
    }
  }

  /** A load that is over soon is announced once, when it is done. */
  private void holdBack(String modelId) {
    long untilNs = sim.timeline().nowNs() + HOLD_BACK_NS;
    heldBack.putIfAbsent(modelId, untilNs);
    sim.timeline()
        .after(
            HOLD_BACK_NS,
            () -> {
              if (heldBack.remove(modelId, untilNs)) {
                unsent.add(modelId);
                send();
              }
            });
  }

  /** Publishes the pod's own record when it changed. */
  void introduce() {
    Pod now =
        new Pod(
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
    if (!now.equals(said) && !cutOff && sim.registry().writePod(now)) {
      said = now;
    }
    send();
  }

  private void send() {
    if (cutOff || !sim.registry().leased(id())) {
      return;
    }
    for (String modelId : unsent) {
      Copy copy = announced.get(modelId);
      if (copy != null && !(copy.state() instanceof CopyState.Unloading)) {
        sim.tally().puts++;
        sent.add(modelId);
        sim.registry().writeCopy(copy);
      } else if (sent.remove(modelId)) {
        sim.tally().deletes++;
        sim.registry().removeCopy(id(), modelId);
      }
    }
    unsent.clear();
  }

  /** Joins, for the first time or after the lease was lost: everything is written anew. */
  void join() {
    if (!alive || sim.registry().leased(id())) {
      return;
    }
    sim.registry().grant(id());
    sent.clear();
    heldBack.clear();
    sim.registry().writePod(said);
    unsent.addAll(announced.keySet());
    introduce();
  }

  /** Neither sees nor writes the registry from now on. */
  void cutOff() {
    frozen = view();
    cutOff = true;
  }

  void reconnect() {
    frozen = null;
    cutOff = false;
    if (alive) {
      join();
      introduce();
    }
  }

  void slowDisk(boolean nowSlow) {
    slowDisk = nowSlow;
  }

  void slow(int factor) {
    slowness = factor;
  }

  /** Dies: what it held is gone and its calls are lost. */
  void die() {
    alive = false;
    List<Visit> lost = new ArrayList<>(running);
    lost.addAll(handedOver);
    handedOver.clear();
    waiting.keySet().stream().sorted().forEach(id -> lost.addAll(waitersOf(id)));
    running.clear();
    waiting.clear();
    lost.forEach(visit -> visit.listener.ended(Reply.LOST));
  }

  private List<Visit> waitersOf(String modelId) {
    return waiting.getOrDefault(modelId, List.of());
  }
}
