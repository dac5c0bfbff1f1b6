package orlop.sim;

import java.util.HashSet;
import java.util.Set;

/** One call on its way through the mesh. Mutable; ends exactly once. */
final class SimCall {
  private final long number;
  private final String name;
  private final SimPod ingress;
  private final long startNs;
  private final boolean probe;
  private final Set<String> tried = new HashSet<>();
  private int attempts;
  private int hopsOfAttempt;
  private boolean ended;
  private boolean waited;

  SimCall(long number, String name, SimPod ingress, long startNs, boolean probe) {
    this.number = number;
    this.name = name;
    this.ingress = ingress;
    this.startNs = startNs;
    this.probe = probe;
  }

  long number() {
    return number;
  }

  String name() {
    return name;
  }

  SimPod ingress() {
    return ingress;
  }

  long startNs() {
    return startNs;
  }

  /** Asked by the settling phase, not by the workload. */
  boolean probe() {
    return probe;
  }

  /** Whether nobody waits for it; so one in sixteen, but no probe. */
  boolean batch() {
    return !probe && number % 16 == 3;
  }

  Set<String> tried() {
    return tried;
  }

  int attempts() {
    return attempts;
  }

  void nextAttempt() {
    attempts++;
    hopsOfAttempt = 0;
  }

  int hop() {
    return ++hopsOfAttempt;
  }

  boolean ended() {
    return ended;
  }

  void end() {
    ended = true;
  }

  /** Whether it had to wait for a load. */
  boolean waited() {
    return waited;
  }

  void waits() {
    waited = true;
  }
}
