package orlop.sim;

import java.util.SplittableRandom;

/**
 * What the models of a {@link Traffic} are: each one's size and load cost, drawn from the seed and
 * its number alone, so that any order of asking gives the same answer. Pure.
 *
 * @param seed of all sizes
 * @param medianBytes of the log-normal sizes
 */
public record Stock(long seed, long medianBytes) {
  public static final long MB = 1_000_000;
  private static final double SIGMA = 1.3;
  private static final long START_NS = 150 * Timeline.MS;

  /** What one model is. */
  public record Item(long sizeBytes, long loadNs) {}

  /** Sizes from 1 MB to 4 GB, 60 MB in the middle. */
  public static Stock of(long seed) {
    return new Stock(seed, 60 * MB);
  }

  /**
   * Loads take 0.15 s and the size at 1,500, 400 or 80 MB/s, by format (60, 30 and 10 % of the
   * models); three models in ten must be fetched anew besides, at 300 MB/s.
   */
  public Item item(int model) {
    SplittableRandom random = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + model);
    double size = medianBytes * Math.exp(SIGMA * random.nextGaussian());
    long bytes = (long) Math.clamp(size, MB, 4_000 * MB);
    int format = random.nextInt(10);
    double bytesPerSecond = (format < 6 ? 1_500 : format < 9 ? 400 : 80) * (double) MB;
    double seconds = bytes / bytesPerSecond;
    if (random.nextInt(10) < 3) {
      seconds += bytes / (300.0 * MB);
    }
    return new Item(bytes, START_NS + (long) (seconds * Timeline.SECOND));
  }
}
