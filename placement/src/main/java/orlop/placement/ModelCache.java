package orlop.placement;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.CacheEntry.Phase;

/**
 * One pod's model memory as a deterministic state machine: events in, actions out. Not thread-safe:
 * owned by the pod's host thread. Sizes in bytes; {@code nowNs} is nanoseconds since the epoch and
 * never runs backwards. A step costs O(residents) at most, plus a sort when something must leave.
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

  private static final long MS = 1_000_000;

  /**
   * @param capacity memory that models may take
   * @param unknownSize assumed for a model whose size nobody knows
   * @param maxResidents most models loading, loaded or unloading
   * @param maxConcurrentLoads most loads at a time
   * @param maxQueued most models waiting to be loaded
   * @param maxFailed most failures remembered; the oldest is forgotten first
   * @param queueTimeoutMs longest wait for memory and a turn
   * @param graceMs how long a model stays after a call was told that it is ready
   * @param liveWindowMs a want whose use is at most this old is a call, an older one a plan
   * @param retryFirstMs pause after the first failed load; doubles with each
   * @param retryMaxMs longest pause after a failed load
   * @param unloadRetryFirstMs pause after the first failed unload; doubles with each
   * @param unloadRetryMaxMs longest pause after a failed unload
   */
  public record Config(
      Memory capacity,
      Memory unknownSize,
      int maxResidents,
      int maxConcurrentLoads,
      int maxQueued,
      int maxFailed,
      long queueTimeoutMs,
      long graceMs,
      long liveWindowMs,
      long retryFirstMs,
      long retryMaxMs,
      long unloadRetryFirstMs,
      long unloadRetryMaxMs) {

    public Config {
      atLeast("maxResidents", maxResidents, 1);
      atLeast("maxConcurrentLoads", maxConcurrentLoads, 1);
      atLeast("maxQueued", maxQueued, 1);
      atLeast("maxFailed", maxFailed, 1);
      atLeast("queueTimeoutMs", queueTimeoutMs, 1);
      atLeast("graceMs", graceMs, 0);
      atLeast("liveWindowMs", liveWindowMs, 0);
      atLeast("retryFirstMs", retryFirstMs, 1);
      atLeast("retryMaxMs", retryMaxMs, retryFirstMs);
      atLeast("unloadRetryFirstMs", unloadRetryFirstMs, 1);
      atLeast("unloadRetryMaxMs", unloadRetryMaxMs, unloadRetryFirstMs);
    }

    /** For a pod of this capacity: 4 loads at a time, retries from 10 s to 15 min. */
    public static Config defaults(Memory capacity) {
      Memory unknownSize = new Memory(capacity.ramBytes() / 64, capacity.vramBytes() / 64);
      return new Config(
          capacity,
          unknownSize,
          10_000,
          4,
          1_000,
          1_000,
          60_000,
          1_000,
          2_000,
          10_000,
          900_000,
          1_000,
          60_000);
    }

    private static void atLeast(String key, long value, long least) {
      if (value < least) {
        throw new IllegalArgumentException(
            "model cache: " + key + " is " + value + ", must be at least " + least);
      }
    }
  }

  private final Config config;
  private final Leavers leavers;
  private final CacheMemory memory;
  private final Map<String, CacheEntry> entries = new LinkedHashMap<>();
  private final LoadQueue queue = new LoadQueue();
  private final Set<CacheEntry> failed = new LinkedHashSet<>();
  private final Bulletin bulletin = new Bulletin();
  private int loading;
  private int again;
  private boolean draining;

  // The step under way.
  private long now;
  private List<Action> acts = new ArrayList<>();

  public ModelCache(Config config, EvictionPolicy policy, Usage usage) {
    this.config = config;
    this.memory = new CacheMemory(config.capacity(), config.maxResidents());
    this.leavers = new Leavers(policy, usage, config.graceMs() * MS);
  }

  /**
   * What the event makes necessary. What the mesh shall see comes first, so that a model is
   * announced as leaving before it leaves.
   */
  public List<Action> step(Event event, long nowNs) {
    now = Math.max(now, nowNs);
    switch (event) {
      case Event.Wanted want -> wanted(want);
      case Event.LoadDone(String id, Memory size) -> loadDone(entries.get(id), size);
      case Event.LoadFailed failure -> loadFailed(failure);
      case Event.UnloadDone(String id) -> unloadDone(entries.get(id));
      case Event.UnloadFailed(String id, String _) -> unloadFailed(entries.get(id));
      case Event.Unwanted(String id) -> unwanted(entries.get(id));
      case Event.Forgotten(String id) -> forgotten(entries.get(id));
      case Event.Draining() -> drain();
      case Event.Tick() -> tick();
    }
    pump();
    return finish();
  }

  /** What the mesh was last told of the model; null when nothing is here. */
  public @Nullable CopyState state(String modelId) {
    return bulletin.told(modelId);
  }

  /** What the mesh was last told of all models here; unmodifiable, changes with each step. */
  public Map<String, CopyState> states() {
    return bulletin.all();
  }

  /** What the model takes here, or will take when its load starts. */
  public Memory size(String modelId) {
    CacheEntry entry = entries.get(modelId);
    return entry == null ? Memory.NONE : entry.size;
  }

  /** Memory of what is loading, loaded or unloading. */
  public Memory used() {
    return memory.used();
  }

  public Memory free() {
    return config.capacity().minus(memory.used());
  }

  /** Loads started or waiting. */
  public int loadsQueued() {
    return loading + queued();
  }

  /** Models that are loading, loaded or unloading. */
  public int residents() {
    return memory.residents();
  }

  /** Models whose last unload failed and whose memory is therefore still taken. */
  public int unloadsFailing() {
    return (int) entries.values().stream().filter(e -> e.stuck).count();
  }

  public boolean draining() {
    return draining;
  }

  /**
   * Last use of the model that would leave first; 0 when none is loaded. Nanoseconds since the
   * epoch. O(residents).
   */
  public long oldestUseNs() {
    CacheEntry first = leavers.first(entries.values(), now);
    return first == null ? 0 : leavers.lastUsedNs(first);
  }

  // Events.

  private void wanted(Event.Wanted want) {
    boolean live = want.lastUsedNs() >= now - config.liveWindowMs() * MS;
    CacheEntry entry = entries.get(want.modelId());
    if (entry == null) {
      admit(new CacheEntry(want.modelId(), config.unknownSize()), want, live);
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
        entry.wantedNs = Math.max(entry.wantedNs, Math.min(want.lastUsedNs(), now));
        entry.unwanted = false;
        entry.doomed = false;
        ready(entry, live);
      }
      case UNLOADING -> wantAgain(entry, want, live);
      case FAILED -> {
        if (now / MS < entry.retryAtMs) {
          answer(entry, new Action.Outcome.Failed(entry.reason, entry.retryAtMs));
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
      acts.add(new Action.Answer(entry.modelId, refusal));
      return;
    }
    entries.put(entry.modelId, entry);
    failed.remove(entry);
    entry.phase = Phase.QUEUED;
    entry.queuedNs = now;
    entry.live = live;
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
    if (queued() >= config.maxQueued()) {
      return new Action.Outcome.NoRoom(
          "%d models wait to be loaded here, at most %d may"
              .formatted(queued(), config.maxQueued()));
    }
    return null;
  }

  private void join(CacheEntry entry, Event.Wanted want, boolean live) {
    bulletin.touch(entry.modelId);
    entry.waiting = true;
    entry.wantedNs = Math.max(entry.wantedNs, Math.min(want.lastUsedNs(), now));
    if (live) {
      entry.unwanted = false;
      queue.promote(entry);
      entry.live = true;
    }
  }

  private void wantAgain(CacheEntry entry, Event.Wanted want, boolean live) {
    if (!entry.reason.isEmpty() && entry.retryAtMs == Long.MAX_VALUE) {
      answer(entry, new Action.Outcome.Failed(entry.reason, entry.retryAtMs));
      return;
    }
    if (!entry.again) {
      Action.Outcome refusal = refusal(entry.size);
      if (refusal != null) {
        answer(entry, refusal);
        return;
      }
      entry.again = true;
      again++;
      entry.queuedNs = now;
      entry.live = false;
    }
    join(entry, want, live);
  }

  private void loadDone(@Nullable CacheEntry entry, Memory measured) {
    if (entry == null || entry.phase != Phase.LOADING) {
      return;
    }
    loading--;
    memory.correct(entry.size, measured);
    entry.size = measured;
    entry.phase = Phase.LOADED;
    entry.loadedNs = now;
    entry.loadNs = now - entry.startedNs;
    entry.failures = 0;
    entry.reason = "";
    bulletin.touch(entry.modelId);
    if (entry.doomed) {
      unload(entry);
    } else if (!measured.fitsIn(config.capacity())) {
      entry.failures = 1;
      entry.reason = "takes " + measured + " when loaded, the pod has " + config.capacity();
      entry.retryAtMs = Long.MAX_VALUE;
      answer(entry, new Action.Outcome.Failed(entry.reason, entry.retryAtMs));
      unload(entry);
    } else if (makeRoom(entry, memory.missing(Memory.NONE), 0)) {
      ready(entry, entry.live);
    } else {
      giveWay(entry);
    }
  }

  /** It came out larger than expected and nothing else can leave: it does, and waits its turn. */
  private void giveWay(CacheEntry entry) {
    if (draining) {
      answer(entry, new Action.Outcome.Draining());
    } else if (entry.live) {
      entry.again = true;
      again++;
      entry.queuedNs = now;
    } else {
      answer(entry, noRoom(entry));
    }
    unload(entry);
  }

  private void loadFailed(Event.LoadFailed failure) {
    CacheEntry entry = entries.get(failure.modelId());
    if (entry == null || entry.phase != Phase.LOADING) {
      return;
    }
    loading--;
    memory.giveBack(entry.size);
    bulletin.touch(entry.modelId);
    if (entry.doomed) {
      comeBackOrGo(entry);
      return;
    }
    entry.failures++;
    entry.reason = failure.reason().isEmpty() ? "load failed" : failure.reason();
    entry.retryAtMs =
        failure.permanent()
            ? Long.MAX_VALUE
            : now / MS
                + Backoff.delayMs(
                    config.retryFirstMs(), config.retryMaxMs(), entry.failures, entry.modelId);
    answer(entry, new Action.Outcome.Failed(entry.reason, entry.retryAtMs));
    rememberFailure(entry);
  }

  private void unloadDone(@Nullable CacheEntry entry) {
    if (entry == null || entry.phase != Phase.UNLOADING) {
      return;
    }
    bulletin.touch(entry.modelId);
    memory.giveBack(entry.size);
    if (!entry.stuck) {
      memory.freeingEnded(entry.size);
    }
    entry.stuck = false;
    entry.unloadInFlight = false;
    entry.unloadFailures = 0;
    comeBackOrGo(entry);
  }

  /** The memory is given back; what was wanted again meanwhile queues anew. */
  private void comeBackOrGo(CacheEntry entry) {
    entry.doomed = false;
    entry.unwanted = false;
    if (entry.again) {
      entry.again = false;
      again--;
      entry.phase = Phase.QUEUED;
      queue.add(entry);
    } else if (entry.failures > 0) {
      rememberFailure(entry);
    } else {
      entries.remove(entry.modelId);
    }
  }

  private void unloadFailed(@Nullable CacheEntry entry) {
    if (entry == null || entry.phase != Phase.UNLOADING || !entry.unloadInFlight) {
      return;
    }
    if (!entry.stuck) {
      entry.stuck = true;
      memory.freeingEnded(entry.size);
    }
    entry.unloadInFlight = false;
    entry.unloadFailures++;
    entry.unloadRetryNs =
        now
            + MS
                * Backoff.delayMs(
                    config.unloadRetryFirstMs(),
                    config.unloadRetryMaxMs(),
                    entry.unloadFailures,
                    entry.modelId);
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
        unloadIfIdle(entry);
      }
      case UNLOADING, FAILED -> {}
    }
  }

  private void forgotten(@Nullable CacheEntry entry) {
    if (entry == null) {
      return;
    }
    bulletin.touch(entry.modelId);
    Action.Outcome gone = new Action.Outcome.Failed("the model was unregistered", Long.MAX_VALUE);
    entry.failures = 0;
    entry.reason = "";
    entry.retryAtMs = 0;
    switch (entry.phase) {
      case QUEUED -> leaveQueue(entry, gone);
      case LOADING -> {
        entry.doomed = true;
        endWait(entry, gone);
      }
      case LOADED -> {
        entry.doomed = true;
        unloadIfIdle(entry);
      }
      case UNLOADING -> endWait(entry, gone);
      case FAILED -> {
        failed.remove(entry);
        entries.remove(entry.modelId);
      }
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
    for (CacheEntry entry : List.copyOf(entries.values())) {
      switch (entry.phase) {
        case QUEUED -> {
          if (waitedTooLong(entry)) {
            leaveQueue(entry, noRoom(entry));
          }
        }
        case LOADING -> {}
        case LOADED -> unloadIfIdle(entry);
        case UNLOADING -> {
          if (entry.again && waitedTooLong(entry)) {
            endWait(entry, noRoom(entry));
          }
          if (entry.stuck && !entry.unloadInFlight && now >= entry.unloadRetryNs) {
            entry.unloadInFlight = true;
            acts.add(new Action.Unload(entry.modelId));
          }
        }
        case FAILED -> {
          if (entry.retryAtMs != Long.MAX_VALUE
              && now / MS >= entry.retryAtMs + config.retryMaxMs()) {
            forgotten(entry);
          }
        }
      }
    }
  }

  // The queue.

  /** Starts what may start, and makes room for what comes next. */
  private void pump() {
    Memory claimed = Memory.NONE;
    int claims = 0;
    for (CacheEntry entry : queue.inOrder()) {
      if (loading + claims >= config.maxConcurrentLoads()) {
        return;
      }
      Memory missing = memory.missing(claimed.plus(entry.size));
      int missingSlots = memory.missingSlots(claims + 1);
      if (!makeRoom(entry, missing, missingSlots) && !entry.live) {
        leaveQueue(entry, noRoom(entry));
        continue;
      }
      boolean nothingMissing = missing.equals(Memory.NONE) && missingSlots == 0;
      if (nothingMissing && memory.free(entry.size)) {
        startLoad(entry);
      } else {
        claims++;
        claimed = claimed.plus(entry.size);
      }
    }
  }

  private void startLoad(CacheEntry entry) {
    queue.remove(entry);
    bulletin.touch(entry.modelId);
    entry.phase = Phase.LOADING;
    entry.startedNs = now;
    memory.take(entry.size);
    loading++;
    acts.add(new Action.Load(entry.modelId));
  }

  /**
   * Makes models leave until {@code missing} is on its way out, for the sake of {@code entry}.
   *
   * @return false, and nothing leaves, when what may leave does not suffice
   */
  private boolean makeRoom(CacheEntry entry, Memory missing, int missingSlots) {
    if (missing.equals(Memory.NONE) && missingSlots == 0) {
      return true;
    }
    List<CacheEntry> victims = leavers.choose(entries.values(), entry, missing, missingSlots, now);
    if (victims == null) {
      return false;
    }
    victims.forEach(this::unload);
    return true;
  }

  private void unload(CacheEntry entry) {
    bulletin.touch(entry.modelId);
    entry.phase = Phase.UNLOADING;
    entry.unloadInFlight = true;
    memory.freeing(entry.size);
    acts.add(new Action.Unload(entry.modelId));
  }

  private void unloadIfIdle(CacheEntry entry) {
    if ((entry.unwanted || entry.doomed) && leavers.idle(entry, now)) {
      unload(entry);
    }
  }

  private void leaveQueue(CacheEntry entry, Action.Outcome outcome) {
    queue.remove(entry);
    bulletin.touch(entry.modelId);
    answer(entry, outcome);
    if (entry.failures > 0) {
      rememberFailure(entry);
    } else {
      entries.remove(entry.modelId);
    }
  }

  /** Answers those who wait while the entry itself goes on as it was. */
  private void endWait(CacheEntry entry, Action.Outcome outcome) {
    if (entry.again) {
      entry.again = false;
      again--;
    }
    if (entry.waiting) {
      answer(entry, outcome);
    }
  }

  private void rememberFailure(CacheEntry entry) {
    entry.phase = Phase.FAILED;
    failed.add(entry);
    if (failed.size() > config.maxFailed()) {
      CacheEntry oldest = failed.iterator().next();
      failed.remove(oldest);
      entries.remove(oldest.modelId);
      bulletin.touch(oldest.modelId);
    }
  }

  // Small questions and answers.

  private int queued() {
    return queue.size() + again;
  }

  private boolean waitedTooLong(CacheEntry entry) {
    return now - entry.queuedNs >= config.queueTimeoutMs() * MS;
  }

  private Action.Outcome noRoom(CacheEntry entry) {
    return new Action.Outcome.NoRoom(
        "needs %s; of %s here %s is used and what may not leave now holds the rest"
            .formatted(entry.size, config.capacity(), memory.used()));
  }

  private void ready(CacheEntry entry, boolean live) {
    if (live) {
      entry.readyNs = now;
    }
    answer(entry, new Action.Outcome.Ready());
  }

  private void answer(CacheEntry entry, Action.Outcome outcome) {
    entry.waiting = false;
    entry.live = false;
    acts.add(new Action.Answer(entry.modelId, outcome));
  }

  private List<Action> finish() {
    List<Action> result = bulletin.news(entries);
    result.addAll(acts);
    acts = new ArrayList<>();
    return result;
  }
}
