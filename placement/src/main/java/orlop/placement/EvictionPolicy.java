package orlop.placement;

/** Ranks what must leave. Pure; the lowest value leaves first. */
@FunctionalInterface
public interface EvictionPolicy {
  /** What keeping the resident is worth. */
  double value(Resident resident, long nowNs);

  /**
   * A loaded model that could leave.
   *
   * @param lastUsedNs nanoseconds since the epoch
   * @param loadNs what it cost to pull and load
   */
  record Resident(String modelId, Memory size, long lastUsedNs, long loadedNs, long loadNs) {}

  /** Least recently used leaves first. */
  EvictionPolicy LRU = (resident, nowNs) -> resident.lastUsedNs();
}
