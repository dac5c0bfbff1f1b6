package orlop.sim;

import java.util.Arrays;
import java.util.PriorityQueue;
import java.util.SplittableRandom;

/**
 * An endless stream of calls: when, and of which model. Models are numbers from 0 on; a number at
 * or above {@link Plan#models} is a model that came into being later. Equal plans give equal
 * streams. Owned by one thread; a call costs O(log models).
 */
public final class Traffic {
  /** What the stream looks like. */
  public enum Shape {
    /** Independent calls by Zipf's law; now and then five ranks in a hundred change places. */
    ZIPF,
    /**
     * As functions in a public cloud are called (Shahrad et al., "Serverless in the Wild", ATC
     * 2020): rates over eight decades, of which most are small; timers, independent calls and
     * bursts (Gamma gaps); now and then five rates in a hundred change places.
     */
    AZURE,
    /** Zipf by three groups of models whose days begin eight hours apart. */
    DIURNAL,
    /** Zipf, and now and then a cold model takes a fifth of all calls for a minute. */
    FLASH_CROWD,
    /** Zipf, and every ten minutes each model is called once, in order, within a minute. */
    SCAN,
    /** Zipf over names; every half minute one moves to a new model and the old one goes cold. */
    ROLL_OUT,
    /** Zipf over a catalogue of which every model is replaced once in four hours. */
    CHURN
  }

  /**
   * What to generate.
   *
   * @param models at the start
   * @param callsPerSecond on average, without the calls of scans
   * @param zipf exponent of Zipf's law
   * @param dayNs length of the day that {@link Shape#DIURNAL} follows
   * @param changeEvery calls after which five ranks or rates in a hundred change places
   * @param seed of all randomness
   */
  public record Plan(
      Shape shape,
      int models,
      double callsPerSecond,
      double zipf,
      long dayNs,
      int changeEvery,
      long seed) {
    public Plan {
      if (models < 3 || callsPerSecond <= 0 || zipf < 0 || dayNs < 1 || changeEvery < 1) {
        throw new IllegalArgumentException(
            "traffic of %d models (at least 3), %s calls/s (above 0), zipf %s (at least 0), day %d ns, change every %d calls (at least 1)"
                .formatted(models, callsPerSecond, zipf, dayNs, changeEvery));
      }
    }

    /** Ranks change places every 50,000 calls. */
    public Plan(
        Shape shape, int models, double callsPerSecond, double zipf, long dayNs, long seed) {
      this(shape, models, callsPerSecond, zipf, dayNs, CHANGE_EVERY, seed);
    }

    public static Plan of(Shape shape, int models, double callsPerSecond, double zipf, long seed) {
      return new Plan(shape, models, callsPerSecond, zipf, 24 * 60 * Timeline.MINUTE, seed);
    }
  }

  private static final int CHANGE_EVERY = 50_000;
  private static final long SCAN_EVERY_NS = 10 * Timeline.MINUTE;
  private static final long CROWD_EVERY_NS = 5 * Timeline.MINUTE;
  private static final long CROWD_LASTS_NS = Timeline.MINUTE;
  private static final long ROLL_EVERY_NS = 30 * Timeline.SECOND;
  private static final long TURNOVER_NS = 240 * Timeline.MINUTE;

  /** The next call of one model; {@code era} tells which of its rates it was drawn from. */
  private record Due(long timeNs, int model, int era) {}

  private final Plan plan;
  private final SplittableRandom random;
  private final int[] byRank;
  private final double[] cumulative;
  private final double meanGapNs;
  private long timeNs;
  private int model;
  private int models;
  private int retired = -1;
  private boolean scan;
  private long calls;

  // Zipf's variants.
  private long nextPlainNs;
  private long nextScanNs = SCAN_EVERY_NS;
  private int scanAt = -1;
  private long nextTurnNs;
  private int crowded;
  private long crowdEndsNs;

  // AZURE.
  private final double[] gapNs;
  private final byte[] kind;
  private final int[] era;
  private final PriorityQueue<Due> due =
      new PriorityQueue<>(
          (a, b) ->
              a.timeNs != b.timeNs
                  ? Long.compare(a.timeNs, b.timeNs)
                  : Integer.compare(a.model, b.model));

