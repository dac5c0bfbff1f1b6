package orlop.sim;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import orlop.placement.Copy;
import orlop.placement.Delta;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/** The registry's contents over time, with leases; readers see it as it was some time ago. */
final class SimRegistry {
  private static final long KEPT_NS = Timeline.MINUTE;

  private record Snapshot(long atNs, MeshView view) {}

  private final Deque<Snapshot> history = new ArrayDeque<>();
  private final List<Delta> pending = new ArrayList<>();
  private final Map<String, Set<String>> keysByLease = new HashMap<>();
  private final Set<String> endedLeases = new HashSet<>();
  private MeshView newest = MeshView.empty();

  void write(Delta delta) {
    pending.add(delta);
  }

  /** Makes the writes visible. */
  MeshView flush(long nowNs) {
    if (!pending.isEmpty()) {
      newest = newest.with(pending, newest.revision() + 1);
      pending.clear();
      history.addLast(new Snapshot(nowNs, newest));
      while (history.size() > 1 && history.element().atNs < nowNs - KEPT_NS) {
        history.remove();
      }
    }
    return newest;
  }

  MeshView newest() {
    return newest;
  }

  MeshView asOf(long timeNs) {
    Iterator<Snapshot> backwards = history.descendingIterator();
    while (backwards.hasNext()) {
      Snapshot snapshot = backwards.next();
      if (snapshot.atNs <= timeNs) {
        return snapshot.view;
      }
    }
    return history.isEmpty() ? newest : history.element().view;
  }

  void grant(String podId) {
    keysByLease.put(podId, new HashSet<>());
    endedLeases.remove(podId);
  }

  boolean leased(String podId) {
    return keysByLease.containsKey(podId);
  }

  /** A write under the pod's lease; refused when it has none. */
  boolean writePod(Pod pod) {
    if (!leased(pod.id())) {
      return false;
    }
    write(new Delta.PodPut(pod));
    return true;
  }

  boolean writeCopy(Copy copy) {
    Set<String> keys = keysByLease.get(copy.podId());
    if (keys == null) {
      return false;
    }
    keys.add(copy.modelId());
    write(new Delta.CopyPut(copy));
    return true;
  }

  boolean removeCopy(String podId, String modelId) {
    Set<String> keys = keysByLease.get(podId);
    if (keys == null) {
      return false;
    }
    keys.remove(modelId);
    write(new Delta.CopyRemoved(podId, modelId));
    return true;
  }

  /** Ends the lease: all keys under it vanish. */
  void revoke(String podId) {
    Set<String> keys = keysByLease.remove(podId);
    if (keys != null) {
      keys.stream().sorted().forEach(id -> write(new Delta.CopyRemoved(podId, id)));
      write(new Delta.PodRemoved(podId));
      endedLeases.add(podId);
    }
  }

  Set<String> endedLeases() {
    return endedLeases;
  }
}
