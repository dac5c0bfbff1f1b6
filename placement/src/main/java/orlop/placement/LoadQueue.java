package orlop.placement;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * What waits to be loaded in one pod: calls before plans, each first come first served. What was
 * wanted again while it leaves waits too, and takes its place at the end once it has left.
 */
final class LoadQueue {
  private final Set<CacheEntry> calls = new LinkedHashSet<>();
  private final Set<CacheEntry> plans = new LinkedHashSet<>();
  private int returning;

  void add(CacheEntry entry) {
    (entry.live ? calls : plans).add(entry);
  }

  void remove(CacheEntry entry) {
    calls.remove(entry);
    plans.remove(entry);
  }

  /** A call waits for it now; a plan goes to the end of the calls. */
  void promote(CacheEntry entry) {
    if (plans.remove(entry)) {
      calls.add(entry);
    }
  }

  /** It is on its way out and shall come back. */
  void comeBack(CacheEntry entry, long nowNs) {
    entry.again = true;
    entry.queuedNs = nowNs;
    returning++;
  }

  /** It is gone, or nobody waits for it any more; true when it was to come back. */
  boolean endReturn(CacheEntry entry) {
    boolean was = entry.again;
    if (was) {
      entry.again = false;
      returning--;
    }
    return was;
  }

  List<CacheEntry> inOrder() {
    List<CacheEntry> order = new ArrayList<>(calls);
    order.addAll(plans);
    return order;
  }

  /** All that wait, those on their way out included. */
  int size() {
    return calls.size() + plans.size() + returning;
  }
}
