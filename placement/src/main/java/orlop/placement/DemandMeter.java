package orlop.placement;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * Adds up what the pods report of the calls they ran: rates that decay over a minute, since when a
 * model is called steadily, how long calls queued, how busy the pods are. A model is forgotten some
 * time after its last report, so memory follows the models in use. Not thread-safe; times are
 * milliseconds since the epoch.
 */
public final class DemandMeter {
  private static final long LEAST_MEMORY_MS = 3_600_000;

  /** Averages over about this long. */
  private static final double WINDOW_MS = 60_000;

  private static final long STEADY_GAP_MS = 60_000;

  /** Calls of one model over all pods. */
  private static final class Tally {
    double callsPerMinute;

    /** Waiting of the calls in {@code callsPerMinute}, decaying with them. */
    double waitedMs;

    long updatedMs;
    long steadySinceMs;
    long lastUsedMs;
    int beats;
    long beatMs;

    void decay(long nowMs) {
      double left = Math.exp(-(nowMs - updatedMs) / WINDOW_MS);
      callsPerMinute *= left;
      waitedMs *= left;
      updatedMs = nowMs;
    }
  }

  /** A pod that cannot be reached for so long counts as gone before its lease ends. */
  private static final long SILENT_MS = 3_000;

  /** How busy one pod is. */
  private static final class Busy {
    double share;
    long updatedMs;
  }

  private final long intervalMs;
  private final long memoryMs;
  private final Map<String, Tally> tallies = new HashMap<>();
  private final Map<String, Busy> pods = new HashMap<>();
  private final Map<String, Long> unreachableMs = new HashMap<>();

  /**
   * @param intervalMs between two reports of a pod
   */
  public DemandMeter(long intervalMs) {
    this(intervalMs, LEAST_MEMORY_MS);
  }

  /**
   * @param memoryMs how long after its last report a model is forgotten, an hour at least
   */
  public DemandMeter(long intervalMs, long memoryMs) {
    this.intervalMs = intervalMs;
    this.memoryMs = Math.max(memoryMs, LEAST_MEMORY_MS);
  }

  /**
   * A pod ran calls of a model since its last report.
   *
   * @param waitedMs how long these calls together waited for a compute thread
   */
  public void called(String modelId, long calls, double waitedMs, long lastUsedMs, long nowMs) {
    Tally tally = tallies.computeIfAbsent(modelId, id -> new Tally());
    if (tally.steadySinceMs == 0 || nowMs - tally.updatedMs > STEADY_GAP_MS) {
      tally.steadySinceMs = nowMs;
      tally.beats = 0;
    }
    // Pods report one after the other: what they say within one interval is one beat.
    if (tally.beats == 0 || nowMs - tally.beatMs >= intervalMs) {
      tally.beats++;
      tally.beatMs = nowMs;
    }
    tally.decay(nowMs);
    tally.callsPerMinute += calls * (60_000 / WINDOW_MS);
    tally.waitedMs += waitedMs * (60_000 / WINDOW_MS);
    tally.lastUsedMs = Math.max(tally.lastUsedMs, lastUsedMs);
  }

  /**
   * @param share of the pod's compute threads that are at work, 0 to 1
   */
  public void busy(String podId, double share, long nowMs) {
    Busy pod = pods.computeIfAbsent(podId, id -> new Busy());
    double left = Math.exp(-(nowMs - pod.updatedMs) / WINDOW_MS);
    pod.share = pod.share * left + Math.clamp(share, 0.0, 1.0) * (1 - left);
    pod.updatedMs = nowMs;
    unreachableMs.remove(podId);
  }

  /** A connection to the pod failed, or could not be made; its next report ends that. */
  public void unreachable(String podId, long nowMs) {
    unreachableMs.putIfAbsent(podId, nowMs);
  }

  /**
   * Nobody listens at the pod's address any more; its next report ends that.
   *
   * @return whether that is news: it did not count as gone before
   */
  public boolean gone(String podId, long nowMs) {
    Long before = unreachableMs.put(podId, nowMs - SILENT_MS);
    return before == null || nowMs - before < SILENT_MS;
  }

  /** Whether it counts as gone. */
  public boolean isGone(String podId, long nowMs) {
    return goneMs(podId, nowMs) >= 0;
  }

  /** For how many milliseconds it has counted as gone; negative when it does not. */
  public long goneMs(String podId, long nowMs) {
    Long since = unreachableMs.get(podId);
    return since == null ? -1 : nowMs - since - SILENT_MS;
  }

  /** Forgets which pods could not be reached. */
  public void reachable() {
    unreachableMs.clear();
  }

  /** Forgets pods that the view does not know. */
  public void retain(MeshView view) {
    pods.keySet().removeIf(id -> view.pod(id) == null);
    unreachableMs.keySet().removeIf(id -> view.pod(id) == null);
  }

  /** O(models remembered). */
  public Demand snapshot(long nowMs) {
    Map<String, Demand.Use> uses = new HashMap<>();
    tallies.values().removeIf(tally -> nowMs - tally.updatedMs > memoryMs);
    tallies.forEach(
        (id, tally) -> {
          long idleMs = nowMs - tally.updatedMs;
          double rate = tally.callsPerMinute * Math.exp(-idleMs / WINDOW_MS);
          // Decays with idle time, so that the rate of traffic that ends is not taken for too much.
          double queuedMs =
              tally.waitedMs / Math.max(1e-9, tally.callsPerMinute) * Math.exp(-idleMs / WINDOW_MS);
          boolean steady = idleMs <= STEADY_GAP_MS;
          uses.put(
              id,
              new Demand.Use(
                  rate,
                  steady ? tally.steadySinceMs : 0,
                  tally.lastUsedMs,
                  steady ? tally.beats : 0,
                  queuedMs));
        });
    Map<String, Double> busy = new HashMap<>();
    pods.forEach((id, pod) -> busy.put(id, pod.share));
    Set<String> silent = new HashSet<>();
    for (String id : unreachableMs.keySet()) {
      if (isGone(id, nowMs)) {
        silent.add(id);
      }
    }
    return new Demand(uses, busy, silent);
  }
}
