package orlop.sim;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/** Makes things go wrong, each kind at its own random moments, until it is told to stop. */
final class Faults {
  private static final long LEASE_TTL_NS = 10 * Timeline.SECOND;
  private static final int SLOW_FACTOR = 10;

  private final Simulation sim;
  private final Set<Fault> kinds;
  private final SplittableRandom random;
  private final Set<String> island = new HashSet<>();
  private boolean over;

  Faults(Simulation sim, Set<Fault> kinds, SplittableRandom random) {
    this.sim = sim;
    this.kinds = kinds;
    this.random = random;
  }

  /** Schedules each kind; times are means for the whole mesh. */
  void begin() {
    at(Fault.CRASH, 25 * Timeline.SECOND, this::crash);
    at(Fault.ZONE, 150 * Timeline.SECOND, this::loseZone);
    at(Fault.LEASE, 20 * Timeline.SECOND, this::loseLease);
    at(Fault.STALL, 15 * Timeline.SECOND, this::stall);
    at(Fault.SLOW, 30 * Timeline.SECOND, this::slowDown);
    at(Fault.DRAIN, 40 * Timeline.SECOND, this::drain);
    at(Fault.PLANNER, 90 * Timeline.SECOND, this::stopPlanner);
    at(Fault.DISK, 30 * Timeline.SECOND, this::slowDisk);
    at(Fault.ETCD, 60 * Timeline.SECOND, this::stallAll);
    at(Fault.RESTART, 25 * Timeline.SECOND, this::restart);
    at(Fault.PARTITION, 60 * Timeline.SECOND, this::part);
  }

  void end() {
    over = true;
  }

  boolean hangs() {
    return active(Fault.HANG) && random.nextInt(200) == 0;
  }

  @Nullable String loadFailure(Catalogue.@Nullable Truth truth) {
    if (truth == null) {
      return "no such object";
    }
    if (truth.nature() == Catalogue.Nature.BROKEN) {
      return "bad format";
    }
    return active(Fault.FAIL) && random.nextInt(30) == 0 ? "connection reset" : null;
  }

  /** Whether a load that is about to end runs out of memory. */
  boolean outOfMemory(boolean fits) {
    return active(Fault.OOM) && (random.nextInt(100) == 0 || (!fits && random.nextInt(2) == 0));
  }

  /** Whether a packet from one of the pods to the other is lost. */
  boolean parted(SimPod one, SimPod other) {
    return island.contains(one.id()) != island.contains(other.id());
  }

  boolean unloadFails() {
    return active(Fault.UNLOAD) && random.nextInt(10) == 0;
  }

  private boolean active(Fault kind) {
    return !over && kinds.contains(kind);
  }

  private void at(Fault kind, long meanNs, Runnable action) {
    if (kinds.contains(kind)) {
      next(kind, meanNs, action);
    }
  }

  private void next(Fault kind, long meanNs, Runnable action) {
    long delayNs = (long) (-Math.log(1 - random.nextDouble()) * meanNs);
    sim.timeline()
        .after(
            delayNs,
            () -> {
              if (!over) {
                if (!sim.livePods().isEmpty()) {
                  sim.tally().faults++;
                  sim.tally().note(sim.timeline().nowNs(), "fault", kind.name(), "", 0);
                  action.run();
                }
                next(kind, meanNs, action);
              }
            });
  }

  private SimPod anyPod() {
    List<SimPod> pods = sim.livePods();
    return pods.get(random.nextInt(pods.size()));
  }

  /** One pod at least stays. */
  private void crash() {
    if (sim.livePods().size() > 1) {
      kill(anyPod());
    }
  }

  private void loseZone() {
    String zone = anyPod().zone();
    for (SimPod pod : List.copyOf(sim.livePods())) {
      if (pod.zone().equals(zone) && sim.livePods().size() > 1) {
        kill(pod);
      }
    }
  }

  private void kill(SimPod pod) {
    sim.kill(pod);
    sim.timeline().after(LEASE_TTL_NS, () -> sim.registry().revoke(pod.id()));
    sim.timeline().after(between(5, 30), () -> sim.startPod(pod.ordinal()));
  }

  private void loseLease() {
    SimPod pod = anyPod();
    sim.registry().revoke(pod.id());
    sim.timeline().after(between(1, 6), pod::join);
  }

  private void stall() {
    SimPod pod = anyPod();
    pod.link().cutOff();
    sim.timeline().after(between(0, 40), pod::reconnect);
  }

  private void slowDown() {
    SimPod pod = anyPod();
    pod.runtime().slow(SLOW_FACTOR);
    sim.timeline().after(Timeline.MINUTE, () -> pod.runtime().slow(1));
  }

  private void slowDisk() {
    SimPod pod = anyPod();
    pod.runtime().slowDisk(true);
    sim.timeline().after(Timeline.MINUTE, () -> pod.runtime().slowDisk(false));
  }

  /** Each pod comes back in its own time, so that for a while all views differ. */
  private void stallAll() {
    for (SimPod pod : List.copyOf(sim.livePods())) {
      pod.link().cutOff();
      sim.timeline().after(between(0, 40), pod::reconnect);
    }
  }

  private void restart() {
    SimPod pod = anyPod();
    if (sim.livePods().size() > 1) {
      sim.kill(pod);
      sim.timeline().after(LEASE_TTL_NS, () -> sim.registry().revoke(pod.id()));
      sim.timeline().after(between(1, 3), () -> sim.startPod(pod.ordinal()));
    }
  }

  private void part() {
    if (!island.isEmpty()) {
      return;
    }
    for (SimPod pod : sim.livePods()) {
      if (random.nextInt(3) == 0) {
        island.add(pod.id());
      }
    }
    sim.timeline().after(between(5, 40), island::clear);
  }

  private void drain() {
    SimPod pod = anyPod();
    pod.drain();
    sim.timeline().after(between(10, 60), () -> leaveWhenIdle(pod, 30));
  }

  /** Waits for its calls, but not for ever. */
  private void leaveWhenIdle(SimPod pod, int patience) {
    if (!pod.alive()) {
      return;
    }
    if (!pod.idle() && patience > 0) {
      sim.timeline().after(Timeline.SECOND, () -> leaveWhenIdle(pod, patience - 1));
      return;
    }
    sim.registry().revoke(pod.id());
    sim.kill(pod);
    sim.timeline().after(between(1, 5), () -> sim.startPod(pod.ordinal()));
  }

  private void stopPlanner() {
    sim.planner().pause(true);
    sim.timeline().after(between(30, 90), () -> sim.planner().pause(false));
  }

  private long between(int leastS, int mostS) {
    return random.nextLong(leastS * Timeline.SECOND, mostS * Timeline.SECOND + 1);
  }
}
