package orlop.placement;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import orlop.placement.CacheEntry.Phase;

/**
 * One pod's model memory as a deterministic state machine: events in, actions out. Not thread-safe:
 * owned by the pod's host thread. Sizes in bytes; {@code nowNs} is nanoseconds since the epoch and
 * never runs backwards. A load costs O(64) for each model that leaves for it; a tick, and a want
 * that finds nothing that may leave, cost O(residents).
 */
public final class ModelCache {
  /*
   * Accounting (CacheMemory). Memory is taken when a load starts (as expected), corrected when it is
   * loaded (the truth) and given back only when the unload is done. A load starts only into memory
   * that is free. Eviction looks at what is kept: what already leaves counts as gone, so a slow
   * unload never makes a second model leave for the same need.
   *
   * Queue (LoadQueue). What waits for memory holds its claim: a later, smaller model starts only when
   * all claims before it still fit. At most maxConcurrentLoads entries are loading or hold a claim.
   *
   * Reports. Each Load is answered by one LoadDone or LoadFailed, each Unload by one UnloadDone or
   * UnloadFailed; the shell bounds their time. A report that nothing here waits for is ignored.
   */

  private final CacheConfig config;
  private final Usage usage;
  private final Map<String, CacheEntry> entries = new LinkedHashMap<>();
  private final LoadQueue queue = new LoadQueue();
  private final Step step = new Step();
  private final Residents residents;
  private final Failures failures;
  private boolean draining;

  /** With the policy that the configuration names. */
  public ModelCache(CacheConfig config, Usage usage) {
    this(config, config.evictionPolicy().policy(), usage);
  }

  public ModelCache(CacheConfig config, EvictionPolicy policy, Usage usage) {
    this.usage = usage;
    this.config = config;
    this.residents =
        new Residents(config, new Leavers(policy, usage, config), entries.values(), step);
    this.failures = new Failures(config);
  }

  /**
   * What the event makes necessary. What the mesh shall see comes first, so that a model is
   * announced as leaving before it leaves.
   */
  public List<Action> step(Event event, long nowNs) {
    step.begin(nowNs);
    switch (event) {
      case Event.Wanted want -> wanted(want);
      case Event.LoadDone(String id, Memory size, long ns) -> loadDone(entries.get(id), size, ns);
      case Event.LoadFailed failure -> loadFailed(failure);
      case Event.UnloadDone(String id) -> unloadDone(entries.get(id));
      case Event.UnloadFailed(String id, String _) -> unloadFailed(entries.get(id));
      case Event.Unwanted(String id) -> unwanted(entries.get(id));
      case Event.Forgotten(String id) -> forgotten(entries.get(id));
      case Event.Reconfigured() -> reconfigured();
      case Event.Lost(String id) -> lost(entries.get(id));
      case Event.Draining() -> drain();
      case Event.Tick() -> tick();
    }
    pump();
    return step.end(entries);
  }

  /** What the mesh was last told of the model; null when nothing is here. */
  public @Nullable CopyState state(String modelId) {
    return step.told(modelId);
  }

  /** What the mesh was last told of all models here; unmodifiable, changes with each step. */
  public Map<String, CopyState> states() {
    return step.allTold();
  }

  /** What the model takes here, or will take when its load starts. */
  public Memory size(String modelId) {
    CacheEntry entry = entries.get(modelId);
    return entry == null ? Memory.NONE : entry.size;
  }

  /** Memory of what is loading, loaded or unloading. */
  public Memory used() {
    return residents.memory().used();
  }

  public Memory free() {
    return config.capacity().minus(residents.memory().used());
  }

  /** Loads started or waiting. */
  public int loadsQueued() {
    return residents.loading() + queue.size();
  }

  /** Models that are loading, loaded or unloading. */
  public int residents() {
    return residents.memory().residents();
  }

  /** Models whose last unload failed and whose memory is therefore still taken. */
  public int unloadsFailing() {
    return residents.stuck();
  }

  public boolean draining() {
    return draining;
  }

  /**
   * Last use of the model that would leave first; 0 when none is loaded. Nanoseconds since the
   * epoch. O(residents), with more than 256 at most once a second.
   */
  public long oldestUseNs() {
    return residents.oldestUseNs();
  }