  public Traffic(Plan plan) {
    this.plan = plan;
    this.random = new SplittableRandom(plan.seed());
    this.models = plan.models();
    this.meanGapNs = Timeline.SECOND / plan.callsPerSecond();
    this.byRank = shuffled(plan.models());
    boolean azure = plan.shape() == Shape.AZURE;
    this.cumulative = azure ? new double[0] : zipf(plan.models(), plan.zipf());
    this.gapNs = new double[azure ? plan.models() : 0];
    this.kind = new byte[gapNs.length];
    this.era = new int[gapNs.length];
    if (azure) {
      drawRates();
    }
    nextPlainNs = gap(meanGapNs);
    nextTurnNs = gap(turnGapNs());
  }

  /** Goes on to the next call. */
  public void next() {
    retired = -1;
    scan = false;
    if (plan.shape() == Shape.AZURE) {
      nextAzure();
    } else {
      nextZipf();
    }
  }

  /** Since the beginning of the stream; never runs backwards. */
  public long timeNs() {
    return timeNs;
  }

  /** Who is called. */
  public int model() {
    return model;
  }

  /** Whether the call belongs to a scan. */
  public boolean scan() {
    return scan;
  }

  /** How many models there were so far. */
  public int models() {
    return models;
  }

  /** The model that went out of use just before this call, or -1. */
  public int retired() {
    return retired;
  }

  // Zipf and what happens besides.

  private void nextZipf() {
    if (plan.shape() == Shape.SCAN && scanCall()) {
      return;
    }
    timeNs = nextPlainNs;
    countCall();
    nextPlainNs += gap(meanGapNs / loudness());
    turn();
    if (plan.shape() == Shape.FLASH_CROWD && timeNs < crowdEndsNs && random.nextInt(5) == 0) {
      model = crowded;
    } else {
      model = byRank[rank()];
    }
  }

  /** Calls of scans do not count, so that the others are the same with scans and without. */
  private void countCall() {
    if (calls++ % plan.changeEvery() == plan.changeEvery() - 1) {
      changePlaces();
    }
  }

  private boolean scanCall() {
    if (nextScanNs > nextPlainNs) {
      return false;
    }
    scanAt++;
    timeNs = Math.max(timeNs, nextScanNs);
    nextScanNs += Timeline.MINUTE / models;
    model = scanAt;
    scan = true;
    if (scanAt == models - 1) {
      scanAt = -1;
      nextScanNs = (nextScanNs / SCAN_EVERY_NS + 1) * SCAN_EVERY_NS;
    }
    return true;
  }

  /** What changes between two calls. */
  private void turn() {
    if (timeNs < nextTurnNs) {
      return;
    }
    nextTurnNs += gap(turnGapNs());
    switch (plan.shape()) {
      case FLASH_CROWD -> {
        crowded = byRank[byRank.length / 2 + random.nextInt(byRank.length - byRank.length / 2)];
        crowdEndsNs = timeNs + CROWD_LASTS_NS;
      }
      case ROLL_OUT -> replace(random.nextBoolean() ? rank() : random.nextInt(byRank.length));
      case CHURN -> replace(random.nextInt(byRank.length));
      default -> {}
    }
  }

  private double turnGapNs() {
    return switch (plan.shape()) {
      case FLASH_CROWD -> CROWD_EVERY_NS;
      case ROLL_OUT -> ROLL_EVERY_NS;
      case CHURN -> (double) TURNOVER_NS / byRank.length;
      default -> Long.MAX_VALUE / 64.0;
    };
  }

  private void replace(int rank) {
    retired = byRank[rank];
    byRank[rank] = models++;
  }

  private int rank() {
    int rank = draw();
    if (plan.shape() == Shape.DIURNAL) {
      while (random.nextDouble() > daylight(rank % 3)) {
        rank = draw();
      }
    }
    return rank;
  }

  private int draw() {
    double at = random.nextDouble() * cumulative[cumulative.length - 1];
    int i = Arrays.binarySearch(cumulative, at);
    return Math.min(i >= 0 ? i : -i - 1, cumulative.length - 1);
  }

