package orlop.placement;

import org.jspecify.annotations.Nullable;

/**
 * Says where one call goes next.
 *
 * <p><b>Goals</b>, highest first: serve here; serve where it is loaded, best in a pod that stays;
 * join a load under way; load it where the {@link Placer} says, which for a balanced caller is here
 * unless that is much slower. Calls spread evenly over equal copies by their salt. A forwarded call
 * that meets a far longer queue than its sender promised it is sent back, for the sender to choose
 * with that knowledge, unless the load of its model stands in that queue.
 *
 * <p><b>Bounds</b>: a forwarded call never travels on, and no call tries more than {@link
 * Attempt#MAX_TRIED} pods. A pod that the view does not know is never a target.
 *
 * <p>Pure and thread-safe. O(copies of the model), O(pods) when it must be loaded.
 */
public final class Router {
  /** A queue longer than the sender expected by less than this is no surprise. */
  private static final long SURPRISE_MS = 2_000;

  private final Placer placer;

  public Router(Placer placer) {
    this.placer = placer;
  }

  public Route route(MeshView view, Attempt attempt) {
    Model model = view.model(attempt.modelId());
    if (model == null) {
      return new Route.Reject(
          Route.Cause.UNKNOWN_MODEL, "no model or alias '" + attempt.modelId() + "'");
    }
    if (attempt.tried().size() >= Attempt.MAX_TRIED) {
      return new Route.Reject(
          Route.Cause.EXHAUSTED,
          "model '%s': %d pods were tried".formatted(model.id(), attempt.tried().size()));
    }
    if (attempt.forwarded()) {
      return routeForwarded(view, model, attempt);
    }
    if (selfUsable(view, attempt) instanceof Copy copy && copy.isLoaded()) {
      return new Route.Here();
    }
    Pod loaded = spread(view, attempt);
    if (loaded != null) {
      return new Route.There(loaded);
    }
    Route join = joinLoad(view, attempt);
    if (join != null) {
      return join;
    }
    return switch (placer.place(view, model, attempt)) {
      case Placement.Chosen(Pod pod, String _) -> new Route.Load(pod);
      case Placement.NoRoom(Route.Cause cause, String why) -> new Route.Reject(cause, why);
    };
  }

  /**
   * What loading it in that pod is expected to take, for whoever sends a call there: the queue is
   * what it promises the call, and all three are what it remembers in its {@link Hints}. O(copies
   * of the model); where the pod has measured nothing, O(pods · log pods).
   */
  public Expected expect(MeshView view, Model model, Pod pod, Attempt attempt) {
    Question question = new Question(view, model, attempt.nowMs());
    if (!question.measured(pod)) {
      question.likely(view.pods());
    }
    Estimate estimate = question.estimate(Placer.byNow(pod, attempt), true, 0);
    return new Expected(estimate.queueMs(), estimate.ownMs(), question.size.assumedIn(pod));
  }

  /**
   * @param queueMs wait for the loads before it
   * @param loadMs pull and load
   * @param size memory
   */
  public record Expected(long queueMs, long loadMs, Memory size) {}

  private Route routeForwarded(MeshView view, Model model, Attempt attempt) {
    Copy copy = selfUsable(view, attempt);
    if (copy != null && (copy.isLoaded() || copy.isLoading())) {
      return new Route.Here();
    }
    Pod self = view.pod(attempt.selfPodId());
    if (self == null) {
      return new Route.Reject(
          Route.Cause.NOT_HERE, "pod '" + attempt.selfPodId() + "' is not in the view");
    }
    Placer.Obstacle obstacle = placer.obstacle(view, model, self, attempt);
    if (obstacle != null) {
      return new Route.Reject(
          Route.Cause.NOT_HERE,
          "model '%s' is not in pod '%s' and it may not load it: %s"
              .formatted(model.id(), self.id(), obstacle));
    }
    if (attempt.hints().sentLately(self, model.id(), attempt.nowMs())) {
      // Its own load stands in that queue, though not in the view yet.
      return new Route.Load(self);
    }
    long queueMs = Question.queueMs(Placer.byNow(self, attempt));
    if (attempt.promisedMs() >= 0 && queueMs > 2 * attempt.promisedMs() + SURPRISE_MS) {
      return new Route.Reject(
          Route.Cause.NOT_HERE,
          "pod '%s' has loads of %s queued, its caller expected %s"
              .formatted(
                  self.id(), Estimate.seconds(queueMs), Estimate.seconds(attempt.promisedMs())));
    }
    return new Route.Load(self);
  }

  private static @Nullable Copy selfUsable(MeshView view, Attempt attempt) {
    return attempt.tried().contains(attempt.selfPodId())
        ? null
        : view.copy(attempt.selfPodId(), attempt.modelId());
  }

  /** The loaded copy for this call in another pod; draining pods only when there is no other. */
  private static @Nullable Pod spread(MeshView view, Attempt attempt) {
    Pod best = null;
    long bestWeight = 0;
    long modelHash = Rendezvous.hash(attempt.modelId());
    for (Copy copy : view.copies(attempt.modelId())) {
      Pod pod = copy.isLoaded() ? target(view, attempt, copy) : null;
      if (pod == null) {
        continue;
      }
      long weight = Rendezvous.weight(modelHash, pod.id(), attempt.salt());
      boolean better =
          best == null
              || (pod.draining() == best.draining() ? weight > bestWeight : best.draining());
      if (better) {
        best = pod;
        bestWeight = weight;
      }
    }
    return best;
  }

  /**
   * The load to join: this pod's own, else the one that was accepted first, which all pods choose
   * alike; draining pods only when there is no other.
   */
  private static @Nullable Route joinLoad(MeshView view, Attempt attempt) {
    if (selfUsable(view, attempt) instanceof Copy own && own.isLoading()) {
      return new Route.Here();
    }
    Pod best = null;
    long bestSinceMs = 0;
    for (Copy copy : view.copies(attempt.modelId())) {
      Pod pod = copy.isLoading() ? target(view, attempt, copy) : null;
      if (pod == null) {
        continue;
      }
      boolean better =
          best == null
              || (pod.draining() == best.draining()
                  ? earlier(copy.sinceMs(), pod, bestSinceMs, best)
                  : best.draining());
      if (better) {
        best = pod;
        bestSinceMs = copy.sinceMs();
      }
    }
    return best == null ? null : new Route.There(best);
  }

  private static boolean earlier(long sinceMs, Pod pod, long bestSinceMs, Pod best) {
    return sinceMs == bestSinceMs ? pod.id().compareTo(best.id()) < 0 : sinceMs < bestSinceMs;
  }

  private static @Nullable Pod target(MeshView view, Attempt attempt, Copy copy) {
    return copy.podId().equals(attempt.selfPodId()) || attempt.tried().contains(copy.podId())
        ? null
        : view.pod(copy.podId());
  }
}
