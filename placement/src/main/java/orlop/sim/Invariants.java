package orlop.sim;

import java.util.List;
import java.util.Map;
import orlop.placement.Action;
import orlop.placement.Attempt;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Memory;
import orlop.placement.MeshView;

/** The promises that hold after every event, checked against the simulation's own book-keeping. */
final class Invariants {
  private final Options options;
  private final Timeline timeline;

  Invariants(Options options, Timeline timeline) {
    this.options = options;
    this.timeline = timeline;
  }

  Violation broken(String what) {
    return new Violation(what, options, (timeline.nowNs() - Timeline.START_NS) / Timeline.MS);
  }

  void check(boolean holds, String format, Object... args) {
    if (!holds) {
      throw broken(format.formatted(args));
    }
  }

  /** After a pod carried out what its cache said. */
  void afterStep(SimPod pod, List<Action> actions) {
    Ledger ledger = pod.ledger();
    Memory used = ledger.used();
    check(
        pod.cache().used().equals(used),
        "pod %s counts %s used, its models take %s",
        pod.id(),
        pod.cache().used(),
        used);
    Memory kept = ledger.kept();
    check(
        kept.fitsIn(pod.capacity().plus(ledger.stuck())),
        "pod %s keeps %s of %s",
        pod.id(),
        kept,
        pod.capacity());
    check(
        used.fitsIn(pod.capacity().plus(ledger.surprise())),
        "pod %s took %s of %s, of which %s came as a surprise",
        pod.id(),
        used,
        pod.capacity(),
        ledger.surprise());
    checkChurn(pod, actions);
  }

  /** A load starts only into memory that is free. */
  void loadStarts(SimPod pod, String modelId) {
    Ledger ledger = pod.ledger();
    check(!ledger.holds(modelId), "pod %s loads %s twice", pod.id(), modelId);
    check(!pod.draining(), "pod %s drains and loads %s", pod.id(), modelId);
  }

  void unloadStarts(SimPod pod, String modelId, int pins) {
    check(pins == 0, "pod %s unloads %s under %d calls", pod.id(), modelId, pins);
  }

  /**
   * What leaves to make room is less than what waits plus one model: after the step, less than that
   * will be free.
   */
  private void checkChurn(SimPod pod, List<Action> actions) {
    Ledger ledger = pod.ledger();
    long largest = 0;
    for (Action action : actions) {
      if (action instanceof Action.Unload(String id) && ledger.evictedForRoom(id)) {
        largest = Math.max(largest, ledger.bytes(id));
      }
    }
    if (largest == 0 || pod.capacity().vramBytes() > 0) {
      return;
    }
    long willBeFree = pod.capacity().minus(ledger.kept()).ramBytes();
    check(
        willBeFree < pod.waitingBytes() + largest,
        "pod %s makes %d bytes free while %d wait and the largest that left has %d",
        pod.id(),
        willBeFree,
        pod.waitingBytes(),
        largest);
  }

  void attempt(SimCall call) {
    check(
        call.tried().size() <= Attempt.MAX_TRIED && call.attempts() <= Attempt.MAX_TRIED + 1,
        "call %d tried %d pods in %d attempts",
        call.number(),
        call.tried().size(),
        call.attempts());
  }

  void leases(SimRegistry registry) {
    MeshView view = registry.flush(timeline.nowNs());
    for (String podId : registry.endedLeases()) {
      check(
          view.pod(podId) == null && view.copiesIn(podId).isEmpty(),
          "pod %s has no lease but keys",
          podId);
    }
    view.pods().forEach(pod -> check(registry.leased(pod.id()), "pod %s has no lease", pod.id()));
  }

  /** After the time to settle: nothing on its way, and the registry tells the truth. */
  void settled(SimPod pod, MeshView view) {
    check(view.pod(pod.id()) != null, "pod %s is not registered", pod.id());
    check(
        pod.cache().used().fitsIn(pod.capacity()),
        "pod %s still takes %s of %s",
        pod.id(),
        pod.cache().used(),
        pod.capacity());
    Map<String, CopyState> states = pod.cache().states();
    states.forEach(
        (id, state) -> {
          check(
              !(state instanceof CopyState.Loading) && !(state instanceof CopyState.Unloading),
              "pod %s has %s in state %s for ever",
              pod.id(),
              id,
              state);
          Copy copy = view.copy(pod.id(), id);
          check(
              copy != null && copy.state().equals(state),
              "pod %s holds %s as %s, the registry says %s",
              pod.id(),
              id,
              state,
              String.valueOf(copy));
        });
    check(
        view.copiesIn(pod.id()).size() == states.size(),
        "pod %s holds %d models, the registry says %d",
        pod.id(),
        states.size(),
        view.copiesIn(pod.id()).size());
  }
}
