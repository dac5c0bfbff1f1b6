package orlop.pod;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Delta;
import orlop.placement.MeshView;

/**
 * Pods that could not be reached a moment ago. Until the registry drops a dead pod, which takes as
 * long as its lease, routing reads a view from which the suspects are taken out.
 *
 * <p>A suspicion ends by itself, so that a pod that only restarted its network is used again; one
 * call pays for the check, and retries elsewhere. Thread-safe. O(1) while nobody is suspected.
 */
final class Suspects {
  private final long suspectMs;
  private final LongSupplier nowMs;
  private final Map<String, Long> untilMs = new ConcurrentHashMap<>();
  private volatile @Nullable Thinned last;

  /** The view without the pods, and for what it was made. */
  private record Thinned(MeshView base, List<String> without, MeshView view) {}

  Suspects(long suspectMs, LongSupplier nowMs) {
    this.suspectMs = suspectMs;
    this.nowMs = nowMs;
  }

  void suspect(String podId) {
    untilMs.put(podId, nowMs.getAsLong() + suspectMs);
  }

  boolean suspected(String podId) {
    Long until = untilMs.get(podId);
    return until != null && nowMs.getAsLong() < until;
  }

  /** The view as it would be without the suspects. */
  MeshView without(MeshView view) {
    if (untilMs.isEmpty()) {
      return view;
    }
    long now = nowMs.getAsLong();
    untilMs.values().removeIf(until -> until <= now);
    List<String> gone = untilMs.keySet().stream().filter(id -> view.pod(id) != null).toList();
    if (gone.isEmpty()) {
      return view;
    }
    Thinned known = last;
    if (known != null && known.base == view && known.without.equals(gone)) {
      return known.view;
    }
    List<Delta> removals = new ArrayList<>();
    for (String podId : gone) {
      removals.add(new Delta.PodRemoved(podId));
    }
    Thinned made = new Thinned(view, gone, view.with(removals, view.revision()));
    last = made;
    return made.view;
  }
}