  /**
   * What the model that would leave first saves here: seconds of load time for each second and byte
   * that it stays; 0 when none is loaded. Costs as {@link #oldestUseNs}.
   */
  public double marginalValue() {
    return residents.marginalValue();
  }

  // Events.

  private void wanted(Event.Wanted want) {
    boolean live = want.lastUsedNs() >= step.nowNs() - config.liveWindowMs() * Step.MS;
    CacheEntry entry = entries.get(want.modelId());
    if (entry == null) {
      admit(residents.entry(want.modelId()), want, live);
      return;
    }
    switch (entry.phase) {
      case QUEUED -> join(entry, want, live);
      case LOADING -> {
        if (entry.doomed) {
          wantAgain(entry, want, live);
        } else {
          join(entry, want, live);
        }
      }
      case LOADED -> {
        entry.wantedNs = Math.max(entry.wantedNs, Math.min(want.lastUsedNs(), step.nowNs()));
        entry.unwanted = false;
        entry.doomed = false;
        entry.batch &= want.purpose() == Event.Purpose.BATCH;
        ready(entry, live);
      }
      case UNLOADING -> {
        if (live && !entry.again && usage.copiesElsewhere(entry.modelId) > 0) {
          // Whoever calls has not seen yet that it leaves; to wait for its return takes longer.
          step.answer(entry, new Action.Outcome.Leaving());
        } else {
          wantAgain(entry, want, live);
        }
      }
      case FAILED -> {
        if (step.nowMs() < entry.retryAtMs) {
          step.answer(entry, entry.failed());
        } else {
          admit(entry, want, live);
        }
      }
    }
  }

  /** Lets a model that is not here into the queue, or says why not. */
  private void admit(CacheEntry entry, Event.Wanted want, boolean live) {
    if (!want.size().equals(Memory.NONE)) {
      entry.size = want.size();
    }
    Action.Outcome refusal = refusal(entry.size);
    if (refusal != null) {
      step.answer(entry, refusal);
      return;
    }
    entries.put(entry.modelId, entry);
    failures.forget(entry);
    entry.phase = Phase.QUEUED;
    entry.queuedNs = step.nowNs();
    entry.live = live;
    entry.batch = want.purpose() == Event.Purpose.BATCH;
    entry.leasedUntilNs = Long.MIN_VALUE;
    join(entry, want, live);
    queue.add(entry);
  }

  private Action.@Nullable Outcome refusal(Memory size) {
    if (draining) {
      return new Action.Outcome.Draining();
    }
    if (!size.fitsIn(config.capacity())) {
      return new Action.Outcome.NoRoom("needs " + size + ", the pod has " + config.capacity());
    }
    if (queue.size() >= config.maxQueued()) {
      return new Action.Outcome.NoRoom(
          "%d models wait to be loaded here, at most %d may"
              .formatted(queue.size(), config.maxQueued()));
    }
    return null;
  }

  private void join(CacheEntry entry, Event.Wanted want, boolean live) {
    step.changed(entry);
    entry.batch &= want.purpose() == Event.Purpose.BATCH;
    if (want.purpose() == Event.Purpose.PREFETCH) {
      entry.leasedUntilNs = Long.MAX_VALUE;
    }
    entry.waiting = true;
    entry.unwanted = false;
    entry.wantedNs = Math.max(entry.wantedNs, Math.min(want.lastUsedNs(), step.nowNs()));
    if (live) {
      queue.promote(entry);
      entry.live = true;
    }
  }

  private void wantAgain(CacheEntry entry, Event.Wanted want, boolean live) {
    if (!entry.reason.isEmpty() && entry.retryAtMs == Long.MAX_VALUE) {
      step.answer(entry, entry.failed());
      return;
    }
    if (!entry.again) {
      Action.Outcome refusal = refusal(entry.size);
      if (refusal != null) {
        step.answer(entry, refusal);
        return;
      }
      queue.comeBack(entry, step.nowNs());
      entry.live = false;
      entry.batch = want.purpose() == Event.Purpose.BATCH;
      entry.leasedUntilNs = Long.MIN_VALUE;
    }
    join(entry, want, live);
  }

