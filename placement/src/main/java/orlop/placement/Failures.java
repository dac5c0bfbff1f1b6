package orlop.placement;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.CacheEntry.Phase;

/**
 * The models whose last load in a pod failed, oldest first, and how long each one pauses: what only
 * a change of the model can help at once for the longest time, anything else for a growing one.
 * Bounded: the oldest is forgotten first.
 */
final class Failures {
  private final CacheConfig config;
  private final Set<CacheEntry> remembered = new LinkedHashSet<>();

  Failures(CacheConfig config) {
    this.config = config;
  }

  /** Notes what went wrong, and from when on it may be tried again. */
  void note(CacheEntry entry, String reason, Fault fault, long nowMs) {
    entry.failures++;
    entry.fault = fault;
    entry.reason = reason.isEmpty() ? "load failed" : reason;
    long firstMs = fault == Fault.PERMANENT ? config.retryMaxMs() : config.retryFirstMs();
    entry.retryAtMs =
        nowMs + Backoff.delayMs(firstMs, config.retryMaxMs(), entry.failures, entry.modelId);
  }

  /**
   * @return what is forgotten for its sake; null when there was room for it
   */
  @Nullable CacheEntry remember(CacheEntry entry) {
    entry.phase = Phase.FAILED;
    remembered.add(entry);
    if (remembered.size() <= config.maxFailed()) {
      return null;
    }
    CacheEntry oldest = remembered.iterator().next();
    remembered.remove(oldest);
    return oldest;
  }

  void forget(CacheEntry entry) {
    remembered.remove(entry);
  }

  /** Those that another setting may help; the others failed for what this pod is. */
  List<CacheEntry> curable() {
    return remembered.stream().filter(entry -> entry.retryAtMs != Long.MAX_VALUE).toList();
  }

  /** Whether the pause has been over for so long that the failure says nothing any more. */
  boolean stale(CacheEntry entry, long nowMs) {
    return entry.retryAtMs != Long.MAX_VALUE && nowMs >= entry.retryAtMs + config.retryMaxMs();
  }
}
