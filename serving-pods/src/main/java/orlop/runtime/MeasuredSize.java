package orlop.runtime;

/**
 * What a loaded ONNX model counts as, from the formula of {@link OnnxFile} and from what the
 * process grew by while its session was made. Pure.
 */
final class MeasuredSize {
  /** Smaller models are not worth the measuring, and differ by less than the noise. */
  static final long LEAST_BYTES = 1 << 20;

  /**
   * The growth is that of the whole process. Runs, compilers and buffers of sockets moved it by up
   * to 5 MB in the time of a load under full traffic, so less is no sign that the formula is wrong.
   */
  static final long NOISE_BYTES = 8 << 20;

  /** The formula is as good as this for what it was fitted to: one part in so many. */
  private static final int FORMULA_PART = 8;

  /** Weights are held at least once, whatever else the formula counts; a bound for large noise. */
  private static final int LEAST_PART = 2;

  /** Weights, their packed copies and tables of trees come to less than this; the other bound. */
  private static final int MOST_TIMES = 4;

  private MeasuredSize() {}

  /**
   * @param formulaBytes what was predicted
   * @param grownBytes -1 when it was not measured
   */
  static long of(long formulaBytes, long grownBytes) {
    long off = Math.abs(grownBytes - formulaBytes);
    if (grownBytes < 0 || off <= Math.max(NOISE_BYTES, formulaBytes / FORMULA_PART)) {
      return formulaBytes;
    }
    return Math.clamp(grownBytes, formulaBytes / LEAST_PART, MOST_TIMES * formulaBytes);
  }
}