  private void loadDone(@Nullable CacheEntry entry, Memory measured, long tookNs) {
    if (entry == null || entry.phase != Phase.LOADING) {
      return;
    }
    residents.loaded(entry, measured, tookNs);
    entry.failures = 0;
    entry.reason = "";
    if (entry.doomed) {
      residents.unload(entry);
    } else if (!measured.fitsIn(config.capacity())) {
      entry.failures = 1;
      entry.fault = Fault.CAPACITY;
      entry.reason = "takes " + measured + " when loaded, the pod has " + config.capacity();
      entry.retryAtMs = Long.MAX_VALUE;
      step.answer(entry, entry.failed());
      residents.unload(entry);
    } else if (residents.makeRoom(entry, residents.memory().missing(Memory.NONE), 0)) {
      // A plan has waited for this long enough: to go at once would waste the load.
      entry.wantedNs = step.nowNs();
      ready(entry, entry.live);
    } else {
      giveWay(entry);
    }
  }

  /** It came out larger than expected and nothing else can leave: it does, and waits its turn. */
  private void giveWay(CacheEntry entry) {
    if (draining) {
      step.answer(entry, new Action.Outcome.Draining());
    } else if (entry.live) {
      queue.comeBack(entry, step.nowNs());
    } else {
      step.answer(entry, noRoom(entry));
    }
    residents.unload(entry);
  }

  private void loadFailed(Event.LoadFailed failure) {
    CacheEntry entry = entries.get(failure.modelId());
    if (entry == null || entry.phase != Phase.LOADING) {
      return;
    }
    residents.notLoaded(entry);
    if (entry.doomed) {
      comeBackOrGo(entry);
      return;
    }
    failures.note(entry, failure.reason(), failure.fault(), step.nowMs());
    step.answer(entry, entry.failed());
    rememberFailure(entry);
  }

  private void unloadDone(@Nullable CacheEntry entry) {
    if (entry == null || entry.phase != Phase.UNLOADING) {
      return;
    }
    residents.unloaded(entry);
    comeBackOrGo(entry);
  }

  /** The memory is given back; what was wanted again meanwhile queues anew. */
  private void comeBackOrGo(CacheEntry entry) {
    entry.doomed = false;
    entry.unwanted = false;
    if (queue.endReturn(entry)) {
      entry.phase = Phase.QUEUED;
      queue.add(entry);
    } else if (entry.failures > 0) {
      rememberFailure(entry);
    } else {
      entries.remove(entry.modelId);
    }
  }

  private void unloadFailed(@Nullable CacheEntry entry) {
    if (entry != null && entry.phase == Phase.UNLOADING && entry.unloadInFlight) {
      residents.unloadFailed(entry);
    }
  }

  private void unwanted(@Nullable CacheEntry entry) {
    if (entry == null) {
      return;
    }
    switch (entry.phase) {
      case QUEUED -> {
        if (!entry.live) {
          leaveQueue(entry, new Action.Outcome.NoRoom("no longer wanted here"));
        }
      }
      case LOADING -> entry.unwanted = !entry.live;
      case LOADED -> {
        entry.unwanted = true;
        residents.unloadIfIdle(entry);
      }
      case UNLOADING -> {
        if (entry.again && !entry.live) {
          endWait(entry, new Action.Outcome.NoRoom("no longer wanted here"));
        }
      }
      case FAILED -> {}
    }
  }

  private void forgotten(@Nullable CacheEntry entry) {
    if (entry == null) {
      return;
    }
    step.changed(entry);
    Action.Outcome gone =
        new Action.Outcome.Failed(Fault.PERMANENT, "the model was unregistered", Long.MAX_VALUE);
    entry.failures = 0;
    entry.reason = "";
    entry.retryAtMs = 0;
    residents.forget(entry.modelId);
    switch (entry.phase) {
      case QUEUED -> leaveQueue(entry, gone);
      case LOADING -> {
        entry.doomed = true;
        endWait(entry, gone);
      }
      case LOADED -> {
        entry.doomed = true;
        residents.unloadIfIdle(entry);
      }
      case UNLOADING -> endWait(entry, gone);
      case FAILED -> {
        failures.forget(entry);
        entries.remove(entry.modelId);
      }
    }
  }

