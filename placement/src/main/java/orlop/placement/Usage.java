package orlop.placement;

/**
 * What the request threads know of a model in this pod. Read by {@link ModelCache} when it must
 * choose what leaves; each answer may be a moment old.
 */
public interface Usage {
  /** Nanoseconds since the epoch; 0 when never used here. */
  long lastUsedNs(String modelId);

  /** Whether a call is running on it. */
  boolean pinned(String modelId);
}
