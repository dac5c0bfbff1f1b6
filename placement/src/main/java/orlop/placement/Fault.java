package orlop.placement;

/**
 * Why a model did not load, as far as that decides what helps. The later ones outweigh the earlier
 * where pods report several.
 */
public enum Fault {
  /** A store that is away, a time-out: waiting helps, and perhaps another pod. */
  TRANSIENT,
  /** Memory or disk ran out in this pod: another may have room. */
  CAPACITY,
  /**
   * The pod is not set up for the model: no runtime of its type, no or refused credentials. Another
   * setting helps, and another pod may have it.
   */
  CONFIGURATION,
  /** The model itself: not there, or malformed. Only a change of it helps, and no other pod. */
  PERMANENT
}
