package orlop.placement;

import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Chooses the pod that shall load a further copy of a model.
 *
 * <p><b>Constraints</b>: not draining; not tried by this call; carries the required labels; the
 * model fits its capacity; no copy of it loading or loaded there; no failed load there whose pause
 * is not over. A model that lately failed in {@link #MAX_FAILED} pods is tried in no other.
 *
 * <p><b>Goals</b>, highest first: a pod where it has not failed before; no backlog of loads; free
 * memory over eviction; the preferred labels; spread over zones; few loads queued; if something
 * must leave, what was unused for longest.
 *
 * <p><b>Algorithm</b>: one scan; of the pods that may load it, those without a failure and with the
 * preferred labels first, the 16 with the highest rendezvous weight for (model, pod) are compared;
 * each goal is a coarse class; the best class wins and the weight decides within it. So pods with
 * equal views choose the same one, views that differ a little mostly agree, and a stale view does
 * not send everything to the one pod that looks best: of what is missed in a moment, a pod gets at
 * most 16 shares of the number of pods.
 *
 * <p>Pure and thread-safe. O(pods + copies of the model). Source of the bounded comparison:
 * Mitzenmacher, "The power of two choices in randomized load balancing", 2001.
 */
public final class Placer {
  /** Most pods in which a model may have failed lately before it is tried nowhere else. */
  public static final int MAX_FAILED = 3;

  /**
   * Pods that are compared for one model. Fewer, and free memory elsewhere goes unused; more, and
   * what all pods miss before they see each other's choices goes to the one pod that looks best.
   */
  private static final int CHOICES = 16;

  /** Loads queued from which on a pod is busy. */
  private static final int BACKLOG = 8;

  /** Why a pod may not load a model. */
  enum Obstacle {
    FAILED("load failed"),
    TRIED("tried"),
    DRAINING("draining"),
    LABELS("without the required labels"),
    TOO_SMALL("too small"),
    HOLDS("holding it");

    private final String words;

    Obstacle(String words) {
      this.words = words;
    }
  }

  public Placement place(MeshView view, Model model, Attempt attempt) {
    long nowMs = attempt.nowMs();
    if (failedLately(view, model, nowMs) >= MAX_FAILED) {
      return loadFailed(view, model, nowMs);
    }
    ExpectedSize size = ExpectedSize.of(view, model);
    int[] ruledOut = new int[Obstacle.values().length];
    Shortlist shortlist = new Shortlist(model.id(), CHOICES);
    for (Pod pod : view.pods()) {
      Obstacle obstacle = obstacle(view, model, size, pod, attempt.tried(), nowMs);
      if (obstacle == null) {
        shortlist.offer(pod, aversion(view, model, pod));
      } else {
        ruledOut[obstacle.ordinal()]++;
      }
    }
    Pod best = best(view, model, size, shortlist, nowMs);
    if (best != null) {
      return new Placement.Chosen(best, whyChosen(view, model, size, best, nowMs));
    }
    return ruledOut[Obstacle.FAILED.ordinal()] > 0
        ? loadFailed(view, model, nowMs)
        : new Placement.NoRoom(Route.Cause.NO_ROOM, whyNone(view, model, ruledOut));
  }

  /**
   * Memory that the model is expected to take in the pod: the most that it takes where it is loaded
   * in a pod of the same kind, else the hint, counted as VRAM where there is an accelerator; {@link
   * Memory#NONE} when nobody knows. O(copies of the model).
   */
  public static Memory expectedSize(MeshView view, Model model, Pod pod) {
    return ExpectedSize.of(view, model).in(pod);
  }

  /** What keeps the pod from loading the model now; null when nothing does. */
  @Nullable Obstacle obstacle(MeshView view, Model model, Pod pod, Set<String> tried, long nowMs) {
    return obstacle(view, model, ExpectedSize.of(view, model), pod, tried, nowMs);
  }

  private static @Nullable Obstacle obstacle(
      MeshView view, Model model, ExpectedSize size, Pod pod, Set<String> tried, long nowMs) {
    Copy copy = copy(view, model, pod);
    if (copy != null && failedLately(copy, nowMs)) {
      return Obstacle.FAILED;
    }
    if (tried.contains(pod.id())) {
      return Obstacle.TRIED;
    }
    if (pod.draining()) {
      return Obstacle.DRAINING;
    }
    if (!pod.labels().containsAll(model.requiredLabels())) {
      return Obstacle.LABELS;
    }
    if (!size.in(pod).fitsIn(pod.capacity())) {
      return Obstacle.TOO_SMALL;
    }
    return copy != null && (copy.isLoaded() || copy.isLoading()) ? Obstacle.HOLDS : null;
  }

  private static @Nullable Pod best(
      MeshView view, Model model, ExpectedSize size, Shortlist shortlist, long nowMs) {
    Pod best = null;
    long bestScore = Long.MAX_VALUE;
    for (int i = 0; i < shortlist.size(); i++) {
      long score = score(view, model, size, shortlist.pod(i), nowMs);
      if (score < bestScore) {
        best = shortlist.pod(i);
        bestScore = score;
      }
    }
    return best;
  }

  /** What keeps a pod off the shortlist while others are there. */
  private static int aversion(MeshView view, Model model, Pod pod) {
    return (failedBefore(view, model, pod) ? 1_000 : 0) + missingLabels(model, pod);
  }

  /** The goals' classes, the highest goal in the highest bits; the lowest score is the best. */
  private static long score(MeshView view, Model model, ExpectedSize size, Pod pod, long nowMs) {
    long score = failedBefore(view, model, pod) ? 1 : 0;
    long room = roomClass(view, model, size.assumedIn(pod), pod);
    score = score << 6 | backlogClass(pod);
    score = score << 2 | room;
    score = score << 8 | Math.min(255, missingLabels(model, pod));
    score = score << 8 | Math.min(255, copiesInZone(view, model, pod));
    score = score << 6 | queueClass(pod);
    return score << 6 | (room < 2 ? 0 : youthClass(pod, nowMs));
  }

  /** Most models that are to be placed have no copy anywhere. */
  private static @Nullable Copy copy(MeshView view, Model model, Pod pod) {
    return view.copies(model.id()).isEmpty() ? null : view.copy(pod.id(), model.id());
  }

  private static boolean failedBefore(MeshView view, Model model, Pod pod) {
    Copy copy = copy(view, model, pod);
    return copy != null && copy.state() instanceof CopyState.FailedToLoad;
  }

  /**
   * 0: a quarter of the pod stays free; 1: it just fits; 2: something must leave; 3: the last copy
   * must leave first.
   */
  private static int roomClass(MeshView view, Model model, Memory size, Pod pod) {
    Copy copy = copy(view, model, pod);
    if (copy != null && copy.state() instanceof CopyState.Unloading) {
      return 3;
    }
    Memory capacity = pod.capacity();
    Memory reserve = new Memory(capacity.ramBytes() / 4, capacity.vramBytes() / 4);
    if (size.plus(reserve).fitsIn(pod.free())) {
      return 0;
    }
    return size.fitsIn(pod.free()) ? 1 : 2;
  }

  private static int missingLabels(Model model, Pod pod) {
    int missing = 0;
    for (String label : model.preferredLabels()) {
      if (!pod.labels().contains(label)) {
        missing++;
      }
    }
    return missing;
  }

  private static int copiesInZone(MeshView view, Model model, Pod pod) {
    int count = 0;
    for (Copy copy : view.copies(model.id())) {
      if (copy.isLoaded() || copy.isLoading()) {
        Pod other = view.pod(copy.podId());
        if (other != null && other.zone().equals(pod.zone())) {
          count++;
        }
      }
    }
    return count;
  }

  /**
   * 0: fewer than {@link #BACKLOG} loads queued; then doubling. Above free memory, because a pod
   * that alone has some would otherwise be sent every load of the mesh.
   */
  private static int backlogClass(Pod pod) {
    return 31 - Integer.numberOfLeadingZeros(Math.max(1, pod.loadsQueued() / (BACKLOG / 2)));
  }

  /** 0: none or one; then doubling. */
  private static int queueClass(Pod pod) {
    return 31 - Integer.numberOfLeadingZeros(Math.max(1, pod.loadsQueued()));
  }

  /** 63 less the doublings of the age in seconds: the older what would leave, the lower. */
  private static int youthClass(Pod pod, long nowMs) {
    if (pod.oldestUseMs() == 0) {
      return 63;
    }
    long ageS = Math.max(0, nowMs - pod.oldestUseMs()) / 1000;
    return 63 - (64 - Long.numberOfLeadingZeros(ageS));
  }

  private static boolean failedLately(Copy copy, long nowMs) {
    return copy.state() instanceof CopyState.FailedToLoad(String _, long retryAtMs)
        && nowMs < retryAtMs;
  }

  /** Pods that may not try again yet. */
  private static int failedLately(MeshView view, Model model, long nowMs) {
    int count = 0;
    for (Copy copy : view.copies(model.id())) {
      if (failedLately(copy, nowMs) && view.pod(copy.podId()) != null) {
        count++;
      }
    }
    return count;
  }

  private static Placement loadFailed(MeshView view, Model model, long nowMs) {
    String reason = "";
    String podId = "";
    for (Copy copy : view.copies(model.id())) {
      if (copy.state() instanceof CopyState.FailedToLoad(String why, long retryAtMs)
          && nowMs < retryAtMs
          && view.pod(copy.podId()) != null) {
        if (podId.isEmpty() || copy.podId().compareTo(podId) < 0) {
          podId = copy.podId();
          reason = why;
        }
      }
    }
    return new Placement.NoRoom(
        Route.Cause.LOAD_FAILED,
        "loading failed in %d pod(s), in %s: %s"
            .formatted(failedLately(view, model, nowMs), podId, reason));
  }

  private static String whyNone(MeshView view, Model model, int[] ruledOut) {
    StringBuilder why = new StringBuilder();
    why.append(view.pods().size()).append(" pods for model ").append(model.id());
    String separator = ": ";
    for (Obstacle obstacle : Obstacle.values()) {
      if (ruledOut[obstacle.ordinal()] > 0) {
        why.append(separator).append(ruledOut[obstacle.ordinal()]).append(' ');
        why.append(obstacle.words);
        separator = ", ";
      }
    }
    return why.toString();
  }

  private static String whyChosen(
      MeshView view, Model model, ExpectedSize size, Pod pod, long nowMs) {
    return "needs %s, free %s of %s; zone '%s' holds %d; %d loads queued; oldest use %d s ago"
        .formatted(
            words(size.assumedIn(pod)),
            words(pod.free()),
            words(pod.capacity()),
            pod.zone(),
            copiesInZone(view, model, pod),
            pod.loadsQueued(),
            pod.oldestUseMs() == 0 ? 0 : Math.max(0, nowMs - pod.oldestUseMs()) / 1000);
  }

  private static String words(Memory memory) {
    return memory.vramBytes() == 0
        ? memory.ramBytes() + " B"
        : memory.ramBytes() + " B + " + memory.vramBytes() + " B VRAM";
  }
}
