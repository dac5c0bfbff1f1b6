package orlop.bridge;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Slots that may be dispatched, one queue for each model that a record header names (and one for
 * records that name none). Models take turns, so that none starves. Not thread-safe: owned by the
 * poll thread. O(1) for each slot.
 */
final class ModelQueues {
  private final LinkedHashMap<ModelName, ArrayDeque<Slot>> queues = new LinkedHashMap<>();

  boolean isEmpty() {
    return queues.isEmpty();
  }

  void addLast(Slot slot) {
    queueOf(slot).addLast(slot);
  }

  /** For a slot that is tried again: it is older than those that wait. */
  void addFirst(Slot slot) {
    queueOf(slot).addFirst(slot);
  }

  private ArrayDeque<Slot> queueOf(Slot slot) {
    return queues.computeIfAbsent(slot.model, model -> new ArrayDeque<>());
  }

  /** Lets go of the slots of one partition log. O(slots). */
  void forget(PartitionLog log) {
    for (ArrayDeque<Slot> queue : queues.values()) {
      queue.removeIf(slot -> slot.log == log);
    }
    queues.values().removeIf(ArrayDeque::isEmpty);
  }

  /** Takes up to {@code most} slots of the model whose turn it is; empty when none waits. */
  List<Slot> take(int most) {
    Map.@Nullable Entry<ModelName, ArrayDeque<Slot>> next = queues.pollFirstEntry();
    if (next == null) {
      return List.of();
    }
    ArrayDeque<Slot> queue = next.getValue();
    List<Slot> taken = new ArrayList<>(Math.min(most, queue.size()));
    while (taken.size() < most && !queue.isEmpty()) {
      taken.add(queue.removeFirst());
    }
    if (!queue.isEmpty()) {
      queues.putLast(next.getKey(), queue);
    }
    return taken;
  }
}
