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

  Violation broken(String format, Object... args) {
    long atMs = (timeline.nowNs() - Timeline.START_NS) / Timeline.MS;
    return new Violation(format, format.formatted(args), options, atMs);
  }

  void check(boolean holds, String format, Object... args) {
    if (!holds) {
      throw broken(format, args);
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
    checkTurns(pod, actions);
    for (Action action : actions) {
      if (action instanceof Action.Publish(String id, CopyState _)) {
        truthful(pod, id);
      }
    }
  }

  /** Each second: what a pod announces is what its runtime holds. */
  void truthful(SimPod pod) {
    pod.link().models().forEach(id -> truthful(pod, id));
    pod.ledger()
        .models()
        .forEach(id -> check(pod.link().announced(id) != null, "pod %s hides %s", pod.id(), id));
  }

  private void truthful(SimPod pod, String modelId) {
    CopyState state = pod.link().announced(modelId);
    Ledger.Holding held = pod.ledger().get(modelId);
    boolean honest =
        switch (state) {
          case null -> held == null;
          case CopyState.Loading() -> held == null || (!held.callable && !held.unloading);
          case CopyState.Loaded(Memory size, long _) ->
              held != null && held.callable && held.size.equals(size);
          case CopyState.FailedToLoad _ -> held == null;
          case CopyState.Unloading() -> held != null && held.unloading;
        };
    check(
        honest,
        "pod %s announces %s as %s, its runtime has %s",
        pod.id(),
        modelId,
        String.valueOf(state),
        held == null ? "nothing" : held.callable ? held.size + " loaded" : "it on its way");
  }

  /**
   * Calls are served in turn: what starts leaves enough for all calls that queued before it, so
   * that small models never starve a large one. In an accelerated pod two kinds of memory are
   * claimed, and the ledger cannot tell for the sake of which a model left; there it is not
   * checked.
   */
  private void checkTurns(SimPod pod, List<Action> actions) {
    if (pod.capacity().vramBytes() == 0) {
      for (Action action : actions) {
        if (action instanceof Action.Load(String id)) {
          long claimed = pod.turns().claimedBefore(id);
          long kept = pod.ledger().kept().ramBytes();
          check(
              claimed == 0 || kept + claimed <= pod.capacity().ramBytes(),
              "pod %s starts %s and keeps %d while %d bytes were asked for earlier",
              pod.id(),
              id,
              kept,
              claimed);
        }
      }
    }
    pod.turns().note();
  }

  /** A call that was told that its model is ready finds it. */
  void promised(SimPod pod, String modelId) {
    check(
        pod.callable(modelId),
        "pod %s said that %s is ready, but it is gone a moment later",
        pod.id(),
        modelId);
  }

  /** No call waits in a pod for longer than the pod may let it. */
  void waitEnds(SimPod pod, String modelId, long waitedNs, long mostNs) {
    check(
        waitedNs <= mostNs,
        "pod %s lets calls wait for %s for %d ms, at most %d are allowed",
        pod.id(),
        modelId,
        waitedNs / Timeline.MS,
        mostNs / Timeline.MS);
  }

  /** A load starts only into memory that is free. */
  void loadStarts(SimPod pod, String modelId) {
    Ledger ledger = pod.ledger();
    check(!ledger.holds(modelId), "pod %s loads %s twice", pod.id(), modelId);
    check(!pod.draining(), "pod %s drains and loads %s", pod.id(), modelId);
    check(
        ledger.loading() < pod.config().maxConcurrentLoads(),
        "pod %s loads %d models at once, at most %d may",
        pod.id(),
        ledger.loading() + 1,
        pod.config().maxConcurrentLoads());
    check(
        pod.link().mayLoadAgain(modelId),
        "pod %s loads %s again before the pause after its failure is over",
        pod.id(),
        modelId);
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
    boolean others = false;
    for (Action action : actions) {
      if (action instanceof Action.Unload(String id) && ledger.evictedForRoom(id)) {
        others |= !ledger.arriving(id);
        if (ledger.onlyBatches(id)) {
          return; // Perhaps only for the share that batches may hold, which nobody counts here.
        }
        largest = Math.max(largest, ledger.bytes(id));
      }
    }
    if (largest == 0 || !others || pod.capacity().vramBytes() > 0) {
      return;
    }
    long willBeFree = pod.capacity().minus(ledger.kept()).ramBytes();
    check(
        willBeFree < pod.turns().waitingBytes() + largest,
        "pod %s makes %d bytes free while %d wait and the largest that left has %d",
        pod.id(),
        willBeFree,
        pod.turns().waitingBytes(),
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
