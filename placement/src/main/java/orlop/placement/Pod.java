package orlop.placement;

import java.util.Set;

/**
 * What a serving pod last said of itself.
 *
 * @param id unique in the mesh, a new one for each start of the process
 * @param address {@code host:port} of its gRPC front
 * @param zone failure domain, or empty
 * @param labels what models may require or prefer
 * @param capacity memory that models may occupy
 * @param used memory taken by models that are loading, loaded or unloading
 * @param loadsQueued loads started or waiting
 * @param oldestUseMs last use of the model that would leave first, milliseconds since the epoch; 0
 *     when nothing is loaded
 * @param draining takes no new models and no new routes
 * @param startedMs milliseconds since the epoch
 * @param version of the software
 */
public record Pod(
    String id,
    String address,
    String zone,
    Set<String> labels,
    Memory capacity,
    Memory used,
    int loadsQueued,
    long oldestUseMs,
    boolean draining,
    long startedMs,
    String version) {

  public Pod {
    labels = Set.copyOf(labels);
  }

  boolean accelerated() {
    return capacity.vramBytes() > 0;
  }

  public Memory free() {
    return capacity.minus(used);
  }

  /** The pod once it has also begun to load something of this size. */
  Pod alsoLoading(Memory more) {
    return changed(used.plus(more), loadsQueued + 1, draining);
  }

  /** The pod if it took nothing new. */
  Pod closed() {
    return changed(used, loadsQueued, true);
  }

  private Pod changed(Memory nowUsed, int nowQueued, boolean nowDraining) {
    return new Pod(
        id,
        address,
        zone,
        labels,
        capacity,
        nowUsed,
        nowQueued,
        oldestUseMs,
        nowDraining,
        startedMs,
        version);
  }
}