  /** From 0.05 at night to 1 at noon. */
  private double daylight(int group) {
    double phase = (double) (timeNs % plan.dayNs()) / plan.dayNs() + group / 3.0;
    double sun = 0.5 + 0.5 * Math.sin(2 * Math.PI * phase);
    return 0.05 + 0.95 * sun * sun;
  }

  /** All calls together, 1 on average: the first group is the largest. */
  private double loudness() {
    return plan.shape() == Shape.DIURNAL ? 0.6 + 0.9 * daylight(0) : 1;
  }

  private static double[] zipf(int models, double exponent) {
    double[] cumulative = new double[models];
    double sum = 0;
    for (int i = 0; i < models; i++) {
      sum += Math.pow(i + 1, -exponent);
      cumulative[i] = sum;
    }
    return cumulative;
  }

  // Azure.

  private void nextAzure() {
    Due first = due.remove();
    while (first.era != era[first.model]) {
      first = due.remove();
    }
    timeNs = first.timeNs;
    model = first.model;
    countCall();
    schedule(model, timeNs);
  }

  /**
   * Calls per day are log-normal: 45 % of the models at most hourly, 81 % at most every minute; cut
   * to eight decades, and then all scaled alike to the calls per second that are asked for.
   */
  private void drawRates() {
    double sum = 0;
    for (int i = 0; i < gapNs.length; i++) {
      double decade = Math.clamp(1.6 + 1.77 * random.nextGaussian(), -2, 6);
      gapNs[i] = Math.pow(10, -decade);
      sum += 1 / gapNs[i];
      kind[i] = (byte) random.nextInt(10);
    }
    double scale = sum * meanGapNs;
    for (int i = 0; i < gapNs.length; i++) {
      gapNs[i] *= scale;
      schedule(i, (long) -Math.min(Long.MAX_VALUE / 16.0, gapNs[i] * random.nextDouble()));
    }
  }

  /** Three models in ten are timers, three come in bursts, the others call independently. */
  private void schedule(int i, long fromNs) {
    double factor =
        kind[i] < 3
            ? 0.99 + 0.02 * random.nextDouble()
            : kind[i] < 6 ? burstyGap() : -Math.log(1 - random.nextDouble());
    double atNs = fromNs + Math.max(1, gapNs[i] * factor);
    if (atNs < Long.MAX_VALUE / 4.0) {
      due.add(new Due(Math.max(timeNs, (long) atNs), i, era[i]));
    }
  }

  /** Gamma of shape 1/10 and mean 1: coefficient of variation 3.2 (Ahrens and Dieter 1974). */
  private double burstyGap() {
    double shape = 0.1;
    double b = (Math.E + shape) / Math.E;
    while (true) {
      double p = b * random.nextDouble();
      double draw = -Math.log(1 - random.nextDouble());
      if (p <= 1) {
        double x = Math.pow(p, 1 / shape);
        if (draw >= x) {
          return x / shape;
        }
      } else {
        double x = -Math.log((b - p) / shape);
        if (draw >= (1 - shape) * Math.log(x)) {
          return x / shape;
        }
      }
    }
  }

  private void changePlaces() {
    for (int n = byRank.length / 40; n >= 0; n--) {
      int i = random.nextInt(byRank.length);
      int j = random.nextInt(byRank.length);
      if (plan.shape() == Shape.AZURE) {
        double gap = gapNs[i];
        gapNs[i] = gapNs[j];
        gapNs[j] = gap;
        era[i]++;
        era[j]++;
        schedule(i, timeNs);
        if (i != j) {
          schedule(j, timeNs);
        }
      } else {
        int at = byRank[i];
        byRank[i] = byRank[j];
        byRank[j] = at;
      }
    }
  }

  // Small draws.

  private long gap(double meanNs) {
    return (long) (-Math.log(1 - random.nextDouble()) * meanNs);
  }

  private int[] shuffled(int count) {
    int[] order = new int[count];
    for (int i = 0; i < count; i++) {
      int j = random.nextInt(i + 1);
      order[i] = order[j];
      order[j] = i;
    }
    return order;
  }
}
