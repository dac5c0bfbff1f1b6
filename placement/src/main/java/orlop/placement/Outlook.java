package orlop.placement;

import java.util.Map;

/**
 * What a newcomer would meet in a pod, as the pod itself last said: what is queued before it, how
 * fast it is brought and loaded, and what would have to leave. A number that the pod does not know
 * is 0.
 *
 * @param saidMs when the pod said it, its own clock, milliseconds since the epoch
 * @param loaders loads that the pod runs at a time
 * @param queuedMs load time of all that is queued or being loaded, added up
 * @param pullBytesPerS measured from the store to the pod's disk
 * @param loadBytesPerS measured from the disk into memory, by model type
 * @param evictionCost what the next to leave is worth: seconds of load time per second and GB
 * @param diskSinceMs what was last in memory here after this moment is still on the pod's disk; 0
 *     when nothing was purged yet
 */
public record Outlook(
    long saidMs,
    int loaders,
    long queuedMs,
    long pullBytesPerS,
    Map<String, Long> loadBytesPerS,
    double evictionCost,
    long diskSinceMs) {
  /** Most types of which a pod tells its rate. */
  public static final int MAX_TYPES = 16;

  /** Of a pod that said nothing. */
  public static final Outlook UNKNOWN = new Outlook(0, 0, 0, 0, Map.of(), 0, 0);

  private static final long MOST = 1L << 40;

  /** What no pod can mean counts as the nearest that it can. */
  public Outlook {
    saidMs = Math.max(0, saidMs);
    loaders = Math.clamp(loaders, 0, 1 << 16);
    queuedMs = Math.clamp(queuedMs, 0, MOST);
    pullBytesPerS = Math.max(0, pullBytesPerS);
    evictionCost = evictionCost > 0 ? Math.min(evictionCost, MOST) : 0;
    loadBytesPerS = Map.copyOf(loadBytesPerS);
  }

  /** With this much more, or less, queued. */
  Outlook queued(long nowQueuedMs) {
    return new Outlook(
        saidMs,
        loaders,
        Math.max(0, nowQueuedMs),
        pullBytesPerS,
        loadBytesPerS,
        evictionCost,
        diskSinceMs);
  }

  /** As it will be when the loaders have worked on until then; as it is where nobody said when. */
  Outlook at(long nowMs) {
    if (saidMs == 0 || nowMs <= saidMs) {
      return this;
    }
    return queued(queuedMs - (nowMs - saidMs) * Math.max(1, loaders)).saidAt(nowMs);
  }

  Outlook saidAt(long nowSaidMs) {
    return new Outlook(
        nowSaidMs, loaders, queuedMs, pullBytesPerS, loadBytesPerS, evictionCost, diskSinceMs);
  }
}
