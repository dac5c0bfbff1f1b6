package orlop.placement;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a pod that goes waits for: the models that it served lately stand in pods that stay. The
 * planner makes them stand there; this only looks. While nothing gets ahead for {@link
 * #PATIENCE_MS} (no leader, no room) the pod gives up. Not thread-safe.
 */
public final class HandOver {
  /** A model unused for longer is nobody's loss. */
  public static final long RECENT_MS = 3_600_000;

  /** Longer than a leader needs to see that the pod goes. */
  static final long PATIENCE_MS = 10_000;

  private final String self;
  private int fewest = Integer.MAX_VALUE;
  private long progressMs;

  /**
   * @param nowMs milliseconds since any moment, as in {@link #over}
   */
  public HandOver(String self, long nowMs) {
    this.self = self;
    this.progressMs = nowMs;
  }

  /** Those of the models that no pod that stays can serve yet. O(models × their copies). */
  public List<String> missing(MeshView view, Collection<String> models) {
    List<String> missing = new ArrayList<>();
    for (String model : models) {
      boolean elsewhere = false;
      for (Copy copy : view.copies(model)) {
        elsewhere |= copy.isLoaded() && stays(view.pod(copy.podId()));
      }
      if (!elsewhere && view.model(model) != null) {
        missing.add(model);
      }
    }
    return missing;
  }

  /** Whether there is nothing left to wait for, or no hope. */
  public boolean over(MeshView view, Collection<String> models, long nowMs) {
    List<String> missing = missing(view, models);
    if (missing.isEmpty() || view.pods().stream().noneMatch(this::stays)) {
      return true;
    }
    if (missing.size() < fewest || underWay(view, missing)) {
      fewest = Math.min(fewest, missing.size());
      progressMs = nowMs;
    }
    return nowMs - progressMs >= PATIENCE_MS;
  }

  private boolean underWay(MeshView view, List<String> missing) {
    for (String model : missing) {
      for (Copy copy : view.copies(model)) {
        if (copy.isLoading() && stays(view.pod(copy.podId()))) {
          return true;
        }
      }
    }
    return false;
  }

  private boolean stays(@Nullable Pod pod) {
    return pod != null && !pod.draining() && !pod.id().equals(self);
  }
}
