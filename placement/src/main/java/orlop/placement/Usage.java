package orlop.placement;

/**
 * What the request threads and the view know of a model in this pod. Read by {@link ModelCache}
 * when it must choose what leaves; each answer may be a moment old.
 */
public interface Usage {
  /** Nanoseconds since the epoch; 0 when never used here. */
  long lastUsedNs(String modelId);

  /** Whether a call is running on it. */
  boolean pinned(String modelId);

  /** Uses since it was loaded. */
  default long uses(String modelId) {
    return lastUsedNs(modelId) == 0 ? 0 : 1;
  }

  /**
   * Its last uses since it was loaded.
   *
   * @param newestFirst filled with nanoseconds since the epoch
   * @return how many were filled in
   */
  default int recentUses(String modelId, long[] newestFirst) {
    newestFirst[0] = lastUsedNs(modelId);
    return newestFirst[0] == 0 ? 0 : 1;
  }

  /** Last use by a call that somebody waits for, not by a batch. */
  default long lastOnlineUseNs(String modelId) {
    return lastUsedNs(modelId);
  }

  /** Loaded copies in other pods: a model that has some is worth less here. */
  default int copiesElsewhere(String modelId) {
    return 0;
  }

  /** Whether its owner wants it to stay whatever it is worth. */
  default boolean kept(String modelId) {
    return false;
  }
}
