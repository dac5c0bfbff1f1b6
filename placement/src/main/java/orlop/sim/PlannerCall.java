package orlop.sim;

import java.util.HashSet;
import java.util.Set;

/** One call on its way through a {@link PlannerMesh}. Mutable; ends exactly once. */
final class PlannerCall {
  private final String modelId;
  private final long number;
  private final long startNs;
  private final long serviceNs;
  private final PlannerPod ingress;
  private final Set<String> tried = new HashSet<>();
  private boolean ended;

  PlannerCall(String modelId, long number, long startNs, long serviceNs, PlannerPod ingress) {
    this.modelId = modelId;
    this.number = number;
    this.startNs = startNs;
    this.serviceNs = serviceNs;
    this.ingress = ingress;
  }

  String modelId() {
    return modelId;
  }

  long number() {
    return number;
  }

  long startNs() {
    return startNs;
  }

  /** How long a thread computes for it. */
  long serviceNs() {
    return serviceNs;
  }

  /** The pod that it entered the mesh by. */
  PlannerPod ingress() {
    return ingress;
  }

  /** Pods that did not serve it. */
  Set<String> tried() {
    return tried;
  }

  boolean ended() {
    return ended;
  }

  void end() {
    ended = true;
  }
}
