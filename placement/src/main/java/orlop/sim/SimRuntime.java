package orlop.sim;

import org.jspecify.annotations.Nullable;
import orlop.placement.Event;
import orlop.placement.Fault;
import orlop.placement.Memory;

/** One pod's runtime and disk: loads and unloads take their time, and some go wrong. */
final class SimRuntime {
  static final long LOAD_TIMEOUT_NS = 60 * Timeline.SECOND;
  private static final double SLOW_DISK_PER_SECOND = 40e6;

  /**
   * A load under way, and how it will end.
   *
   * @param truth about the model; null when its object does not exist
   * @param real memory that it will take
   * @param failure null when it will not fail
   */
  private record Load(
      String modelId,
      Catalogue.@Nullable Truth truth,
      Memory real,
      long startNs,
      long durationNs,
      boolean hangs,
      @Nullable String failure) {

    boolean timesOut() {
      return hangs || durationNs >= LOAD_TIMEOUT_NS;
    }

    boolean permanent() {
      return truth != null && truth.nature() == Catalogue.Nature.BROKEN;
    }
  }

  private final Simulation sim;
  private final SimPod pod;
  private final Ledger ledger;
  private int slowness = 1;
  private boolean slowDisk;

  SimRuntime(Simulation sim, SimPod pod, Ledger ledger) {
    this.sim = sim;
    this.pod = pod;
    this.ledger = ledger;
  }

  /** The time of a load, times this; 1 is normal. */
  void slow(int factor) {
    slowness = factor;
  }

  void slowDisk(boolean nowSlow) {
    slowDisk = nowSlow;
  }

  /** Loads it into the memory that the cache reserved. */
  void load(String modelId) {
    sim.invariants().loadStarts(pod, modelId);
    Memory reserved = pod.cache().size(modelId);
    ledger.take(modelId, reserved);
    sim.tally().loads++;
    sim.tally().note(sim.timeline().nowNs(), "load", pod.id(), modelId, reserved.ramBytes());
    Catalogue.Truth truth = sim.catalogue().truth(modelId);
    boolean accelerated = pod.capacity().vramBytes() > 0;
    Load load =
        new Load(
            modelId,
            truth,
            truth == null ? reserved : Catalogue.memory(truth, accelerated),
            sim.timeline().nowNs(),
            sim.loadNs(truth) * slowness + diskNs(truth),
            sim.faults().hangs(),
            sim.faults().loadFailure(truth));
    long endsNs = load.timesOut() ? LOAD_TIMEOUT_NS : load.durationNs;
    sim.timeline().after(endsNs, () -> end(load));
  }

  private long diskNs(Catalogue.@Nullable Truth truth) {
    return slowDisk && truth != null
        ? (long) (truth.sizeBytes() / SLOW_DISK_PER_SECOND * Timeline.SECOND)
        : 0;
  }

  private void end(Load load) {
    sim.tally().loadNs += sim.timeline().nowNs() - load.startNs;
    if (load.timesOut()) {
      failed(load.modelId, "timed out", false);
    } else if (load.failure != null) {
      failed(load.modelId, load.failure, load.permanent());
    } else if (runsOutOfMemory(load)) {
      failed(load.modelId, "out of memory", false);
    } else {
      done(load.modelId, load.real);
    }
  }

  private boolean runsOutOfMemory(Load load) {
    Ledger.Holding holding = ledger.get(load.modelId);
    return holding != null
        && sim.faults()
            .outOfMemory(ledger.used().minus(holding.size).plus(load.real).fitsIn(pod.capacity()));
  }

  private void done(String modelId, Memory real) {
    Ledger.Holding holding = ledger.get(modelId);
    if (!pod.alive() || holding == null) {
      return;
    }
    ledger.measured(holding, real);
    holding.letGo = holding.letGo || !real.fitsIn(pod.capacity());
    sim.tally().note(sim.timeline().nowNs(), "loaded", pod.id(), modelId, real.ramBytes());
    holding.arriving = true;
    pod.feed(new Event.LoadDone(modelId, real));
    holding.arriving = false;
  }

  private void failed(String modelId, String reason, boolean permanent) {
    if (pod.alive()) {
      ledger.gone(modelId);
      sim.tally().failedLoads++;
      sim.tally().note(sim.timeline().nowNs(), "failed", pod.id(), modelId, 0);
      Fault fault = permanent ? Fault.PERMANENT : Fault.TRANSIENT;
      pod.feed(new Event.LoadFailed(modelId, reason, fault));
    }
  }

  void unload(String modelId) {
    Ledger.Holding holding = ledger.get(modelId);
    if (holding == null) {
      throw sim.invariants().broken("pod %s unloads absent %s", pod.id(), modelId);
    }
    sim.invariants().unloadStarts(pod, modelId, holding.pins);
    if (ledger.evictedForRoom(modelId)) {
      sim.tally().evictions++;
    }
    ledger.unloading(holding);
    sim.tally().note(sim.timeline().nowNs(), "unload", pod.id(), modelId, 0);
    boolean fails = sim.faults().unloadFails();
    sim.timeline().after(sim.unloadNs(), () -> unloaded(modelId, holding, fails));
  }

  private void unloaded(String modelId, Ledger.Holding holding, boolean fails) {
    if (!pod.alive()) {
      return;
    }
    if (fails) {
      ledger.stuck(holding);
      pod.feed(new Event.UnloadFailed(modelId, "busy"));
    } else {
      ledger.gone(modelId);
      pod.feed(new Event.UnloadDone(modelId));
    }
  }
}
