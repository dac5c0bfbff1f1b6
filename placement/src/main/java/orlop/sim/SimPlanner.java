package orlop.sim;

import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import orlop.placement.Alias;
import orlop.placement.Change;
import orlop.placement.Delta;
import orlop.placement.Demand;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Plan;
import orlop.placement.Planner;
import orlop.placement.Recall;

/** The controller's loop: gathers the demand, plans, carries the plan out by calls to the pods. */
final class SimPlanner {
  private static final long CALL_NS = 5 * Timeline.MS;

  /** Between two reports of demand. */
  private static final long BEAT_MS = 2_000;

  /** How one model was called, in whole minutes. */
  private static final class Use {
    long minute;
    int calls;
    int callsBefore;
    long steadySinceMs;
    long lastUsedMs;
    int beats;
    long beatMs;
  }

  private final Simulation sim;
  private final Planner planner = new Planner(Planner.Config.defaults(), new Placer());
  private final Map<String, Use> uses = new HashMap<>();
  private Recall recall = Recall.since(Timeline.START_NS / Timeline.MS);
  private boolean paused;

  SimPlanner(Simulation sim) {
    this.sim = sim;
  }

  void pause(boolean nowPaused) {
    paused = nowPaused;
  }

  void called(String modelId, long nowMs) {
    Use use = uses.computeIfAbsent(modelId, id -> new Use());
    long minute = nowMs / 60_000;
    roll(use, minute);
    if (use.steadySinceMs == 0) {
      use.steadySinceMs = nowMs;
    }
    use.calls++;
    use.lastUsedMs = nowMs;
    if (nowMs - use.beatMs >= BEAT_MS) {
      use.beatMs = nowMs;
      use.beats++;
    }
  }

  private static void roll(Use use, long minute) {
    if (minute == use.minute) {
      return;
    }
    boolean next = minute == use.minute + 1;
    use.callsBefore = next ? use.calls : 0;
    if (use.callsBefore == 0) {
      use.steadySinceMs = 0;
      use.beats = 0;
    }
    use.calls = 0;
    use.minute = minute;
  }

  private Demand demand(long nowMs) {
    Map<String, Demand.Use> result = new HashMap<>();
    uses.forEach(
        (id, use) -> {
          roll(use, nowMs / 60_000);
          double perMinute = Math.max(use.calls, use.callsBefore);
          result.put(
              id, new Demand.Use(perMinute, use.steadySinceMs, use.lastUsedMs, use.beats, 0));
        });
    uses.values().removeIf(use -> nowMs - use.lastUsedMs > 1_800_000);
    return new Demand(result);
  }

  void step() {
    if (paused) {
      return;
    }
    long nowNs = sim.timeline().nowNs();
    MeshView view = sim.registry().asOf(nowNs - 100 * Timeline.MS);
    Plan plan = planner.plan(view, demand(sim.timeline().nowMs()), recall, nowNs / Timeline.MS);
    recall = plan.recall();
    for (Change change : plan.changes()) {
      sim.tally().planned++;
      carryOut(view, change);
    }
  }

  private void carryOut(MeshView view, Change change) {
    switch (change) {
      case Change.LoadCopy load -> {
        Model model = view.model(load.modelId());
        if (model != null) {
          atPod(load.podId(), pod -> pod.want(model, load.lastUsedMs() * Timeline.MS));
        }
      }
      case Change.UnloadCopy unload -> atPod(unload.podId(), pod -> pod.letGo(unload.modelId()));
      case Change.PromoteAlias promote -> promote(promote);
      case Change.FailAlias fail -> note(fail);
    }
  }

  private void atPod(String podId, Consumer<SimPod> call) {
    sim.timeline()
        .after(
            CALL_NS,
            () -> {
              SimPod pod = sim.pod(podId);
              if (pod != null) {
                call.accept(pod);
              }
            });
  }

  private void promote(Change.PromoteAlias promote) {
    MeshView view = sim.registry().flush(sim.timeline().nowNs());
    Alias alias = view.alias(promote.name());
    if (alias == null || !alias.targetModelId().equals(promote.targetModelId())) {
      return;
    }
    sim.tally().note(sim.timeline().nowNs(), "promote", alias.name(), alias.targetModelId(), 0);
    sim.registry()
        .write(
            new Delta.AliasPut(
                new Alias(
                    alias.name(),
                    alias.owner(),
                    alias.targetModelId(),
                    alias.targetModelId(),
                    alias.autoDeleteModelIds(),
                    "")));
    // The old version is of no more use.
    if (alias.moving()) {
      sim.registry().write(new Delta.ModelRemoved(alias.activeModelId()));
    }
  }

  private void note(Change.FailAlias fail) {
    MeshView view = sim.registry().flush(sim.timeline().nowNs());
    Alias alias = view.alias(fail.name());
    if (alias != null && alias.targetModelId().equals(fail.targetModelId())) {
      sim.registry()
          .write(
              new Delta.AliasPut(
                  new Alias(
                      alias.name(),
                      alias.owner(),
                      alias.activeModelId(),
                      alias.targetModelId(),
                      alias.autoDeleteModelIds(),
                      fail.why())));
    }
  }
}
