package orlop.placement;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Which copies in a pod stand for their model's minimum and may not be evicted: of the loaded
 * copies in pods that stay, as many as the minimum asks for, those with the highest rendezvous
 * weight, so that two pods do not let go because each sees the other's. Copies of pinned models are
 * always kept, others while all that is kept takes at most three quarters of the pod: minima beyond
 * that are wishes, not promises. Pure.
 */
public final class Keeps {
  private static final int MOST_PERCENT = 75;

  private Keeps() {}

  /** The models in the pod whose copy there is kept. O(copies in the pod × copies of those). */
  public static Set<String> of(MeshView view, String podId) {
    Pod pod = view.pod(podId);
    Set<String> kept = new HashSet<>();
    if (pod == null || pod.draining()) {
      return kept;
    }
    List<Copy> soft = new ArrayList<>();
    Memory sum = Memory.NONE;
    for (Copy copy : view.copiesIn(podId)) {
      Model model = view.model(copy.modelId());
      if (model == null || model.floor() == 0 || !amongTheMinimum(view, model, copy)) {
        continue;
      }
      if (model.pinned()) {
        kept.add(model.id());
        sum = sum.plus(size(copy));
      } else {
        soft.add(copy);
      }
    }
    Memory most = percent(pod.capacity());
    soft.sort(Comparator.comparing(Copy::modelId));
    for (Copy copy : soft) {
      Memory with = sum.plus(size(copy));
      if (with.fitsIn(most)) {
        kept.add(copy.modelId());
        sum = with;
      }
    }
    return kept;
  }

  private static boolean amongTheMinimum(MeshView view, Model model, Copy copy) {
    if (!copy.isLoaded()) {
      return false;
    }
    long weight = Rendezvous.weight(model.id(), copy.podId());
    int before = 0;
    for (Copy other : view.copies(model.id())) {
      Pod pod = view.pod(other.podId());
      if (other.isLoaded()
          && pod != null
          && !pod.draining()
          && Rendezvous.weight(model.id(), other.podId()) > weight) {
        before++;
      }
    }
    return before < model.floor();
  }

  /**
   * Loaded copies of the model in other pods that stay: what is in a pod that drains is no reason
   * to let go of what replaces it. O(copies).
   */
  public static int elsewhere(MeshView view, String podId, String modelId) {
    int count = 0;
    for (Copy copy : view.copies(modelId)) {
      Pod pod = view.pod(copy.podId());
      boolean stays = pod != null && !pod.draining() && !copy.podId().equals(podId);
      count += stays && copy.isLoaded() ? 1 : 0;
    }
    return count;
  }

  private static Memory size(Copy copy) {
    return copy.state() instanceof CopyState.Loaded(Memory size, long _) ? size : Memory.NONE;
  }

  private static Memory percent(Memory capacity) {
    return new Memory(
        capacity.ramBytes() / 100 * MOST_PERCENT, capacity.vramBytes() / 100 * MOST_PERCENT);
  }
}
