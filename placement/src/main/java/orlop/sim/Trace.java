package orlop.sim;

import java.util.Arrays;

/**
 * A stretch of {@link Traffic} in memory, so that several policies meet the same calls and an
 * oracle can look ahead.
 */
public final class Trace {
  final Stock stock;
  final long[] timesNs;
  final int[] models;
  final boolean[] scans;
  private final int modelCount;

  private Trace(Stock stock, int calls, int modelCount, Traffic traffic) {
    this.stock = stock;
    timesNs = new long[calls];
    models = new int[calls];
    scans = new boolean[calls];
    int seen = modelCount;
    for (int i = 0; i < calls; i++) {
      traffic.next();
      timesNs[i] = Timeline.START_NS + traffic.timeNs();
      models[i] = traffic.model();
      scans[i] = traffic.scan();
      seen = Math.max(seen, traffic.models());
    }
    this.modelCount = seen;
  }

  /** The first calls of what the plan gives; sizes are drawn from the same seed. */
  public static Trace of(Traffic.Plan plan, int calls) {
    return new Trace(Stock.of(plan.seed()), calls, plan.models(), new Traffic(plan));
  }

  public int calls() {
    return models.length;
  }

  /** All models that there are in the course of it. */
  public int modelCount() {
    return modelCount;
  }

  /** Who is called by the call of that number. */
  public int model(int call) {
    return models[call];
  }

  public Stock stock() {
    return stock;
  }

  /** What the models are, by their numbers. */
  Stock.Item[] items() {
    Stock.Item[] items = new Stock.Item[modelCount];
    for (int i = 0; i < modelCount; i++) {
      items[i] = stock.item(i);
    }
    return items;
  }

  /** What the first models, so many of them, take together. */
  public long bytes(int first) {
    long bytes = 0;
    for (int i = 0; i < first; i++) {
      bytes += stock.item(i).sizeBytes();
    }
    return bytes;
  }

  /** For each call the time of the next one of the same model; {@link Long#MAX_VALUE} for none. */
  long[] nextUsesNs() {
    long[] next = new long[models.length];
    long[] upcoming = new long[modelCount];
    Arrays.fill(upcoming, Long.MAX_VALUE);
    for (int i = models.length - 1; i >= 0; i--) {
      next[i] = upcoming[models[i]];
      upcoming[models[i]] = timesNs[i];
    }
    return next;
  }
}
