package orlop.sim;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import orlop.placement.Action;

/** The calls in one pod: those that wait for a load, are handed over to their model, or run. */
final class SimVisits {
  private record Visit(SimCall call, Reply.Listener listener) {}

  private final Simulation sim;
  private final SimPod pod;
  private final Map<String, List<Visit>> waiting = new HashMap<>();
  private final Map<String, Long> waitingSinceNs = new HashMap<>();
  private final Set<Visit> handedOver = new LinkedHashSet<>();
  private final Set<Visit> running = new LinkedHashSet<>();

  SimVisits(Simulation sim, SimPod pod) {
    this.sim = sim;
    this.pod = pod;
  }

  boolean none() {
    return running.isEmpty() && waiting.isEmpty() && handedOver.isEmpty();
  }

  /** The call waits until the model is {@linkplain #answered answered} for. */
  void queue(SimCall call, String modelId, Reply.Listener listener) {
    call.waits();
    waiting.computeIfAbsent(modelId, id -> new ArrayList<>()).add(new Visit(call, listener));
    waitingSinceNs.putIfAbsent(modelId, sim.timeline().nowNs());
  }

  /** The call runs at once on a model that is callable. */
  void run(SimCall call, String modelId, Reply.Listener listener) {
    run(new Visit(call, listener), modelId);
  }

  private void run(Visit visit, String modelId) {
    Ledger.Holding holding = pod.ledger().get(modelId);
    if (holding == null) {
      throw sim.invariants().broken("pod %s runs a call on absent %s", pod.id(), modelId);
    }
    holding.pins++;
    holding.used(sim.timeline().nowNs(), !visit.call.batch());
    running.add(visit);
    sim.timeline()
        .after(
            sim.serviceNs(),
            () -> {
              if (running.remove(visit)) {
                holding.pins--;
                holding.lastUsedNs = sim.timeline().nowNs();
                visit.listener.ended(Reply.SERVED);
              }
            });
  }

  /** What the cache answers to all that wait for the model. */
  void answered(String modelId, Action.Outcome outcome) {
    List<Visit> visits = waiting.remove(modelId);
    waitingSinceNs.remove(modelId);
    if (visits == null) {
      return;
    }
    for (Visit visit : visits) {
      if (outcome instanceof Action.Outcome.Ready) {
        handOver(visit, modelId);
      } else {
        visit.listener.ended(Reply.REFUSED);
      }
    }
  }

  private void handOver(Visit visit, String modelId) {
    handedOver.add(visit);
    sim.timeline()
        .after(
            sim.handOverNs(),
            () -> {
              if (handedOver.remove(visit)) {
                sim.invariants().promised(pod, modelId);
                run(visit, modelId);
              }
            });
  }

  /** Checks that no call waits for longer than this. */
  void checkWaits(long mostNs) {
    long nowNs = sim.timeline().nowNs();
    waitingSinceNs.forEach(
        (id, sinceNs) -> sim.invariants().waitEnds(pod, id, nowNs - sinceNs, mostNs));
  }

  /** The pod died under all of them. */
  void lose() {
    List<Visit> lost = new ArrayList<>(running);
    lost.addAll(handedOver);
    waiting.keySet().stream()
        .sorted()
        .forEach(id -> lost.addAll(waiting.getOrDefault(id, List.of())));
    running.clear();
    handedOver.clear();
    waiting.clear();
    lost.forEach(visit -> visit.listener.ended(Reply.LOST));
  }
}
