package orlop.controller;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.HashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.Attempt;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.MeshView;
import orlop.placement.Pod;
import orlop.placement.Route;
import orlop.placement.Router;
import orlop.registry.Registry;

/**
 * Makes sure that a model has a copy somewhere: routes it as a call would be and asks the pod that
 * the router names, at most {@link Attempt#MAX_TRIED} pods. Thread-safe, blocking.
 */
final class Loads {
  /** How long a failure may take to be in the view. */
  private static final long FAILURE_MS = 1_000;

  private final Registry registry;
  private final Router router;
  private final PodCalls pods;

  Loads(Registry registry, Router router, PodCalls pods) {
    this.registry = registry;
    this.router = router;
    this.pods = pods;
  }

  /**
   * @param wait return when the copy is loaded, not when its load is accepted
   * @throws StatusRuntimeException saying why no pod could
   */
  void ensure(String modelId, boolean wait, long lastUsedMs, long nowMs) {
    Set<String> tried = new HashSet<>();
    StatusRuntimeException last = null;
    while (true) {
      MeshView view = registry.view();
      Attempt attempt =
          new Attempt(modelId, "", false, tried, false, modelId.hashCode() + tried.size(), nowMs);
      Pod pod =
          switch (router.route(view, attempt)) {
            case Route.There there -> there.pod();
            case Route.Load load -> load.pod();
            case Route.Here here ->
                throw Status.INTERNAL
                    .withDescription("a controller holds no models, yet the route is here")
                    .asRuntimeException();
            case Route.Reject reject -> throw last == null ? refused(modelId, reject) : last;
          };
      try {
        pods.load(pod, modelId, wait, lastUsedMs);
        return;
      } catch (StatusRuntimeException e) {
        last = e;
        tried.add(pod.id());
        if (e.getStatus().getCode() == Status.Code.FAILED_PRECONDITION) {
          // What the pod found may hold for all: the router knows when the view has it.
          String failedIn = pod.id();
          var unused = Views.await(registry, v -> failed(v.copy(failedIn, modelId)), FAILURE_MS);
        }
      }
    }
  }

  private static boolean failed(@Nullable Copy copy) {
    return copy != null && copy.state() instanceof CopyState.FailedToLoad;
  }

  private static StatusRuntimeException refused(String modelId, Route.Reject reject) {
    Status status =
        switch (reject.cause()) {
          case UNKNOWN_MODEL -> Status.NOT_FOUND;
          case NO_ROOM -> Status.RESOURCE_EXHAUSTED;
          case LOAD_FAILED -> Status.FAILED_PRECONDITION;
          case NOT_HERE, EXHAUSTED -> Status.UNAVAILABLE;
        };
    return status
        .withDescription("model '" + modelId + "': " + reject.detail())
        .asRuntimeException();
  }
}
