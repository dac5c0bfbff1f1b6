package orlop.sim;

import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/**
 * One pod's link to the registry: what the pod announces, what of that is written, and what it sees
 * of the mesh.
 */
final class SimLink {
  /** A load is announced when it takes longer than this. */
  private static final long HOLD_BACK_NS = 250 * Timeline.MS;

  private final Simulation sim;
  private final String podId;
  private final long lagNs;
  private final Map<String, Copy> announced = new LinkedHashMap<>();
  private final Set<String> unsent = new LinkedHashSet<>();
  private final Set<String> sent = new HashSet<>();
  private final Map<String, Long> heldBack = new HashMap<>();
  private final Map<String, Long> retryAtMs = new HashMap<>();
  private Pod said;
  private @Nullable MeshView frozen;
  private boolean cutOff;

  /**
   * @param lagNs how much later than the registry the pod sees a change
   */
  SimLink(Simulation sim, Pod first, long lagNs) {
    this.sim = sim;
    this.podId = first.id();
    this.lagNs = lagNs;
    this.said = first;
  }

  // What the pod sees.

  MeshView view() {
    return frozen != null ? frozen : sim.registry().asOf(sim.timeline().nowNs() - lagNs);
  }

  /** Neither sees nor writes the registry from now on. */
  void cutOff() {
    frozen = view();
    cutOff = true;
  }

  void reconnect() {
    frozen = null;
    cutOff = false;
  }

  // What it announces.

  /** Models in the order in which they were first announced. */
  Set<String> models() {
    return announced.keySet();
  }

  Collection<Copy> copies() {
    return announced.values();
  }

  @Nullable CopyState announced(String modelId) {
    Copy copy = announced.get(modelId);
    return copy == null ? null : copy.state();
  }

  /** Whether the pause that was announced with its last failure is over. */
  boolean mayLoadAgain(String modelId) {
    return retryAtMs.getOrDefault(modelId, 0L) <= sim.timeline().nowMs();
  }

  /**
   * @param state null when the model is gone
   */
  void announce(String modelId, @Nullable CopyState state) {
    if (state == null) {
      announced.remove(modelId);
    } else {
      announced.put(modelId, new Copy(modelId, podId, state, sim.timeline().nowMs()));
    }
    if (state instanceof CopyState.FailedToLoad(Fault _, String _, long untilMs)) {
      retryAtMs.put(modelId, untilMs);
    } else if (!(state instanceof CopyState.Loading)) {
      retryAtMs.remove(modelId);
    }
    if (state instanceof CopyState.Loading && !sent.contains(modelId)) {
      holdBack(modelId);
    } else {
      heldBack.remove(modelId);
      unsent.add(modelId);
      send();
    }
  }

  /** A load that is over soon is announced once, when it is done. */
  private void holdBack(String modelId) {
    long untilNs = sim.timeline().nowNs() + HOLD_BACK_NS;
    heldBack.putIfAbsent(modelId, untilNs);
    sim.timeline()
        .after(
            HOLD_BACK_NS,
            () -> {
              if (heldBack.remove(modelId, untilNs)) {
                unsent.add(modelId);
                send();
              }
            });
  }

  // What is written.

  /** Joins, for the first time or after the lease was lost: everything is written anew. */
  void join(Pod now) {
    if (sim.registry().leased(podId)) {
      return;
    }
    sim.registry().grant(podId);
    sent.clear();
    heldBack.clear();
    sim.registry().writePod(said);
    unsent.addAll(announced.keySet());
    introduce(now);
  }

  /** Publishes the pod's own record when it changed. */
  void introduce(Pod now) {
    if (!now.equals(said) && !cutOff && sim.registry().writePod(now)) {
      said = now;
    }
    send();
  }

  private void send() {
    if (cutOff || !sim.registry().leased(podId)) {
      return;
    }
    for (String modelId : unsent) {
      Copy copy = announced.get(modelId);
      if (copy != null && !(copy.state() instanceof CopyState.Unloading)) {
        sim.tally().puts++;
        sent.add(modelId);
        sim.registry().writeCopy(copy);
      } else if (sent.remove(modelId)) {
        sim.tally().deletes++;
        sim.registry().removeCopy(podId, modelId);
      }
    }
    unsent.clear();
  }
}
