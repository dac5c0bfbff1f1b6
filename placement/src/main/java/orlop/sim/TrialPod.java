package orlop.sim;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.Action;
import orlop.placement.CacheConfig;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Delta;
import orlop.placement.Event;
import orlop.placement.EvictionPolicy;
import orlop.placement.Hints;
import orlop.placement.LoadTimes;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.placement.ModelCache;
import orlop.placement.Outlook;
import orlop.placement.Pod;
import orlop.placement.Router;
import orlop.placement.Usage;

/** One pod of a {@link PlacementTrial}: the production cache, a disk and loaders in play. */
final class TrialPod implements Usage {
  /** Hears how a visit ended. */
  interface Visitor {
    void ended(boolean served);
  }

  /** Of one model since it was loaded, the newest first. */
  private static final class Uses {
    final long[] atNs = new long[EvictionPolicy.USES_KEPT];
    long count;

    void add(long nowNs) {
      System.arraycopy(atNs, 0, atNs, 1, atNs.length - 1);
      atNs[0] = nowNs;
      count++;
    }
  }

  private static final long UNLOAD_NS = 50 * Timeline.MS;
  private static final long PUBLISH_NS = Timeline.SECOND;

  /** Disk over memory. */
  private static final int DISK_FACTOR = 4;

  private final PlacementTrial trial;
  private final String id;
  private final String zone;
  private final Memory capacity;
  private final ModelCache cache;
  private final Map<String, Uses> uses = new HashMap<>();
  private final Map<String, List<Visitor>> waiting = new HashMap<>();
  private final Map<String, Long> expectedMs = new HashMap<>();
  private final LoadTimes times = new LoadTimes();
  private final LinkedHashMap<String, Long> disk = new LinkedHashMap<>(16, 0.75f, true);
  private long diskBytes;
  private long diskSinceMs;
  private final Map<String, Long> leftMs = new HashMap<>();
  private long queuedMs;
  private long queuedBytes;
  private final Set<String> notStarted = new HashSet<>();
  private Hints hints = Hints.NONE;
  private long saidNs;
  private boolean changed;
  private long loads;
  private double loadSeconds;
  private long callsThisMinute;
  private int callsPerMinute;
  private long minuteNs;
  private long lastDoneNs;

  TrialPod(PlacementTrial trial, int number) {
    this.trial = trial;
    this.id = "pod-" + number;
    this.zone = "zone-" + number % 3;
    this.capacity = Memory.ram(trial.setup.podBytes());
    CacheConfig d = CacheConfig.defaults(capacity);
    CacheConfig config =
        new CacheConfig(
            capacity,
            d.unknownSize(),
            d.maxResidents(),
            trial.setup.loaders(),
            d.maxQueued(),
            d.maxFailed(),
            PlacementTrial.DEADLINE_MS,
            d.graceMs(),
            d.liveWindowMs(),
            d.retryFirstMs(),
            d.retryMaxMs(),
            d.unloadRetryFirstMs(),
            d.unloadRetryMaxMs());
    cache = new ModelCache(config, trial.setup.policy().policy(), this);
  }

  String id() {
    return id;
  }

  long loads() {
    return loads;
  }

  double loadSeconds() {
    return loadSeconds;
  }

  long lastDoneNs() {
    return lastDoneNs;
  }

  void startCounting() {
    loads = 0;
    loadSeconds = 0;
  }

  Hints hints() {
    return hints;
  }

  boolean holds(String modelId) {
    return cache.state(modelId) instanceof CopyState.Loaded;
  }

  @Override
  public long lastUsedNs(String modelId) {
    Uses known = uses.get(modelId);
    return known == null ? 0 : known.atNs[0];
  }

  @Override
  public long uses(String modelId) {
    Uses known = uses.get(modelId);
    return known == null ? 0 : known.count;
  }

  @Override
  public int recentUses(String modelId, long[] newestFirst) {
    Uses known = uses.get(modelId);
    if (known == null) {
      return 0;
    }
    int count = (int) Math.min(known.count, newestFirst.length);
    for (int i = 0; i < count; i++) {
      newestFirst[i] = known.atNs[i];
    }
    return count;
  }

  private void used(String modelId, long atNs) {
    uses.computeIfAbsent(modelId, k -> new Uses()).add(atNs);
  }

  @Override
  public boolean pinned(String modelId) {
    return false;
  }

