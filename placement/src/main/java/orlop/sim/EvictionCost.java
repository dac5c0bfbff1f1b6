package orlop.sim;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.SplittableRandom;
import orlop.placement.Eviction;

/** What one load that displaces another model costs the production cache in computing time. */
public final class EvictionCost {
  private static final ThreadMXBean CPU = ManagementFactory.getThreadMXBean();

  /** Ticks are rare, so that they cost little here. */
  private static final long STEP_NS = Timeline.MS / 10;

  private EvictionCost() {}

  /**
   * CPU time of the thread.
   *
   * @param microsPerEviction for the want, the choice of what leaves, the unload and the load
   */
  public record Result(int residents, double microsPerEviction) {}

  /**
   * Fills a cache with models of about equal size and then loads new ones, each of which displaces
   * one; every model is used at random between.
   */
  public static Result measure(Eviction eviction, int residents, int evictions) {
    Stock.Item[] items = new Stock.Item[residents + 2 * evictions];
    SplittableRandom random = new SplittableRandom(7);
    for (int i = 0; i < items.length; i++) {
      items[i] = new Stock.Item(1_000, Timeline.SECOND + random.nextInt(1_000_000_000));
    }
    BareCache cache = new BareCache(items, residents * 1_000L, eviction.policy());
    long nowNs = Timeline.START_NS;
    int next = 0;
    while (next < residents) {
      cache.call(next++, nowNs += STEP_NS);
    }
    long startNs = 0;
    for (int i = 0; i < 2 * evictions; i++) {
      if (i == evictions) {
        startNs = CPU.getCurrentThreadCpuTime();
      }
      int again = random.nextInt(next);
      if (cache.holds(again)) {
        cache.call(again, nowNs += STEP_NS);
      }
      cache.call(next++, nowNs += STEP_NS);
    }
    long tookNs = CPU.getCurrentThreadCpuTime() - startNs;
    if (cache.residents() != residents) {
      throw new IllegalStateException(
          cache.residents() + " models are loaded, expected " + residents);
    }
    return new Result(residents, tookNs / 1e3 / evictions);
  }
}
