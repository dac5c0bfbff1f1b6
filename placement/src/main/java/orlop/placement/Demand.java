package orlop.placement;

import java.util.Map;
import java.util.Set;

/**
 * How the models are being used: what the planner has heard from the pods.
 *
 * @param uses by model id; a model that is absent was not called since the planner started
 * @param busy by pod id: the share of its compute threads that were at work, 0 to 1, averaged over
 *     the last minute; a pod that did not say is absent
 * @param silent pods that could not be reached for some seconds, whatever the registry says
 */
public record Demand(Map<String, Use> uses, Map<String, Double> busy, Set<String> silent) {
  public static final Demand NONE = new Demand(Map.of());

  public Demand {
    uses = Map.copyOf(uses);
    busy = Map.copyOf(busy);
    silent = Set.copyOf(silent);
  }

  /** Demand where no pod said how busy it is, and all can be reached. */
  public Demand(Map<String, Use> uses) {
    this(uses, Map.of(), Set.of());
  }

  /**
   * @param callsPerMinute over all pods, averaged over the last minutes
   * @param steadySinceMs since when it has been called in every minute, milliseconds since the
   *     epoch; 0 when it was not
   * @param lastUsedMs milliseconds since the epoch
   * @param beats in how many reports since {@code steadySinceMs} it was called
   * @param queuedMs how long a call waited, in the pod that ran it, for a compute thread, on
   *     average over the last minute
   */
  public record Use(
      double callsPerMinute, long steadySinceMs, long lastUsedMs, int beats, double queuedMs) {

    /** A use that waited for nothing and, where it is steady, was in every report. */
    public Use(double callsPerMinute, long steadySinceMs, long lastUsedMs) {
      this(callsPerMinute, steadySinceMs, lastUsedMs, steadySinceMs > 0 ? 1_000 : 0, 0);
    }
  }
}
