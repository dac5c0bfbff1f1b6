package orlop.placement;

import java.util.HashMap;
import java.util.Map;

/**
 * What one pod learnt of how long pulls and loads take: a rate for pulls, and one for loads of each
 * model type, over the last few dozen of each. Mutable, not thread-safe; a handful of numbers.
 */
public final class LoadTimes {
  /** Until something is measured. */
  static final long PULL_BYTES_PER_S = 200_000_000;

  static final long LOAD_BYTES_PER_S = 400_000_000;

  /** What every load takes, however small the model. */
  static final long START_MS = 150;

  // Each new measurement counts 1/16, so that a change of the storage is learnt within dozens.
  private static final double KEEP = 15.0 / 16;

  /**
   * So many bytes at the usual rate count as measured from the first on. Without them the small
   * models, which cost time but hardly bytes, would say that large ones take hours.
   */
  private static final double PRIOR_BYTES = 16_000_000;

  private static final class Rate {
    private final double usualBytesPerS;
    private double bytes;
    private double ms;

    Rate(double usualBytesPerS) {
      this.usualBytesPerS = usualBytesPerS;
    }

    void note(long newBytes, long newMs) {
      bytes = bytes * KEEP + newBytes;
      ms = ms * KEEP + Math.max(1, newMs);
    }

    long bytesPerS() {
      double usualMs = PRIOR_BYTES * 1000 / usualBytesPerS;
      return ms == 0 ? 0 : Math.max(1, (long) ((bytes + PRIOR_BYTES) * 1000 / (ms + usualMs)));
    }
  }

  private final Rate pulls = new Rate(PULL_BYTES_PER_S);
  private final Map<String, Rate> loads = new HashMap<>();

  /** A pull that really moved bytes. */
  public void pulled(long bytes, long ms) {
    pulls.note(bytes, ms);
  }

  /** A load from the disk; types beyond {@link Outlook#MAX_TYPES} are not learnt. */
  public void loaded(String type, long bytes, long ms) {
    Rate rate = loads.get(type);
    if (rate == null && loads.size() < Outlook.MAX_TYPES) {
      rate = new Rate(LOAD_BYTES_PER_S);
      loads.put(type, rate);
    }
    if (rate != null) {
      rate.note(bytes, ms - START_MS);
    }
  }

  /** 0 when unknown. */
  public long pullBytesPerS() {
    return pulls.bytesPerS();
  }

  public Map<String, Long> loadBytesPerS() {
    Map<String, Long> rates = HashMap.newHashMap(loads.size());
    loads.forEach((type, rate) -> rates.put(type, rate.bytesPerS()));
    return rates;
  }

  /** Milliseconds to bring so many bytes at a rate; 0 stands for the usual one. */
  static long pullMs(long bytes, long bytesPerS) {
    return ms(bytes, bytesPerS > 0 ? bytesPerS : PULL_BYTES_PER_S);
  }

  /** Milliseconds to load a model of so many bytes that lies on the disk. */
  static long loadMs(long bytes, long bytesPerS) {
    return START_MS + ms(bytes, bytesPerS > 0 ? bytesPerS : LOAD_BYTES_PER_S);
  }

  /** What a pull, unless the model is on the disk, and a load of this model will take here. */
  public long expectedMs(String type, long bytes, boolean onDisk) {
    Rate rate = loads.get(type);
    return (onDisk ? 0 : pullMs(bytes, pulls.bytesPerS()))
        + loadMs(bytes, rate == null ? 0 : rate.bytesPerS());
  }

  private static long ms(long bytes, long bytesPerS) {
    return (long) (bytes * 1000.0 / bytesPerS);
  }
}
