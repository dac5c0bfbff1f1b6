package orlop.placement;

import java.util.Collection;
import java.util.List;
import orlop.placement.CacheEntry.Phase;

/**
 * The models that take memory in one pod, from the start of their load to the end of their unload,
 * and how room is made among them. Owned by the {@link ModelCache}, which says when.
 */
final class Residents {
  /** More than any pod has, and little enough to be added up. */
  private static final Memory ABSURD = new Memory(1L << 52, 1L << 52);

  private final CacheConfig config;
  private final Leavers leavers;
  private final CacheMemory memory;
  private final Collection<CacheEntry> entries;
  private final Step step;
  private final History.Archive archive;
  private int loading;

  /**
   * @param entries all that the cache knows, whatever their phase; follows the cache
   */
  Residents(CacheConfig config, Leavers leavers, Collection<CacheEntry> entries, Step step) {
    this.config = config;
    this.leavers = leavers;
    this.memory = new CacheMemory(config.capacity(), config.maxResidents());
    this.entries = entries;
    this.step = step;
    this.archive =
        new History.Archive(
            config.maxResidents() * 4L > 100_000 ? 100_000 : config.maxResidents() * 4);
  }

  /** A new entry of a model, with what is remembered of it. */
  CacheEntry entry(String modelId) {
    return new CacheEntry(modelId, config.unknownSize(), archive.of(modelId));
  }

  /** Nothing of it shall be remembered. */
  void forget(String modelId) {
    archive.forget(modelId);
  }

  CacheMemory memory() {
    return memory;
  }

  int loading() {
    return loading;
  }

  void startLoad(CacheEntry entry) {
    step.changed(entry);
    entry.phase = Phase.LOADING;
    entry.startedNs = step.nowNs();
    memory.take(entry.size);
    loading++;
    step.load(entry);
  }

  /** A size beyond {@link #ABSURD} counts as that, lest sums lose what others take. */
  void loaded(CacheEntry entry, Memory said, long tookNs) {
    loading--;
    Memory measured = said.fitsIn(ABSURD) ? said : ABSURD;
    memory.correct(entry.size, measured);
    entry.size = measured;
    entry.phase = Phase.LOADED;
    entry.loadedNs = step.nowNs();
    entry.loadNs = tookNs > 0 ? tookNs : entry.loadedNs - entry.startedNs;
    entry.history.loaded(entry.loadNs);
    lease(entry);
    leavers.loaded(entry, entry.loadedNs);
    leavers.seen(entry);
    step.changed(entry);
  }

  /** Its load ended without a copy. */
  void notLoaded(CacheEntry entry) {
    loading--;
    memory.giveBack(entry.size);
    step.changed(entry);
  }

  /**
   * Makes models leave until {@code missing} is on its way out, for the sake of {@code entry}.
   *
   * @return false, and nothing leaves, when what may leave does not suffice
   */
  boolean makeRoom(CacheEntry entry, Memory missing, int missingSlots) {
    Memory overBatch = beyondBatchShare(entry);
    boolean batchOnly = !overBatch.equals(Memory.NONE);
    Memory need = missing.max(overBatch);
    if (need.equals(Memory.NONE) && missingSlots == 0) {
      return true;
    }
    List<CacheEntry> victims = leavers.choose(entry, need, missingSlots, batchOnly, step.nowNs());
    if (victims == null) {
      return false;
    }
    for (CacheEntry victim : victims) {
      leavers.evicted(victim, step.nowNs());
      unload(victim);
    }
    return true;
  }

  /** What models wanted only by batches would hold beyond their share; looked at for these only. */
  private Memory beyondBatchShare(CacheEntry entry) {
    if (!leavers.isBatch(entry)) {
      return Memory.NONE;
    }
    Memory held = entry.phase == Phase.LOADED ? Memory.NONE : entry.size;
    for (CacheEntry other : entries) {
      boolean kept =
          other.phase == Phase.LOADING
              || other.phase == Phase.LOADED
              || (other.phase == Phase.UNLOADING && other.stuck);
      if (kept && leavers.isBatch(other)) {
        held = held.plus(other.size);
      }
    }
    return held.minus(config.capacity().percent(config.batchPercent()));
  }

  /** A prefetched model gets its lease where the leased share allows. */
  private void lease(CacheEntry entry) {
    if (entry.leasedUntilNs == Long.MIN_VALUE) {
      return;
    }
    Memory leased = entry.size;
    for (CacheEntry other : entries) {
      if (other != entry && other.phase == Phase.LOADED && other.leasedUntilNs > step.nowNs()) {
        leased = leased.plus(other.size);
      }
    }
    boolean fits = leased.fitsIn(config.capacity().percent(config.leasePercent()));
    entry.leasedUntilNs = fits ? step.nowNs() + config.leaseMs() * Step.MS : Long.MIN_VALUE;
  }

  /** Whether what it is wanted for lets it hold so much at all. */
  boolean fitsItsShare(CacheEntry entry) {
    return !leavers.isBatch(entry)
        || entry.size.fitsIn(config.capacity().percent(config.batchPercent()));
  }

  void unload(CacheEntry entry) {
    leavers.leaves(entry);
    step.changed(entry);
    entry.phase = Phase.UNLOADING;
    entry.unloadInFlight = true;
    memory.freeing(entry.size);
    step.unload(entry);
  }

  void unloadIfIdle(CacheEntry entry) {
    if (entry.unwanted || entry.doomed) {
      leavers.unwanted(entry, step.nowNs());
      if (leavers.idle(entry, step.nowNs())) {
        unload(entry);
      }
    }
  }

  void unloaded(CacheEntry entry) {
    step.changed(entry);
    memory.giveBack(entry.size);
    if (!entry.stuck) {
      memory.freeingEnded(entry.size);
    }
    entry.stuck = false;
    entry.unloadInFlight = false;
    entry.unloadFailures = 0;
  }

  void unloadFailed(CacheEntry entry) {
    if (!entry.stuck) {
      entry.stuck = true;
      memory.freeingEnded(entry.size);
    }
    entry.unloadInFlight = false;
    entry.unloadFailures++;
    entry.unloadRetryNs =
        step.nowNs()
            + Step.MS
                * Backoff.delayMs(
                    config.unloadRetryFirstMs(),
                    config.unloadRetryMaxMs(),
                    entry.unloadFailures,
                    entry.modelId);
  }

  void retryUnload(CacheEntry entry) {
    if (entry.stuck && !entry.unloadInFlight && step.nowNs() >= entry.unloadRetryNs) {
      entry.unloadInFlight = true;
      step.unload(entry);
    }
  }

  /** How many unloads failed and have not succeeded since. */
  int stuck() {
    return (int) entries.stream().filter(e -> e.stuck).count();
  }

  /** Lets the policy learn. O(loaded models) where it wants to. */
  void learn() {
    leavers.seenAll();
  }

  /** Last use of the model that would leave first; 0 when none is loaded. */
  long oldestUseNs() {
    CacheEntry first = leavers.first(step.nowNs());
    return first == null ? 0 : leavers.lastUsedNs(first);
  }

  /** What the model that would leave first saves for each byte of it; 0 when none is loaded. */
  double marginalValue() {
    CacheEntry first = leavers.first(step.nowNs());
    if (first == null) {
      return 0;
    }
    long bytes = Math.max(1, Math.max(first.size.ramBytes(), first.size.vramBytes()));
    return leavers.savesNsPerSecond(first, step.nowNs()) / 1e9 / bytes;
  }
}
