package orlop.placement;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** What waits to be loaded in one pod: calls before plans, each first come first served. */
final class LoadQueue {
  private final Set<CacheEntry> calls = new LinkedHashSet<>();
  private final Set<CacheEntry> plans = new LinkedHashSet<>();

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

  List<CacheEntry> inOrder() {
    List<CacheEntry> order = new ArrayList<>(calls);
    order.addAll(plans);
    return order;
  }

  int size() {
    return calls.size() + plans.size();
  }
}
