package orlop.drift;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Watches one feature of one model: learns a baseline, watches for a change, reports it once, and
 * learns again.
 *
 * <p>Pure: no clock, no I/O. Not thread-safe. O(bets) per value. About 2.5 KB while watching, 8
 * bytes per row while learning.
 */
final class FeatureMonitor {
  /*
   * LEARNING -> (enough rows) WATCHING -> (alarm) LATCHED -> (latchRows) LEARNING
   *
   * A latched feature takes no budget and raises nothing; it goes on counting evidence for the bet
   * that won, so that one can see whether the change lasts. What it learns afterwards is the new
   * normal. `relearn` leads to LEARNING from anywhere.
   */
  enum Phase {
    LEARNING,
    WATCHING,
    LATCHED
  }

  /** Recent values that effect sizes are computed over. */
  static final int WINDOW = 128;

  private static final byte FORMAT = 1;
  private static final long[] NONE = {};

  private Phase phase = Phase.LEARNING;
  private long[] learned = NONE;
  private int learnedRows;
  private @Nullable Baseline baseline;
  private @Nullable PolyaDetector detector;
  private long latchedRows;
  private int wonBy;
  private double furtherLog10;

  /** Log position of the last value taken; a repeated delivery is recognised by it. */
  private long lastOffset = -1;

  // Reporting only, so it is not kept over a restart.
  private final long[] window = new long[WINDOW];
  private long windowRows;

  /** A monitor that has still to learn. */
  FeatureMonitor() {}

  /** A monitor that was told its baseline. */
  FeatureMonitor(Baseline baseline) {
    watch(baseline);
  }

  /**
   * Takes the next value.
   *
   * @param key the value with its tie-breaker
   * @param budget expected false alarms that it may add; ignored unless the feature is watched
   * @return an alarm when this value completed the evidence for a change
   */
  @Nullable Alarm observe(
      long key, double budget, long offset, long timeMs, DetectorSettings settings) {
    lastOffset = offset;
    Baseline known = baseline;
    PolyaDetector watching = detector;
    if (known == null || watching == null) {
      learn(key, settings.baselineRows());
      return null;
    }
    window[(int) (windowRows++ % WINDOW)] = key;
    int bin = known.bin(key);
    if (phase == Phase.LATCHED) {
      furtherLog10 += Math.log10(watching.ratio(wonBy, bin));
      if (++latchedRows >= settings.latchRows()) {
        relearn();
      }
      return null;
    }
    if (!watching.observe(bin, budget, timeMs)) {
      return null;
    }
    wonBy = watching.winner();
    phase = Phase.LATCHED;
    latchedRows = 0;
    furtherLog10 = 0;
    return alarm(known, watching);
  }

  /** Forgets the baseline and learns a new one from the values to come. */
  void relearn() {
    phase = Phase.LEARNING;
    baseline = null;
    detector = null;
    learned = NONE;
    learnedRows = 0;
  }

  Phase phase() {
    return phase;
  }

  long lastOffset() {
    return lastOffset;
  }

  /** What an onlooker may know. */
  FeatureStatus status(FeatureKey key) {
    PolyaDetector watching = detector;
    Baseline known = baseline;
    return new FeatureStatus(
        key.tensor(),
        key.index(),
        phase.name(),
        known == null ? learnedRows : known.rows(),
        watching == null ? 0 : watching.rows(),
        watching == null ? 0 : watching.evidenceLog10(),
        phase == Phase.LATCHED ? furtherLog10 : 0);
  }

  private void learn(long key, int baselineRows) {
    if (learnedRows == learned.length) {
      int room = Math.min(baselineRows, Math.max(64, 2 * learnedRows));
      // More than the rows asked for may be here, from before they were set lower.
      learned = Arrays.copyOf(learned, Math.max(room, learnedRows + 1));
    }
    learned[learnedRows++] = key;
    if (learnedRows >= baselineRows) {
      watch(Baseline.of(learned, learnedRows));
    }
  }

  private void watch(Baseline known) {
    phase = Phase.WATCHING;
    baseline = known;
    detector = new PolyaDetector(known);
    learned = NONE;
    learnedRows = 0;
    windowRows = 0;
  }

