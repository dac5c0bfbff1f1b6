package orlop.placement;

/**
 * What it would take to serve a model from one pod, in milliseconds. The parts are what an operator
 * is told; {@link #score} is what is compared.
 *
 * @param failed whether it has failed there before
 * @param queueMs until the loads before it are done
 * @param onDisk whether its files probably lie there
 * @param pullMs until its files are there
 * @param loadMs from the disk into memory
 * @param lossMs load time that what leaves for it will cost later
 * @param roomMs until the memory is free, where the last copy must leave first
 * @param zoneCopies copies in the pod's zone
 * @param missingLabels preferred labels that the pod lacks
 * @param older whether newer software runs elsewhere
 */
record Estimate(
    Pod pod,
    boolean failed,
    long queueMs,
    boolean onDisk,
    long pullMs,
    long loadMs,
    long lossMs,
    long roomMs,
    int zoneCopies,
    int missingLabels,
    boolean older) {

  // What a wish is worth in waiting.
  private static final long ZONE_MS = 60_000;
  private static final long LABEL_MS = 20_000;
  private static final long VERSION_MS = 10_000;

  /** Below this, differences do not count: about what a small model takes to load. */
  private static final long GRAIN_MS = 500;

  private static final int MAX_WISHES = 1_000;

  /** Until a call can be served. */
  long waitMs() {
    return queueMs + roomMs + pullMs + loadMs;
  }

  /** Of the loaders' time. */
  long ownMs() {
    return pullMs + loadMs;
  }

  /**
   * The lower the better.
   *
   * @param fewestInZone copies in the zone that has fewest of those compared
   */
  long score(int fewestInZone) {
    long zone = Math.min(MAX_WISHES, zoneCopies - fewestInZone);
    long wishesMs =
        zone * ZONE_MS + Math.min(MAX_WISHES, missingLabels) * LABEL_MS + (older ? VERSION_MS : 0);
    long costMs = Math.min(Long.MAX_VALUE >>> 20, waitMs() + lossMs + wishesMs);
    long score = failed ? 1 : 0;
    score = score << 12 | coarse(costMs);
    score = score << 1 | (lossMs > 0 ? 1 : 0);
    return score << 12 | coarse(backlogMs());
  }

  /** Of a pod that tells what it has queued: its seconds, and half a second for each load. */
  private long backlogMs() {
    Outlook outlook = pod.outlook();
    long loads = outlook.saidMs() == 0 ? 0 : pod.loadsQueued();
    return outlook.queuedMs() / 2 + Math.min(1_000, loads) * GRAIN_MS;
  }

  /** Classes a quarter to an eighth apart, so that views that differ a little mostly agree. */
  private static long coarse(long ms) {
    long x = Math.max(0, ms) + GRAIN_MS;
    int top = 63 - Long.numberOfLeadingZeros(x);
    return (long) top << 2 | x >>> (top - 2) & 3;
  }

  String words(long nowMs) {
    StringBuilder text = new StringBuilder(160);
    text.append(seconds(waitMs())).append(": queue ").append(seconds(queueMs));
    text.append(", pull ").append(onDisk ? "none, on its disk" : seconds(pullMs));
    text.append(", load ").append(seconds(loadMs));
    if (roomMs > 0) {
      text.append(", its last copy leaves first ").append(seconds(roomMs));
    }
    if (lossMs > 0) {
      text.append("; what leaves counts ").append(seconds(lossMs));
      if (pod.oldestUseMs() > 0) {
        text.append(", unused for ").append(Math.max(0, nowMs - pod.oldestUseMs()) / 1000);
        text.append(" s");
      }
    } else {
      text.append("; nothing leaves");
    }
    text.append("; zone '").append(pod.zone()).append("' holds ").append(zoneCopies);
    if (missingLabels > 0) {
      text.append("; lacks ").append(missingLabels).append(" preferred label(s)");
    }
    if (older) {
      text.append("; older software");
    }
    if (failed) {
      text.append("; failed here before");
    }
    return text.toString();
  }

  static String seconds(long ms) {
    return ms / 1000 + "." + ms % 1000 / 100 + " s";
  }
}
