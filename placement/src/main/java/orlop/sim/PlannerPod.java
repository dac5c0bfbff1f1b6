package orlop.sim;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.Action;
import orlop.placement.CacheConfig;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.DemandMeter;
import orlop.placement.Event;
import orlop.placement.HandOver;
import orlop.placement.Keeps;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.ModelCache;
import orlop.placement.Outlook;
import orlop.placement.Placer;
import orlop.placement.Pod;
import orlop.placement.Usage;

/**
 * One pod of a {@link PlannerMesh}: the production cache, compute threads with one queue, and a
 * runtime that loads and unloads without fault.
 */
final class PlannerPod implements Usage {
  /** One call in this pod. */
  record Visit(PlannerCall call, String modelId, Reply.Listener listener) {}

  private static final long UNLOAD_NS = 200 * Timeline.MS;
  private static final long OLDEST_USE_STEP_MS = 10_000;

  /** A model in this pod's memory. */
  private static final class Held {
    int pins;
    long lastUsedNs;
    long calls;
    double waitedMs;
    long saidCalls;
    double saidWaitedMs;
  }

  private record Queued(Visit visit, Held held, long sinceNs) {}

  private final PlannerMesh mesh;
  private final Pod first;
  private final ModelCache cache;
  private final int threads;
  private final int loaders;
  private final long lagNs;

  /** What is queued or being loaded, and since when it is; the future while it is queued. */
  private final Map<String, Long> loading = new LinkedHashMap<>();

  private final Map<String, Held> held = new LinkedHashMap<>();
  private final Map<String, List<Visit>> waiting = new HashMap<>();
  private final Queue<Queued> queue = new ArrayDeque<>();
  private final Set<Visit> running = new LinkedHashSet<>();
  private Set<String> kept = Set.of();
  private Pod said;
  private boolean alive = true;
  private boolean closed;
  private boolean draining;
  private long drainNs;
  private double busyNs;
  private long busySinceNs;
  private @Nullable HandOver handOver;

  PlannerPod(PlannerMesh mesh, Pod first, int threads, int loaders, long lagNs) {
    this.mesh = mesh;
    this.first = first;
    this.said = first;
    this.threads = threads;
    this.lagNs = lagNs;
    this.loaders = loaders;
    CacheConfig d = CacheConfig.defaults(first.capacity());
    CacheConfig config =
        new CacheConfig(
            d.capacity(),
            d.unknownSize(),
            d.maxResidents(),
            loaders,
            d.maxQueued(),
            d.maxFailed(),
            d.queueTimeoutMs(),
            d.graceMs(),
            d.liveWindowMs(),
            d.retryFirstMs(),
            d.retryMaxMs(),
            d.unloadRetryFirstMs(),
            d.unloadRetryMaxMs());
    cache = new ModelCache(config, config.evictionPolicy().policy(), this);
  }

  String id() {
    return first.id();
  }

  /** Whether a load balancer that probes each second sends calls here. */
  boolean ready() {
    return alive && !closed && (!draining || mesh.nowNs() - drainNs < Timeline.SECOND);
  }

  boolean alive() {
    return alive;
  }

  MeshView view() {
    return mesh.registry().asOf(mesh.nowNs() - lagNs);
  }

  boolean callable(String modelId) {
    return held.containsKey(modelId);
  }

  int loadedModels() {
    return held.size();
  }

  // Usage.

  @Override
  public long lastUsedNs(String modelId) {
    Held model = held.get(modelId);
    return model == null ? 0 : model.lastUsedNs;
  }

  @Override
  public boolean pinned(String modelId) {
    Held model = held.get(modelId);
    return model != null && model.pins > 0;
  }

  @Override
  public int copiesElsewhere(String modelId) {
    return Keeps.elsewhere(view(), id(), modelId);
  }

  @Override
  public boolean kept(String modelId) {
    return kept.contains(modelId);
  }

  // Calls.

