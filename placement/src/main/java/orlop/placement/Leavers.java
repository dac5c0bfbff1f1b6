package orlop.placement;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;
import orlop.placement.CacheEntry.Phase;

/**
 * What may leave a pod, and in which order. For a call: any loaded model that nobody holds and that
 * is not in the grace period in which the first of those who waited for it comes to use it. For a
 * plan: of these, only one used before what is wanted.
 */
final class Leavers {
  private final EvictionPolicy policy;
  private final Usage usage;
  private final long graceNs;

  Leavers(EvictionPolicy policy, Usage usage, long graceNs) {
    this.policy = policy;
    this.usage = usage;
    this.graceNs = graceNs;
  }

  /** Who leaves for the sake of {@code entry}; null when those who may do not suffice. */
  @Nullable List<CacheEntry> choose(
      Collection<CacheEntry> entries,
      CacheEntry entry,
      Memory missing,
      int missingSlots,
      long nowNs) {
    List<Victims.Candidate> candidates = new ArrayList<>();
    for (CacheEntry other : entries) {
      if (other != entry
          && other.phase == Phase.LOADED
          && (entry.live || lastUsedNs(other) < entry.wantedNs)
          && idle(other, nowNs)) {
        candidates.add(new Victims.Candidate(other, value(other, nowNs)));
      }
    }
    return Victims.choose(candidates, missing, missingSlots);
  }

  /** The loaded model that is worth least, held or not; null when none is loaded. */
  @Nullable CacheEntry first(Collection<CacheEntry> entries, long nowNs) {
    CacheEntry first = null;
    double lowest = 0;
    for (CacheEntry entry : entries) {
      if (entry.phase == Phase.LOADED) {
        double value = value(entry, nowNs);
        if (first == null || value < lowest) {
          first = entry;
          lowest = value;
        }
      }
    }
    return first;
  }

  boolean idle(CacheEntry entry, long nowNs) {
    boolean grace =
        entry.readyNs != Long.MIN_VALUE
            && nowNs - entry.readyNs < graceNs
            && usage.lastUsedNs(entry.modelId) < entry.readyNs;
    return !grace && !usage.pinned(entry.modelId);
  }

  long lastUsedNs(CacheEntry entry) {
    return Math.max(usage.lastUsedNs(entry.modelId), Math.max(entry.wantedNs, entry.readyNs));
  }

  private double value(CacheEntry entry, long nowNs) {
    if (entry.unwanted || entry.doomed) {
      return Double.NEGATIVE_INFINITY;
    }
    return policy.value(
        new EvictionPolicy.Resident(
            entry.modelId, entry.size, lastUsedNs(entry), entry.loadedNs, entry.loadNs),
        nowNs);
  }
}
