package orlop.placement;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * Which models have no pod to go to at all, whatever happens to be loaded: no pod that stays
 * carries their labels, or none is large enough, or all that do hold them. A look at all pods for
 * each distinct set of labels, then O(copies of the model). One view's; not thread-safe.
 */
final class Reach {
  /**
   * The pods that carry some labels.
   *
   * @param plain the largest capacity without accelerator
   * @param accelerated the largest with one, each kind of memory by itself
   */
  private record Carriers(int count, Memory plain, Memory accelerated) {}

  private final MeshView view;
  private final Map<Set<String>, Carriers> carriers = new HashMap<>();

  Reach(MeshView view) {
    this.view = view;
  }

  /** Why no pod can load a further copy; null, which is no promise, when one might. */
  @Nullable String whyHopeless(Model model, CopyCount count) {
    Set<String> required = view.required(model);
    Carriers pods = carriers.computeIfAbsent(required, this::carriers);
    if (count.live() >= pods.count) {
      return "%d pods carry the required labels %s, %d copies stand"
          .formatted(pods.count, new TreeSet<>(required), count.live());
    }
    ExpectedSize size = ExpectedSize.of(view, model);
    if (size.plain().fitsIn(pods.plain) || size.accelerated().fitsIn(pods.accelerated)) {
      return null;
    }
    return "needs %s, or %s with an accelerator, the largest pods have %s and %s"
        .formatted(size.plain(), size.accelerated(), pods.plain, pods.accelerated);
  }

  private Carriers carriers(Set<String> labels) {
    int count = 0;
    Memory plain = Memory.NONE;
    Memory accelerated = Memory.NONE;
    for (Pod pod : view.pods()) {
      if (pod.draining() || !pod.labels().containsAll(labels)) {
        continue;
      }
      count++;
      if (pod.accelerated()) {
        accelerated = accelerated.max(pod.capacity());
      } else {
        plain = plain.max(pod.capacity());
      }
    }
    return new Carriers(count, plain, accelerated);
  }
}
