package orlop.pod;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * How many values fell between which bounds, and their sum. Lock-free; a value costs some 10 ns.
 */
final class Distribution {
  /** The bounds, in the unit in which values are shown. */
  enum Scale {
    /** Shown in milliseconds, counted in nanoseconds. */
    TIME(
        1e6, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 75, 100, 200, 500, 1_000, 2_000, 5_000, 10_000,
        20_000, 60_000, 120_000, 300_000),
    /** Likewise, of things that lie for days. */
    AGE(
        1e6, 30e3, 300e3, 900e3, 3_600e3, 14_400e3, 43_200e3, 86_400e3, 604_800e3, 2_592e6,
        7_776e6),
    /** Bytes of a model. */
    MODEL(
        1, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1L << 30,
        4L << 30),
    /** Bytes of a message. */
    MESSAGE(1, 128, 512, 2 << 10, 8 << 10, 32 << 10, 128 << 10, 512 << 10, 2 << 20);

    /** Counted for each one shown. */
    private final double unit;

    @SuppressWarnings("ImmutableEnumChecker") // Nobody changes it.
    private final double[] shown;

    @SuppressWarnings("ImmutableEnumChecker")
    private final long[] bounds;

    @SuppressWarnings("ImmutableEnumChecker")
    private final String[] names;

    Scale(double unit, double... shown) {
      this.unit = unit;
      this.shown = shown;
      this.bounds = Arrays.stream(shown).mapToLong(bound -> (long) (bound * unit)).toArray();
      this.names = Arrays.stream(shown).mapToObj(MetricsText::number).toArray(String[]::new);
    }
  }

  private final Scale scale;
  private final AtomicLongArray counts;
  private final LongAdder sum = new LongAdder();

  Distribution(Scale scale) {
    this.scale = scale;
    this.counts = new AtomicLongArray(scale.shown.length + 1);
  }

  void add(long value) {
    long[] bounds = scale.bounds;
    int low = 0;
    int high = bounds.length;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (value <= bounds[middle]) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    counts.getAndIncrement(low);
    sum.add(value);
  }

  /** Takes over what another one of the same scale has counted. */
  void addAll(Distribution other) {
    for (int i = 0; i < counts.length(); i++) {
      counts.getAndAdd(i, other.counts.get(i));
    }
    sum.add(other.sum.sum());
  }

  /** The samples of a histogram, whose family has been begun. */
  void write(MetricsText text, String name, String... labels) {
    long all = 0;
    for (int i = 0; i < counts.length(); i++) {
      all += counts.get(i);
      String bound = i == scale.names.length ? "+Inf" : scale.names[i];
      text.bucket(name, bound, all, labels);
    }
    text.sample(name + "_count", all, labels);
    text.sample(name + "_sum", sum.sum() / scale.unit, labels);
  }

  /** As a family of its own. */
  void write(MetricsText text, String name, @Nullable String help) {
    text.family(name, "histogram", help == null ? "" : help);
    write(text, name, new String[0]);
  }
}
