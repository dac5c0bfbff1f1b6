package orlop.runtime;

/** Which values of a feature count as missing at a split, and where a missing one goes. */
enum Missing {
  /** NaN goes left. */
  NAN_LEFT,
  /** NaN goes right. */
  NAN_RIGHT,
  /** NaN and zero go left. */
  ZERO_LEFT,
  /** NaN and zero go right. */
  ZERO_RIGHT,
  /** Nothing is missing; NaN is read as 0. */
  NONE
}
