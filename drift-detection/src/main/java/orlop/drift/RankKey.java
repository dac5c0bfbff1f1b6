package orlop.drift;

/**
 * A measured value with its tie-breaker as one {@code long} whose signed order is the order of the
 * pair.
 *
 * <p>Values order as {@link Float#compare} does: negative infinity first, NaN above everything, so
 * missing values are ordinary points at the top end. Equal values order by their tie-breakers,
 * which are uniform and independent of the values; ranks are then uniform for every kind of
 * feature, constant and discrete ones too.
 */
final class RankKey {
  private RankKey() {}

  /** The key of a value; {@code tie} is read as an unsigned number. */
  static long of(float value, int tie) {
    // Adding zero turns -0 into 0, which means the same to a model.
    int bits = Float.floatToIntBits(value + 0f);
    int ordered = bits ^ ((bits >> 31) & 0x7FFF_FFFF);
    return ((long) ordered << 32) | (tie & 0xFFFF_FFFFL);
  }

  /** The value inside a key. */
  static float value(long key) {
    int ordered = (int) (key >> 32);
    return Float.intBitsToFloat(ordered ^ ((ordered >> 31) & 0x7FFF_FFFF));
  }
}
