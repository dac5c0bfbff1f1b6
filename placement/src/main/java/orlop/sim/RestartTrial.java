package orlop.sim;

import java.util.ArrayList;
import java.util.List;

/** Restarts the pods of a mesh under calls, one after the other. */
final class RestartTrial {
  private static final long LOAD_NS = 25 * Timeline.SECOND;
  private static final int MODELS_PER_POD = 14;

  private final int fillPercent;
  private final int models;
  private final PlannerMesh mesh;
  private long slowestNs;
  private long overNs;

  RestartTrial(int fillPercent, long seed) {
    this.fillPercent = fillPercent;
    this.models = MODELS_PER_POD * (PlannerTrials.PODS - 1) * fillPercent / 100;
    this.mesh = new PlannerMesh(PlannerSetup.of(PlannerTrials.PODS, 16 * PlannerTrials.GB, seed));
  }

  PlannerTrials.Drain run() {
    long sizeBytes = 16 * PlannerTrials.GB / MODELS_PER_POD;
    new Callers(mesh, models, sizeBytes, LOAD_NS, models / 5.0).begin();
    mesh.timeline().runUntil(Timeline.START_NS + PlannerTrials.WARM_NS);
    long calls = mesh.counts().calls;
    long failed = mesh.counts().failed;
    mesh.clockwork((id, startNs, tookNs) -> slowestNs = Math.max(slowestNs, tookNs));
    long startNs = mesh.nowNs();
    restart(new ArrayList<>(mesh.live()));
    while (overNs == 0) {
      mesh.timeline().runUntil(mesh.nowNs() + Timeline.MINUTE);
    }
    mesh.timeline().runUntil(mesh.nowNs() + 2 * Timeline.MINUTE);
    return new PlannerTrials.Drain(
        fillPercent,
        models,
        mesh.counts().calls - calls,
        mesh.counts().failed - failed,
        (overNs - startNs) / (double) Timeline.MINUTE,
        slowestNs / 1e6);
  }

  private void restart(List<PlannerPod> left) {
    if (left.isEmpty()) {
      overNs = mesh.nowNs();
    } else {
      left.removeFirst()
          .drain(() -> mesh.timeline().after(10 * Timeline.SECOND, () -> succeed(left)));
    }
  }

  private void succeed(List<PlannerPod> left) {
    mesh.startPod();
    mesh.timeline().after(Timeline.SECOND, () -> restart(left));
  }
}
