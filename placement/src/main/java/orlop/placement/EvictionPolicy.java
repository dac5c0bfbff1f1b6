package orlop.placement;

/**
 * Ranks what must leave one pod. Deterministic, without a clock of its own. Owned by one {@link
 * ModelCache}: an instance that learns may not be shared.
 */
@FunctionalInterface
public interface EvictionPolicy {
  /** How many of a model's last uses are known at most. */
  int USES_KEPT = 8;

  /** What keeping the resident is worth; the lowest leaves first. */
  double value(Resident resident, long nowNs);

  /**
   * Whether the passing of time alone changes no value and a use only raises it. Then all loaded
   * models are held in order and exactly the lowest leaves; else the lowest of 64 drawn ones does.
   */
  default boolean ordered() {
    return false;
  }

  /** The resident leaves to make room. */
  default void evicted(Resident resident, long nowNs) {}

  /** Whether {@link #seen} shall be told of uses. */
  default boolean learns() {
    return false;
  }

  /**
   * The model was used at {@code atNs}, or waited for when it was not here. Uses within a second
   * may be told as one.
   */
  default void seen(Resident resident, long atNs) {}

  /** Least recently used leaves first, exactly. */
  EvictionPolicy LRU = new Lru();

  /**
   * A loaded model that could leave, for the duration of one question only: what is told of may
   * change afterwards.
   */
  interface Resident {
    String modelId();

    Memory size();

    /** The part of the pod's memory that it takes, of the kind it takes more of; above 0. */
    double share();

    /** Nanoseconds since the epoch; a want counts. */
    long lastUsedNs();

    /** What a pull and load costs, learnt from its loads here. */
    double costNs();

    /** Uses since it was loaded; at least 1. */
    long uses();

    /** How many of its last uses are known, earlier stays included: 1 to {@link #USES_KEPT}. */
    int usesKnown();

    /**
     * When it was used.
     *
     * @param k 1 for the last use, 2 for the one before, up to {@link #usesKnown}
     */
    long useNs(int k);
  }
}