  void visit(Visit visit, Model model) {
    if (!alive || closed) {
      visit.listener.ended(Reply.LOST);
    } else if (callable(model.id())) {
      enter(visit);
    } else {
      waiting.computeIfAbsent(model.id(), id -> new ArrayList<>()).add(visit);
      want(model, mesh.nowNs());
    }
  }

  void want(Model model, long lastUsedNs) {
    feed(new Event.Wanted(model.id(), Placer.expectedSize(view(), model, first), lastUsedNs));
  }

  void letGo(String modelId) {
    feed(new Event.Unwanted(modelId));
  }

  private void enter(Visit visit) {
    Held model = held.get(visit.modelId);
    if (model == null) {
      throw new IllegalStateException("pod " + id() + " runs a call on absent " + visit.modelId);
    }
    model.pins++;
    model.calls++;
    model.lastUsedNs = mesh.nowNs();
    Queued queued = new Queued(visit, model, mesh.nowNs());
    if (running.size() < threads) {
      run(queued);
    } else {
      queue.add(queued);
    }
  }

  private void run(Queued queued) {
    Visit visit = queued.visit;
    account();
    running.add(visit);
    queued.held.waitedMs += (mesh.nowNs() - queued.sinceNs) / 1e6;
    mesh.timeline()
        .after(
            visit.call.serviceNs(),
            () -> {
              if (!running.contains(visit)) {
                return;
              }
              account();
              running.remove(visit);
              queued.held.pins--;
              queued.held.lastUsedNs = mesh.nowNs();
              visit.listener.ended(Reply.SERVED);
              Queued next = queue.poll();
              if (next != null) {
                run(next);
              }
            });
  }

  private void account() {
    busyNs += running.size() * (double) (mesh.nowNs() - busySinceNs);
    busySinceNs = mesh.nowNs();
  }

  /** Tells the planner what was called since it was last told. */
  void report(DemandMeter meter, long intervalNs) {
    account();
    meter.busy(id(), busyNs / threads / intervalNs, mesh.nowMs());
    busyNs = 0;
    held.forEach(
        (id, model) -> {
          long news = model.calls - model.saidCalls;
          if (news > 0) {
            double waitedMs = model.waitedMs - model.saidWaitedMs;
            meter.called(id, news, waitedMs, model.lastUsedNs / Timeline.MS, mesh.nowMs());
            model.saidCalls = model.calls;
            model.saidWaitedMs = model.waitedMs;
          }
        });
  }

  // The cache and what it asks for.

  void tick() {
    kept = Keeps.of(view(), id());
    feed(new Event.Tick());
    introduce(false);
  }

  private void feed(Event event) {
    if (!alive) {
      return;
    }
    List<Runnable> answers = new ArrayList<>();
    for (Action action : cache.step(event, mesh.nowNs())) {
      switch (action) {
        case Action.Load(String id) -> load(id);
        case Action.Unload(String id) -> unload(id);
        case Action.Publish(String id, CopyState state) -> publish(id, state);
        case Action.Answer(String id, Action.Outcome outcome) ->
            answers.add(() -> answer(id, outcome));
      }
    }
    answers.forEach(Runnable::run);
    if (cache.loadsQueued() != said.loadsQueued()) {
      introduce(false);
    }
  }

  private void load(String id) {
    mesh.counts().loads++;
    loading.put(id, mesh.nowNs());
    mesh.timeline()
        .after(
            mesh.loadNs(id),
            () -> {
              if (alive) {
                held.put(id, new Held());
                feed(new Event.LoadDone(id, mesh.size(id)));
              }
            });
  }

  private void unload(String id) {
    Held gone = held.remove(id);
    if (gone != null && gone.pins > 0) {
      throw new IllegalStateException("pod " + id() + " unloads " + id + " under a call");
    }
    mesh.timeline().after(UNLOAD_NS, () -> feed(new Event.UnloadDone(id)));
  }

