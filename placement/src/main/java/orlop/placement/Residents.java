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
  void loaded(CacheEntry entry, Memory said) {
    loading--;
    Memory measured = said.fitsIn(ABSURD) ? said : ABSURD;
    memory.correct(entry.size, measured);
    entry.size = measured;
    entry.phase = Phase.LOADED;
    entry.loadedNs = step.nowNs();
    entry.loadNs = entry.loadedNs - entry.startedNs;
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
    if (missing.equals(Memory.NONE) && missingSlots == 0) {
      return true;
    }
    List<CacheEntry> victims = leavers.choose(entries, entry, missing, missingSlots, step.nowNs());
    if (victims == null) {
      return false;
    }
    victims.forEach(this::unload);
    return true;
  }

  void unload(CacheEntry entry) {
    step.changed(entry);
    entry.phase = Phase.UNLOADING;
    entry.unloadInFlight = true;
    memory.freeing(entry.size);
    step.unload(entry);
  }

  void unloadIfIdle(CacheEntry entry) {
    if ((entry.unwanted || entry.doomed) && leavers.idle(entry, step.nowNs())) {
      unload(entry);
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

  /** Last use of the model that would leave first; 0 when none is loaded. O(entries). */
  long oldestUseNs() {
    CacheEntry first = leavers.first(entries, step.nowNs());
    return first == null ? 0 : leavers.lastUsedNs(first);
  }
}