  /** Puts the model into memory as if it had been loaded long ago; false when it does not fit. */
  boolean fill(Model model, int rank) {
    long nowNs = trial.timeline.nowNs();
    if (!Memory.ram(model.sizeHintBytes()).fitsIn(cache.free())) {
      return false;
    }
    // Popular models were used a moment ago, others longer ago.
    long usedNs = nowNs - 10 * Timeline.SECOND - rank * 10L * Timeline.MS;
    used(model.id(), usedNs);
    Memory size = Memory.ram(model.sizeHintBytes());
    for (Action action : cache.step(new Event.Wanted(model.id(), size, usedNs), nowNs)) {
      tell(action);
    }
    for (Action action : cache.step(new Event.LoadDone(model.id(), size), nowNs)) {
      tell(action);
    }
    keepOnDisk(model);
    return true;
  }

  private void tell(Action action) {
    if (action instanceof Action.Publish(String modelId, CopyState state)) {
      announce(modelId, state);
    }
  }

  /** Serves at once or after a load. */
  void visit(Model model, Visitor visitor) {
    callsThisMinute++;
    if (holds(model.id())) {
      used(model.id(), trial.timeline.nowNs());
      visitor.ended(true);
      return;
    }
    waiting.computeIfAbsent(model.id(), k -> new ArrayList<>()).add(visitor);
    if (!expectedMs.containsKey(model.id())) {
      long ms = times.expectedMs(model.type(), model.sizeHintBytes(), disk.containsKey(model.id()));
      expectedMs.put(model.id(), ms);
      queuedMs += ms;
      queuedBytes += model.sizeHintBytes();
      notStarted.add(model.id());
    }
    feed(new Event.Wanted(model.id(), Memory.ram(model.sizeHintBytes()), trial.timeline.nowNs()));
  }

  private void feed(Event event) {
    List<Action> actions = cache.step(event, trial.timeline.nowNs());
    for (Action action : actions) {
      switch (action) {
        case Action.Load(String modelId) -> load(trial.stock.model(modelId));
        case Action.Unload(String modelId) -> unload(modelId);
        case Action.Publish(String modelId, CopyState state) -> announce(modelId, state);
        case Action.Answer(String modelId, Action.Outcome outcome) ->
            answer(modelId, outcome instanceof Action.Outcome.Ready);
      }
    }
    if (trial.setup.rules() == PlacementTrial.Rules.INCUMBENT_ALL_SEEING && !trial.frozen()) {
      trial.publish(instance());
    }
  }

  private void answer(String modelId, boolean served) {
    if (served) {
      used(modelId, trial.timeline.nowNs());
    }
    List<Visitor> visitors = waiting.remove(modelId);
    if (visitors == null) {
      return;
    }
    if (!served) {
      noLongerQueued(modelId);
    }
    visitors.forEach(visitor -> visitor.ended(served));
  }

  private void noLongerQueued(String modelId) {
    Long ms = expectedMs.remove(modelId);
    queuedMs -= ms == null ? 0 : ms;
    started(modelId);
  }

  private void started(String modelId) {
    if (notStarted.remove(modelId)) {
      queuedBytes -= trial.stock.model(modelId).sizeHintBytes();
    }
  }

  private void load(Model model) {
    loads++;
    changed = true;
    started(model.id());
    boolean here = disk.containsKey(model.id());
    long pullMs = here ? 0 : trial.stock.pullMs(model);
    long loadMs = trial.stock.loadMs(model);
    keepOnDisk(model);
    trial.timeline.after(
        (pullMs + loadMs) * Timeline.MS,
        () -> {
          loadSeconds += (pullMs + loadMs) / 1000.0;
          lastDoneNs = trial.timeline.nowNs();
          if (!here) {
            times.pulled(model.sizeHintBytes(), pullMs);
          }
          times.loaded(model.type(), model.sizeHintBytes(), loadMs);
          noLongerQueued(model.id());
          feed(new Event.LoadDone(model.id(), Memory.ram(model.sizeHintBytes())));
        });
  }

  private void unload(String modelId) {
    changed = true;
    leftMs.put(modelId, trial.timeline.nowMs());
    uses.remove(modelId);
    // Its files count as used until now.
    var unused = disk.get(modelId);
    trial.timeline.after(UNLOAD_NS, () -> feed(new Event.UnloadDone(modelId)));
  }