  private void reconfigured() {
    for (CacheEntry entry : failures.curable()) {
      step.changed(entry);
      failures.forget(entry);
      entries.remove(entry.modelId);
    }
  }

  private void lost(@Nullable CacheEntry entry) {
    if (entry != null && entry.phase == Phase.LOADED) {
      residents.unload(entry);
    }
  }

  private void drain() {
    draining = true;
    for (CacheEntry entry : List.copyOf(entries.values())) {
      if (entry.phase == Phase.QUEUED) {
        leaveQueue(entry, new Action.Outcome.Draining());
      } else if (entry.again) {
        endWait(entry, new Action.Outcome.Draining());
      }
    }
  }

  private void tick() {
    residents.learn();
    for (CacheEntry entry : List.copyOf(entries.values())) {
      switch (entry.phase) {
        case QUEUED -> {
          if (waitedTooLong(entry)) {
            leaveQueue(entry, noRoom(entry));
          }
        }
        case LOADING -> {}
        case LOADED -> residents.unloadIfIdle(entry);
        case UNLOADING -> {
          if (entry.again && waitedTooLong(entry)) {
            endWait(entry, noRoom(entry));
          }
          residents.retryUnload(entry);
        }
        case FAILED -> {
          if (failures.stale(entry, step.nowMs())) {
            step.changed(entry);
            failures.forget(entry);
            entries.remove(entry.modelId);
          }
        }
      }
    }
  }

  // The queue.

  /** Starts what may start, and makes room for what comes next. */
  private void pump() {
    CacheMemory memory = residents.memory();
    Memory claimed = Memory.NONE;
    int claims = 0;
    for (CacheEntry entry : queue.inOrder()) {
      if (residents.loading() + claims >= config.maxConcurrentLoads()) {
        return;
      }
      Memory missing = memory.missing(claimed.plus(entry.size));
      int missingSlots = memory.missingSlots(claims + 1);
      boolean enough = residents.makeRoom(entry, missing, missingSlots);
      if (!enough && (!entry.live || !residents.fitsItsShare(entry))) {
        leaveQueue(entry, noRoom(entry));
        continue;
      }
      if (!enough && entry.batch) {
        continue;
      }
      boolean nothingMissing = missing.equals(Memory.NONE) && missingSlots == 0;
      if (enough && nothingMissing && memory.free(entry.size)) {
        queue.remove(entry);
        residents.startLoad(entry);
      } else {
        claims++;
        claimed = claimed.plus(entry.size);
      }
    }
  }

  private void leaveQueue(CacheEntry entry, Action.Outcome outcome) {
    queue.remove(entry);
    step.changed(entry);
    step.answer(entry, outcome);
    if (entry.failures > 0) {
      rememberFailure(entry);
    } else {
      entries.remove(entry.modelId);
    }
  }

  /** Answers those who wait while the entry itself goes on as it was. */
  private void endWait(CacheEntry entry, Action.Outcome outcome) {
    queue.endReturn(entry);
    if (entry.waiting) {
      step.answer(entry, outcome);
    }
  }

  private void rememberFailure(CacheEntry entry) {
    CacheEntry oldest = failures.remember(entry);
    if (oldest != null) {
      entries.remove(oldest.modelId);
      step.changed(oldest);
    }
  }

  // Small questions and answers.

  private boolean waitedTooLong(CacheEntry entry) {
    return step.nowNs() - entry.queuedNs >= config.queueTimeoutMs() * Step.MS;
  }

  private Action.Outcome noRoom(CacheEntry entry) {
    return new Action.Outcome.NoRoom(
        "needs %s; of %s here %s is used and what may not leave now holds the rest"
            .formatted(entry.size, config.capacity(), residents.memory().used()));
  }

  private void ready(CacheEntry entry, boolean live) {
    if (live) {
      entry.readyNs = step.nowNs();
    }
    step.answer(entry, new Action.Outcome.Ready());
  }
}
