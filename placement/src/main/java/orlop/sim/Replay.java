package orlop.sim;

import java.util.function.IntConsumer;
import orlop.placement.EvictionPolicy;
import orlop.placement.ModelCache;

/**
 * One pod's production {@link ModelCache} under a {@link Trace}: each call of a model that is not
 * loaded loads it at once, which costs what the {@link Stock} says. What the models cost is summed
 * from the end of a warm-up on.
 */
public final class Replay {
  private Replay() {}

  /**
   * What a policy cost.
   *
   * @param loadSeconds spent on loads
   * @param calls counted
   * @param misses calls that had to load
   * @param hotCalls calls that belong to no scan
   * @param hotMisses those of them that had to load
   */
  public record Result(double loadSeconds, int calls, int misses, int hotCalls, int hotMisses) {
    /** Share of the calls outside of scans that needed no load. */
    public double hotHitRatio() {
      return 1 - (double) hotMisses / Math.max(1, hotCalls);
    }

    public double missRatio() {
      return (double) misses / Math.max(1, calls);
    }
  }

  /**
   * Replays all calls.
   *
   * @param warmUp calls that are not counted
   */
  public static Result run(Trace trace, long capacityBytes, EvictionPolicy policy, int warmUp) {
    return run(trace, capacityBytes, policy, warmUp, _ -> {});
  }

  /** The same for what a clairvoyant would keep. */
  public static Result runClairvoyant(Trace trace, long capacityBytes, int warmUp) {
    Clairvoyant oracle = new Clairvoyant(trace);
    return run(trace, capacityBytes, oracle, warmUp, oracle::at);
  }

  private static Result run(
      Trace trace, long capacityBytes, EvictionPolicy policy, int warmUp, IntConsumer beforeCall) {
    Stock.Item[] items = trace.items();
    BareCache cache = new BareCache(items, capacityBytes, policy);
    long loadNs = 0;
    int misses = 0;
    int hotCalls = 0;
    int hotMisses = 0;
    for (int i = 0; i < trace.calls(); i++) {
      int model = trace.models[i];
      beforeCall.accept(i);
      boolean hit = cache.call(model, trace.timesNs[i]);
      if (i >= warmUp) {
        hotCalls += trace.scans[i] ? 0 : 1;
        if (!hit) {
          misses++;
          loadNs += items[model].loadNs();
          hotMisses += trace.scans[i] ? 0 : 1;
        }
      }
    }
    return new Result(loadNs / 1e9, trace.calls() - warmUp, misses, hotCalls, hotMisses);
  }
}