  private void answer(String id, Action.Outcome outcome) {
    List<Visit> visits = waiting.remove(id);
    if (visits != null) {
      for (Visit visit : visits) {
        if (outcome instanceof Action.Outcome.Ready) {
          enter(visit);
        } else {
          visit.listener.ended(Reply.REFUSED);
        }
      }
    }
  }

  // The registry.

  private void publish(String id, @Nullable CopyState state) {
    if (state instanceof CopyState.Loading) {
      loading.putIfAbsent(id, Long.MAX_VALUE / 2);
    } else {
      loading.remove(id);
    }
    if (state == null) {
      mesh.registry().removeCopy(id(), id);
    } else {
      mesh.registry().writeCopy(new Copy(id, id(), state, mesh.nowMs()));
    }
    mesh.watch().changed(id(), id, state);
  }

  void join() {
    mesh.registry().grant(id());
    mesh.registry().writePod(first);
  }

  private Outlook outlook() {
    long queuedMs = 0;
    for (Map.Entry<String, Long> load : loading.entrySet()) {
      long doneNs = Math.max(0, mesh.nowNs() - load.getValue());
      queuedMs += Math.max(0, mesh.loadNs(load.getKey()) - doneNs) / Timeline.MS;
    }
    return new Outlook(mesh.nowMs(), loaders, queuedMs, 0, Map.of(), 0, 0);
  }

  private void introduce(boolean urgent) {
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
            first.version(),
            outlook());
    boolean matters =
        !now.used().equals(said.used())
            || now.loadsQueued() != said.loadsQueued()
            || Math.abs(now.oldestUseMs() - said.oldestUseMs()) >= OLDEST_USE_STEP_MS;
    if (!closed && (urgent || matters)) {
      mesh.registry().writePod(now);
      said = now;
    }
  }

  // The end.

  /** SIGTERM: serves on until the hand-over is over, then leaves. */
  void drain(Runnable gone) {
    draining = true;
    drainNs = mesh.nowNs();
    handOver = new HandOver(id(), mesh.nowMs());
    feed(new Event.Draining());
    introduce(true);
    mesh.hasten();
    awaitHandOver(gone);
  }

  private void awaitHandOver(Runnable gone) {
    List<String> used = new ArrayList<>();
    held.forEach(
        (id, model) -> {
          if (model.lastUsedNs > mesh.nowNs() - HandOver.RECENT_MS * Timeline.MS) {
            used.add(id);
          }
        });
    boolean late = mesh.nowNs() - drainNs >= mesh.setup().handOverMs() * Timeline.MS;
    HandOver waiting = handOver;
    if (late || waiting == null || waiting.over(view(), used, mesh.nowMs())) {
      mesh.registry().revoke(id());
      leave(gone);
    } else {
      mesh.timeline().after(50 * Timeline.MS, () -> awaitHandOver(gone));
    }
  }

  /** Out of the registry; calls on their way here are refused, those that run end. */
  private void leave(Runnable gone) {
    closed = true;
    refuseWaiting();
    mesh.timeline()
        .after(
            100 * Timeline.MS,
            () -> {
              if (running.isEmpty() && queue.isEmpty()) {
                die();
                gone.run();
              } else {
                leave(gone);
              }
            });
  }

  private void refuseWaiting() {
    List<Visit> all = new ArrayList<>();
    waiting.keySet().stream()
        .sorted()
        .forEach(id -> all.addAll(waiting.getOrDefault(id, List.of())));
    waiting.clear();
    all.forEach(visit -> visit.listener.ended(Reply.LOST));
  }

  /** Ends at once; what runs is lost. The registry learns of it when the lease ends. */
  void die() {
    alive = false;
    mesh.ended(this);
    List<Visit> lost = new ArrayList<>(running);
    queue.forEach(queued -> lost.add(queued.visit));
    running.clear();
    queue.clear();
    refuseWaiting();
    lost.forEach(visit -> visit.listener.ended(Reply.LOST));
  }
}
