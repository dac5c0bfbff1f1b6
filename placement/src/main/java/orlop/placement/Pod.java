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
 * @param outlook what a newcomer would meet here
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
    String version,
    Outlook outlook) {

  public Pod {
    labels = Set.copyOf(labels);
  }

  /** A pod that says nothing of its outlook. */
  public Pod(
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
    this(
        id,
        address,
        zone,
        labels,
        capacity,
        used,
        loadsQueued,
        oldestUseMs,
        draining,
        startedMs,
        version,
        Outlook.UNKNOWN);
  }

  boolean accelerated() {
    return capacity.vramBytes() > 0;
  }

  public Memory free() {
    return capacity.minus(used);
  }

  /** The pod with another outlook. */
  public Pod withOutlook(Outlook now) {
    return changed(used, loadsQueued, draining, now);
  }

  /** The pod once it has also begun to load something of this size, taking the usual time. */
  Pod alsoLoading(Memory more) {
    long bytes = more.ramBytes() + more.vramBytes();
    return alsoLoading(
        more, LoadTimes.pullMs(bytes, outlook.pullBytesPerS()) + LoadTimes.loadMs(bytes, 0));
  }

  /** The pod once it has also begun to load something of this size, taking so long. */
  Pod alsoLoading(Memory more, long loadMs) {
    return changed(
        used.plus(more), loadsQueued + 1, draining, outlook.queued(outlook.queuedMs() + loadMs));
  }

  /** The pod if it took nothing new. */
  Pod closed() {
    return changed(used, loadsQueued, true, outlook);
  }

  /** The pod as its answer tells. */
  Pod telling(Hints.Heard heard) {
    return changed(
        heard.used(),
        heard.loadsQueued(),
        draining || heard.draining(),
        outlook.queued(heard.queuedMs()).saidAt(heard.atMs()));
  }

  private Pod changed(Memory nowUsed, int nowQueued, boolean nowDraining, Outlook nowOutlook) {
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
        version,
        nowOutlook);
  }
}
