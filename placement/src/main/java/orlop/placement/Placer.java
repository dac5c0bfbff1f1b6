package orlop.placement;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Chooses the pod that shall load a further copy of a model: the one where it can be served
 * soonest, at the least cost to what is there.
 *
 * <p><b>Constraints</b>: not draining; not tried by this call; carries the required labels; the
 * model fits its capacity; no copy of it loading or loaded there; no failed load there whose pause
 * is not over, and no retry of one while another pauses, so a broken model costs the mesh one try
 * for each pause. A model that lately failed in {@link #MAX_FAILED} pods, or that one pod found to
 * be at fault itself, is tried in no other.
 *
 * <p><b>Cost</b> ({@link Estimate}), after failures there before: the seconds that are queued, the
 * pull unless the files are on that pod's disk, the load, the worth of what must leave; and what
 * wishes are worth in seconds: a zone with fewer copies, the preferred labels, the newest software
 * while two versions run.
 *
 * <p><b>Algorithm</b>: one scan; of the pods that may load it, those without a failure, with the
 * preferred labels and in the zones with fewest copies first, the 16 with the highest rendezvous
 * weight for (model, pod) are compared; to these come the few where the model may be on the disk.
 * The cost is a coarse class; the lowest wins and the weight decides within it. So pods with equal
 * views choose the same one, views that differ a little mostly agree, and a stale view does not
 * send everything to the one pod that looks best: of what is missed in a moment, a pod gets at most
 * 16 shares of the number of pods. What the asking pod knows beside the view ({@link Hints})
 * corrects what is compared.
 *
 * <p>Pure and thread-safe. O(pods + copies of the model). Sources: of the cost, Fu et al.,
 * "ServerlessLLM", OSDI 2024; of the bounded comparison, Mitzenmacher, "The power of two choices in
 * randomized load balancing", 2001.
 */
public final class Placer {
  /** Most pods in which a model may have failed lately before it is tried nowhere else. */
  public static final int MAX_FAILED = 3;

  /**
   * Pods that are compared for one model. Fewer, and free memory elsewhere goes unused; more, and
   * what all pods miss before they see each other's choices goes to the one pod that looks best.
   */
  private static final int CHOICES = 16;

  /** Copies that are explained at most. */
  private static final int MAX_LINES = 100;

  /** Pods remembered to have the model's files. */
  private static final int DISKS = 2;

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
    if (broken(view, model, nowMs)) {
      return loadFailed(view, model, nowMs);
    }
    Question question = new Question(view, model, nowMs);
    int[] ruledOut = new int[Obstacle.values().length];
    Versions versions = new Versions();
    Shortlist shortlist = new Shortlist(model.id(), CHOICES);
    int allowed = 0;
    for (Pod pod : view.pods()) {
      Obstacle obstacle = obstacle(question, pod, attempt);
      if (obstacle == null) {
        shortlist.offer(pod, aversion(question, pod));
        versions.saw(pod);
        allowed++;
      } else {
        ruledOut[obstacle.ordinal()]++;
      }
    }
    if (allowed > 0) {
      question.newest(versions.newest());
      return chosen(question, compared(question, shortlist, attempt), allowed, attempt);
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
  @Nullable Obstacle obstacle(MeshView view, Model model, Pod pod, Attempt attempt) {
    return obstacle(new Question(view, model, attempt.nowMs()), pod, attempt);
  }

  /**
   * Why each copy stands where it does: what the pod would offer the model if the copy were not
   * there, and where among the others that puts it. One line for each copy, then one for the next.
   */
  public List<String> explain(MeshView view, Model model, Attempt attempt) {
    List<String> lines = new ArrayList<>();
    for (Copy copy : view.copies(model.id())) {
      if (lines.size() < MAX_LINES) {
        lines.add(explain(view, model, copy, attempt));
      }
    }
    Collections.sort(lines);
    lines.add(
        switch (place(view, model, attempt)) {
          case Placement.Chosen(Pod pod, String why) -> "next: pod " + pod.id() + ", " + why;
          case Placement.NoRoom(Route.Cause _, String why) -> "next: nowhere, " + why;
        });
    return lines;
  }

  private String explain(MeshView view, Model model, Copy copy, Attempt attempt) {
    Delta without = new Delta.CopyRemoved(copy.podId(), copy.modelId());
    MeshView before = view.with(List.of(without), view.revision());
    String state = "pod " + copy.podId() + ": " + copy.words(attempt.nowMs());
    Pod pod = before.pod(copy.podId());
    if (pod == null) {
      return state + "; the pod is not known any more";
    }
    Question question = new Question(before, model, attempt.nowMs());
    Obstacle obstacle = obstacle(question, pod, attempt);
    if (obstacle != null) {
      return state + "; would not be chosen again: " + obstacle.words;
    }
    question.likely(before.pods());
    Placement now = place(before, model, attempt);
    boolean again =
        now instanceof Placement.Chosen(Pod best, String _) && best.id().equals(pod.id());
    return "%s; %s: %s"
        .formatted(
            state,
            again ? "would be chosen again" : "another pod would be chosen now; here it takes",
            question.estimate(pod, true, question.worth(pod, true)).words(attempt.nowMs()));
  }

  private static @Nullable Obstacle obstacle(Question question, Pod pod, Attempt attempt) {
    Copy copy = question.copy(pod);
    if (copy != null
        && copy.state() instanceof CopyState.FailedToLoad(Fault _, String _, long retryAtMs)
        && (question.nowMs < retryAtMs || question.pauses)) {
      return Obstacle.FAILED;
    }
    if (attempt.tried().contains(pod.id())) {
      return Obstacle.TRIED;
    }
    if (pod.draining() || attempt.hints().drains(pod, question.nowMs)) {
      return Obstacle.DRAINING;
    }
    if (!pod.labels().containsAll(question.required)) {
      return Obstacle.LABELS;
    }
    if (!question.size.in(pod).fitsIn(pod.capacity())) {
      return Obstacle.TOO_SMALL;
    }
    return copy != null && (copy.isLoaded() || copy.isLoading()) ? Obstacle.HOLDS : null;
  }

  /** What keeps a pod off the shortlist while others are there. */
  private static int aversion(Question question, Pod pod) {
    return (question.failedBefore(pod) ? 1 << 24 : 0)
        + (Math.min(255, question.missingLabels(pod)) << 16)
        + Math.min(0xffff, question.copiesInZone(pod));
  }

  /** The shortlist, then the pods where the files may lie, all as they should be by now. */
  private static List<Pod> compared(Question question, Shortlist shortlist, Attempt attempt) {
    List<Pod> pods = new ArrayList<>(CHOICES + DISKS + 1);
    for (int i = 0; i < shortlist.size(); i++) {
      pods.add(byNow(shortlist.pod(i), attempt));
    }
    for (MeshView.Gone last : question.view.lastIn(question.model.id())) {
      also(question, last.podId(), pods, attempt);
    }
    if (attempt.balanced()) {
      also(question, attempt.selfPodId(), pods, attempt);
    }
    return pods;
  }

  private static void also(Question question, String podId, List<Pod> pods, Attempt attempt) {
    Pod pod = question.view.pod(podId);
    if (pod == null || obstacle(question, pod, attempt) != null) {
      return;
    }
    for (Pod other : pods) {
      if (other.id().equals(podId)) {
        return;
      }
    }
    pods.add(byNow(pod, attempt));
  }

  static Pod byNow(Pod pod, Attempt attempt) {
    Pod seen = attempt.hints().seen(pod, attempt.nowMs());
    Outlook aged = seen.outlook().at(attempt.nowMs());
    return aged == seen.outlook() ? seen : seen.withOutlook(aged);
  }

  private static Placement chosen(Question question, List<Pod> pods, int allowed, Attempt attempt) {
    boolean byAge = pods.stream().anyMatch(pod -> pod.outlook().evictionCost() <= 0);
    question.likely(pods);
    double usual = usualWorth(question, pods, byAge);
    List<Estimate> estimates = new ArrayList<>(pods.size());
    int fewestInZone = Integer.MAX_VALUE;
    for (Pod pod : pods) {
      Estimate estimate = question.estimate(pod, byAge, usual);
      estimates.add(estimate);
      fewestInZone = Math.min(fewestInZone, estimate.zoneCopies());
    }
    Estimate best = estimates.getFirst();
    Estimate self = null;
    Estimate sent = null;
    for (Estimate estimate : estimates) {
      if (attempt.hints().sentLately(estimate.pod(), question.model.id(), question.nowMs)) {
        sent = estimate;
      }
      if (estimate.score(fewestInZone) < best.score(fewestInZone)) {
        best = estimate;
      }
      if (estimate.pod().id().equals(attempt.selfPodId())) {
        self = estimate;
      }
    }
    String how = "best";
    if (attempt.balanced() && self != null && bearable(self, best)) {
      best = self;
      how = "its caller's pod";
    }
    if (sent != null) {
      best = sent;
      how = "asked to load it a moment ago,";
    }
    String why =
        "%s; %s of %d compared, %d of %d pods may load it"
            .formatted(
                best.words(question.nowMs), how, pods.size(), allowed, question.view.pods().size());
    Pod pod = question.view.pod(best.pod().id());
    return new Placement.Chosen(pod == null ? best.pod() : pod, why);
  }

  /** A balanced caller's call stays here unless that is much slower than elsewhere. */
  private static boolean bearable(Estimate self, Estimate best) {
    return self.failed() == best.failed() && self.waitMs() <= 2 * best.waitMs() + 1_000;
  }

  /** In the middle of the pods where something must leave; 0 where there is none. */
  private static double usualWorth(Question question, List<Pod> pods, boolean byAge) {
    double[] worths = new double[pods.size()];
    int count = 0;
    for (Pod pod : pods) {
      if (!question.fits(pod)) {
        worths[count++] = question.worth(pod, byAge);
      }
    }
    Arrays.sort(worths, 0, count);
    return count == 0 ? 0 : worths[count / 2];
  }

  /** Whether its pod may not try again yet. */
  static boolean failedLately(Copy copy, long nowMs) {
    return copy.state() instanceof CopyState.FailedToLoad(Fault _, String _, long retryAtMs)
        && nowMs < retryAtMs;
  }

  /** Whether it is tried nowhere: one pod found the model itself at fault, or several failed. */
  private static boolean broken(MeshView view, Model model, long nowMs) {
    return faultLately(view, model.id(), nowMs) == Fault.PERMANENT
        || failedLately(view, model, nowMs) >= MAX_FAILED;
  }

  /**
   * The gravest fault among the loads of the model that failed and pause; null when none does.
   * O(copies of the model).
   */
  public static @Nullable Fault faultLately(MeshView view, String modelId, long nowMs) {
    Fault gravest = null;
    for (Copy copy : view.copies(modelId)) {
      if (copy.state() instanceof CopyState.FailedToLoad(Fault fault, String _, long retryAtMs)
          && nowMs < retryAtMs
          && view.pod(copy.podId()) != null
          && (gravest == null || fault.compareTo(gravest) > 0)) {
        gravest = fault;
      }
    }
    return gravest;
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
      if (copy.state() instanceof CopyState.FailedToLoad(Fault _, String why, long retryAtMs)
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
}