  private Alarm alarm(Baseline known, PolyaDetector watching) {
    long sinceChange = watching.rowsSinceChange();
    int size = (int) Math.min(Math.min(sinceChange, windowRows), WINDOW);
    long[] recent = new long[size];
    int missing = 0;
    for (int i = 0; i < size; i++) {
      recent[i] = window[(int) ((windowRows - 1 - i) % WINDOW)];
      missing += Float.isFinite(RankKey.value(recent[i])) ? 0 : 1;
    }
    Effects effects = Effects.of(known, recent);
    return new Alarm(
        direction(known, missing, size),
        Bets.name(wonBy),
        effects,
        watching.rows(),
        sinceChange,
        watching.evidenceLog10(),
        watching.changeMs());
  }

  /** The winning bet's, unless values that are no numbers explain the change. */
  private Direction direction(Baseline known, int missing, int size) {
    double before = (double) known.nonFinite() / known.rows();
    double now = (double) missing / Math.max(1, size);
    // Five standard errors of a share, and at least one value in fifty.
    double error = Math.sqrt((before * (1 - before) + 1.0 / known.rows()) / Math.max(1, size));
    return Math.abs(now - before) > Math.max(0.02, 5 * error)
        ? Direction.MISSING
        : Bets.direction(wonBy);
  }

  /** The state as bytes; the baseline goes with it, the window does not. */
  byte[] toBytes() {
    Baseline known = baseline;
    PolyaDetector watching = detector;
    if (known == null || watching == null) {
      ByteBuffer out = ByteBuffer.allocate(14 + 8 * learnedRows);
      out.put(FORMAT).put((byte) 0).putLong(lastOffset).putInt(learnedRows);
      for (int i = 0; i < learnedRows; i++) {
        out.putLong(learned[i]);
      }
      return out.array();
    }
    int size =
        10
            + 8
            + 4
            + 8 // header, latch
            + 8 * known.edges().length
            + 4 * known.gaps().length
            + 4
            + 8
            + 8
            + 4
            + 4
            + 4 * known.grid().length
            + PolyaDetector.bytes();
    ByteBuffer out = ByteBuffer.allocate(size);
    out.put(FORMAT).put((byte) (phase == Phase.LATCHED ? 2 : 1)).putLong(lastOffset);
    out.putLong(latchedRows).putInt(wonBy).putDouble(furtherLog10);
    for (long edge : known.edges()) {
      out.putLong(edge);
    }
    for (int gap : known.gaps()) {
      out.putInt(gap);
    }
    out.putInt(known.rows()).putDouble(known.mean()).putDouble(known.sd());
    out.putInt(known.nonFinite()).putInt(known.grid().length);
    for (float value : known.grid()) {
      out.putFloat(value);
    }
    watching.write(out);
    return out.array();
  }

  /**
   * The monitor that wrote these bytes.
   *
   * @throws IllegalArgumentException when they are of another format
   */
  static FeatureMonitor fromBytes(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    byte format = in.get();
    if (format != FORMAT) {
      throw new IllegalArgumentException(
          "drift state has format " + format + ", expected " + FORMAT);
    }
    byte phase = in.get();
    FeatureMonitor monitor = new FeatureMonitor();
    monitor.lastOffset = in.getLong();
    if (phase == 0) {
      monitor.learnedRows = in.getInt();
      monitor.learned = new long[monitor.learnedRows];
      in.asLongBuffer().get(monitor.learned);
      return monitor;
    }
    monitor.phase = phase == 2 ? Phase.LATCHED : Phase.WATCHING;
    monitor.latchedRows = in.getLong();
    monitor.wonBy = in.getInt();
    monitor.furtherLog10 = in.getDouble();
    Baseline known = readBaseline(in);
    monitor.baseline = known;
    monitor.detector = PolyaDetector.read(known, in);
    return monitor;
  }

  private static Baseline readBaseline(ByteBuffer in) {
    long[] edges = new long[Bins.COUNT - 1];
    for (int i = 0; i < edges.length; i++) {
      edges[i] = in.getLong();
    }
    int[] gaps = new int[Bins.COUNT];
    for (int i = 0; i < gaps.length; i++) {
      gaps[i] = in.getInt();
    }
    int rows = in.getInt();
    double mean = in.getDouble();
    double sd = in.getDouble();
    int nonFinite = in.getInt();
    float[] grid = new float[in.getInt()];
    for (int i = 0; i < grid.length; i++) {
      grid[i] = in.getFloat();
    }
    return new Baseline(edges, gaps, rows, mean, sd, nonFinite, grid);
  }
}
