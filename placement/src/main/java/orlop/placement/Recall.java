package orlop.placement;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What the planner saw and did before: handed in with each step and handed out anew, so that the
 * planner itself stays a function. It holds the view of the last step, which tells a copy that was
 * lost with its pod from one that was evicted, and an entry for each model that lately had several
 * copies, was steady, was lost or queued. Immutable, opaque; losing it costs patience, not safety:
 * what would have been trimmed waits anew.
 */
public final class Recall {
  /** How long it is remembered what a copy of a model bears: longer than a day has tides. */
  static final long LEARNT_MS = 86_400_000L;

  /** A copy that goes within this time of our own trim went because of it. */
  private static final long OWN_DOING_MS = 120_000;

  private final long bornMs;
  private final MeshView before;
  private final Map<String, Past> pasts;

  private Recall(long bornMs, MeshView before, Map<String, Past> pasts) {
    this.bornMs = bornMs;
    this.before = before;
    this.pasts = pasts;
  }

  /**
   * Knows nothing of the time before.
   *
   * @param nowMs milliseconds since the epoch
   */
  public static Recall since(long nowMs) {
    return new Recall(nowMs, MeshView.empty(), Map.of());
  }

  long bornMs() {
    return bornMs;
  }

  /** Models of which something is remembered. */
  int size() {
    return pasts.size();
  }

  /** Whether the model had several loaded copies in the last step. */
  boolean knew(String modelId) {
    return before.copies(modelId).stream().filter(Copy::isLoaded).count() > 1;
  }

  Past past(String modelId) {
    return pasts.getOrDefault(modelId, Past.NONE);
  }

  /** Whether a pod is gone that was there in the last step. O(pods). */
  boolean podsLost(MeshView view) {
    return before.pods().stream().anyMatch(pod -> view.pod(pod.id()) == null);
  }

  /**
   * What happened to the model's loaded copies since the last step: lost with their pod, or evicted
   * from a pod that stays though it was one of several. O(copies); O(1) when none changed.
   *
   * @param podsLost see {@link #podsLost}
   */
  Past news(MeshView view, String modelId, boolean podsLost, long nowMs) {
    Past past = past(modelId);
    List<Copy> was = before.copies(modelId);
    List<Copy> is = view.copies(modelId);
    if (was.isEmpty() || (was == is && !podsLost)) {
      return past;
    }
    for (Copy copy : was) {
      if (!copy.isLoaded()) {
        continue;
      }
      if (view.pod(copy.podId()) == null) {
        if (before.pod(copy.podId()) != null) {
          past = past.lost(nowMs);
        }
        continue;
      }
      Copy now = view.copy(copy.podId(), modelId);
      boolean gone = now == null || now.state() instanceof CopyState.Unloading;
      if (gone && was.size() > 1 && nowMs - past.trimmedMs() > OWN_DOING_MS) {
        past = past.crowdedOut(nowMs);
      }
    }
    return past;
  }

  /**
   * Of one who planned along while another leads: copies that the other let go are not taken for
   * crowded out, nor what the other was to load for tried in vain. O(models remembered).
   */
  public Recall watched() {
    Map<String, Past> kept = new HashMap<>();
    pasts.forEach((id, past) -> kept.put(id, past.watched()));
    return new Recall(bornMs, before, kept);
  }

  /** The recall of the next step. */
  Recall next(MeshView view, Map<String, Past> seen) {
    Map<String, Past> kept = new HashMap<>();
    seen.forEach(
        (id, past) -> {
          if (!past.equals(Past.NONE)) {
            kept.put(id, past);
          }
        });
    return new Recall(bornMs, view, kept);
  }
}