  private void keepOnDisk(Model model) {
    if (disk.put(model.id(), model.sizeHintBytes()) == null) {
      diskBytes += model.sizeHintBytes();
    }
    var oldest = disk.entrySet().iterator();
    while (diskBytes > DISK_FACTOR * capacity.ramBytes()) {
      Map.Entry<String, Long> entry = oldest.next();
      if (!entry.getKey().equals(model.id())) {
        diskBytes -= entry.getValue();
        Long left = leftMs.remove(entry.getKey());
        diskSinceMs = Math.max(diskSinceMs, left == null ? 0 : left + 1);
        oldest.remove();
      }
    }
  }

  private void announce(String modelId, @Nullable CopyState state) {
    if (state == null) {
      trial.write(new Delta.CopyRemoved(id, modelId));
    } else {
      trial.write(new Delta.CopyPut(new Copy(modelId, id, state, trial.timeline.nowMs())));
    }
  }

  // What the others are told.

  void tick() {
    long nowNs = trial.timeline.nowNs();
    feed(new Event.Tick());
    hear(this);
    if (nowNs - minuteNs >= 10 * Timeline.SECOND) {
      callsPerMinute = (int) (callsThisMinute * 6);
      callsThisMinute = 0;
      minuteNs = nowNs;
    }
    if (trial.frozen()) {
      return;
    }
    if (trial.ours()) {
      if (nowNs - saidNs >= PUBLISH_NS) {
        introduce();
      }
      return;
    }
    long sinceMs = (nowNs - saidNs) / Timeline.MS;
    if (sinceMs >= IncumbentRules.PUBLISH_MS
        || (changed && sinceMs >= IncumbentRules.PUBLISH_LEAST_MS)) {
      introduce();
    }
  }

  void introduce() {
    saidNs = trial.timeline.nowNs();
    changed = false;
    trial.write(new Delta.PodPut(record()));
    trial.publish(instance());
  }

  private Pod record() {
    Outlook outlook =
        new Outlook(
            trial.timeline.nowMs(),
            trial.setup.loaders(),
            queuedMs,
            times.pullBytesPerS(),
            times.loadBytesPerS(),
            cache.marginalValue() * 1e9,
            diskSinceMs);
    return new Pod(
        id,
        id + ":8033",
        zone,
        Set.of(),
        capacity,
        cache.used(),
        cache.loadsQueued(),
        cache.oldestUseNs() / Timeline.MS,
        false,
        0,
        "1",
        outlook);
  }

  /** The incumbent makes room as soon as a load is queued, and says so. */
  IncumbentRules.Instance instance() {
    return new IncumbentRules.Instance(
        id,
        capacity.ramBytes(),
        Math.max(0, cache.free().ramBytes() - queuedBytes),
        cache.residents() + notStarted.size(),
        oldestUseOnceAllAreIn() / Timeline.MS,
        Math.min(cache.loadsQueued(), trial.setup.loaders()),
        trial.setup.loaders(),
        callsPerMinute);
  }

  private long oldestUseOnceAllAreIn() {
    long missing = queuedBytes - cache.free().ramBytes();
    if (missing <= 0) {
      return cache.oldestUseNs();
    }
    List<String> byUse = new ArrayList<>();
    cache
        .states()
        .forEach(
            (modelId, state) -> {
              if (state instanceof CopyState.Loaded) {
                byUse.add(modelId);
              }
            });
    byUse.sort(Comparator.comparingLong(this::lastUsedNs).thenComparing(modelId -> modelId));
    for (String modelId : byUse) {
      if (missing <= 0) {
        return lastUsedNs(modelId);
      }
      missing -= trial.stock.model(modelId).sizeHintBytes();
    }
    return trial.timeline.nowNs();
  }

  // Hints.

  Hints.Heard word() {
    return new Hints.Heard(
        trial.timeline.nowMs(), cache.loadsQueued(), queuedMs, cache.used(), false);
  }

  /** What an answer of that pod carried. */
  void hear(TrialPod pod) {
    hints = hints.heard(pod.id, pod.word(), trial.timeline.nowMs());
  }

  void sent(String podId, String modelId, Router.Expected expected) {
    hints = hints.sent(podId, modelId, expected.loadMs(), expected.size(), trial.timeline.nowMs());
  }

  /** A pod knows itself best. */
  Hints selfHints() {
    return Hints.NONE.heard(id, word(), trial.timeline.nowMs());
  }
}
