package orlop.sim;

import java.util.HashSet;
import java.util.Set;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.MeshView;

/** Kills one pod of a mesh under calls, and later starts its successor. */
final class KillTrial {
  private static final long LOAD_NS = 25 * Timeline.SECOND;
  private static final int MODELS = 72;

  private final PlannerMesh mesh;
  private final Callers callers;

  KillTrial(long seed) {
    mesh =
        new PlannerMesh(
            PlannerSetup.of(PlannerTrials.PODS, 16 * PlannerTrials.GB, seed).deadlineMs(90_000));
    callers = new Callers(mesh, MODELS, 16 * PlannerTrials.GB / 12, LOAD_NS, MODELS / 6.0);
  }

  PlannerTrials.Kill run() {
    callers.begin();
    mesh.timeline().runUntil(Timeline.START_NS + PlannerTrials.WARM_NS);
    PlannerPod victim = mesh.live().get(3);
    Set<String> lost = onlyIn(victim);
    int count = lost.size();
    long startNs = mesh.nowNs();
    long[] homeNs = {startNs};
    mesh.watch(
        (pod, id, state) -> {
          if (state instanceof CopyState.Loaded && lost.remove(id)) {
            homeNs[0] = mesh.nowNs();
          }
        });
    long leaseNs = mesh.kill(victim);
    while (!lost.isEmpty() && mesh.nowNs() - startNs < 10 * Timeline.MINUTE) {
      mesh.timeline().runUntil(mesh.nowNs() + Timeline.SECOND);
    }
    long warmNs = successorWarmNs();
    return new PlannerTrials.Kill(
        PlannerTrials.seconds(leaseNs),
        count,
        lost.isEmpty() ? PlannerTrials.seconds(homeNs[0] - startNs) : Double.POSITIVE_INFINITY,
        PlannerTrials.seconds(mesh.setup().leaseMs() * Timeline.MS + LOAD_NS),
        PlannerTrials.seconds(warmNs));
  }

  /** Models called at least once a minute whose one copy is loaded in that pod. */
  private Set<String> onlyIn(PlannerPod pod) {
    MeshView view = mesh.view();
    Set<String> only = new HashSet<>();
    for (String id : callers.calledAtLeast(1)) {
      long loaded = view.copies(id).stream().filter(Copy::isLoaded).count();
      if (loaded == 1 && view.copy(pod.id(), id) != null) {
        only.add(id);
      }
    }
    return only;
  }

  /** Until it holds half of a fair share of all copies, 20 minutes at most. */
  private long successorWarmNs() {
    long startNs = mesh.nowNs();
    PlannerPod successor = mesh.startPod();
    int copies = mesh.live().stream().mapToInt(PlannerPod::loadedModels).sum();
    int enough = copies / PlannerTrials.PODS / 2;
    while (successor.loadedModels() < enough && mesh.nowNs() - startNs < 20 * Timeline.MINUTE) {
      mesh.timeline().runUntil(mesh.nowNs() + Timeline.SECOND);
    }
    return mesh.nowNs() - startNs;
  }
}
