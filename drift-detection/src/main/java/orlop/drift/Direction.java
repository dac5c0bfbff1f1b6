package orlop.drift;

import java.util.Locale;

/** What kind of change a verdict reports. */
enum Direction {
  /** Values, or the upper tail of them, moved up. */
  UP,
  /** Values, or the lower tail of them, moved down. */
  DOWN,
  /** Values spread out. */
  WIDER,
  /** Values drew together. */
  NARROWER,
  /** The distribution changed without moving or spreading. */
  SHAPE,
  /** The share of NaN and infinite values changed. */
  MISSING;

  /** The word in the verdict. */
  String word() {
    return name().toLowerCase(Locale.ROOT);
  }
}
