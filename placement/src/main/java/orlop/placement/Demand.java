package orlop.placement;

import java.util.Map;

/**
 * How the models are being used: what the planner has heard from the pods.
 *
 * @param uses by model id; a model that is absent was not called since the planner started
 */
public record Demand(Map<String, Use> uses) {
  public static final Demand NONE = new Demand(Map.of());

  public Demand {
    uses = Map.copyOf(uses);
  }

  /**
   * @param callsPerMinute over all pods, averaged over the last minutes
   * @param steadySinceMs since when it has been called in every minute, milliseconds since the
   *     epoch; 0 when it was not
   * @param lastUsedMs milliseconds since the epoch
   */
  public record Use(double callsPerMinute, long steadySinceMs, long lastUsedMs) {}
}
