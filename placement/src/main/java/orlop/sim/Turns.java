package orlop.sim;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.ModelCache;

/**
 * Which models wait for memory in a pod, and whose turn came first: kept apart from the pod's
 * cache, to check the cache by.
 */
final class Turns {
  private final ModelCache cache;
  private final Ledger ledger;
  private final SimLink link;
  private final Set<String> urgent = new HashSet<>();
  private final Set<String> online = new HashSet<>();
  private final Map<String, Long> turn = new HashMap<>();
  private long turns;

  Turns(ModelCache cache, Ledger ledger, SimLink link) {
    this.cache = cache;
    this.ledger = ledger;
    this.link = link;
  }

  /** For a call, or for a plan on behalf of calls of a moment ago. */
  void urgent(String modelId) {
    urgent.add(modelId);
  }

  /** For more than a batch. */
  void online(String modelId) {
    online.add(modelId);
  }

  /** Nobody waits for it any longer. */
  void answered(String modelId) {
    urgent.remove(modelId);
    online.remove(modelId);
  }

  /** Gives each model that began to queue for a call its turn. */
  void note() {
    turn.keySet().removeIf(id -> !queues(id));
    urgent.stream()
        .filter(id -> !turn.containsKey(id) && queues(id))
        .sorted()
        .forEach(id -> turn.put(id, turns++));
  }

  private boolean queues(String modelId) {
    return urgent.contains(modelId)
        && !ledger.holds(modelId)
        && link.announced(modelId) instanceof CopyState.Loading;
  }

  /** Bytes of what calls, batches apart, wait for since before it was this one's turn. */
  long claimedBefore(String modelId) {
    long until = turn.getOrDefault(modelId, Long.MAX_VALUE);
    long bytes = 0;
    for (Map.Entry<String, Long> other : turn.entrySet()) {
      if (other.getValue() < until && online.contains(other.getKey()) && queues(other.getKey())) {
        bytes += cache.size(other.getKey()).ramBytes();
      }
    }
    return bytes;
  }

  /** Bytes of the models that wait to be loaded here, for whatever cause. */
  long waitingBytes() {
    long bytes = 0;
    for (Copy copy : link.copies()) {
      if (copy.isLoading() && !ledger.holds(copy.modelId())) {
        bytes += cache.size(copy.modelId()).ramBytes();
      }
    }
    return bytes;
  }
}
