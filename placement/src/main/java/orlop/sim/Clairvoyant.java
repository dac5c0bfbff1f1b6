package orlop.sim;

import java.util.Arrays;
import orlop.placement.EvictionPolicy;

/**
 * Knows when each model is called next: what is called late, costs little and is large leaves
 * first. Belady's rule with cost and size. No policy without foreknowledge reaches it; it is no
 * strict bound, for the best choice with sizes is not computable in any sensible time.
 */
final class Clairvoyant implements EvictionPolicy {
  private final int[] models;
  private final long[] nextOfCallNs;
  private final long[] nextNs;

  Clairvoyant(Trace trace) {
    models = trace.models;
    nextOfCallNs = trace.nextUsesNs();
    nextNs = new long[trace.modelCount()];
    Arrays.fill(nextNs, Long.MAX_VALUE);
  }

  /** The call of that number is made now. */
  void at(int call) {
    nextNs[models[call]] = nextOfCallNs[call];
  }

  @Override
  public double value(Resident resident, long nowNs) {
    double awayNs = nextNs[Integer.parseInt(resident.modelId())] - (double) nowNs;
    return resident.costNs() / resident.share() / Math.max(1, awayNs);
  }
}
