package orlop.registry;

import java.util.LinkedHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * Keys whose first word, that a load has begun, waits a moment: most loads are over before that,
 * and then their end is the first word. Guarded by the session's lock.
 */
final class HeldBack {
  private static final long HOLD_BACK_NS = TimeUnit.MILLISECONDS.toNanos(250);

  // To when each is held back; the first is due first.
  private final LinkedHashMap<SessionKey, Long> keys = new LinkedHashMap<>();

  void add(SessionKey key) {
    keys.putIfAbsent(key, System.nanoTime() + HOLD_BACK_NS);
  }

  /** Whether it was held back until now. */
  boolean remove(SessionKey key) {
    return keys.remove(key) != null;
  }

  boolean holds(SessionKey key) {
    return keys.containsKey(key);
  }

  void clear() {
    keys.clear();
  }

  void releaseAll(Consumer<SessionKey> to) {
    keys.keySet().forEach(to);
    keys.clear();
  }

  /** Lets go what is due; returns for how many nanoseconds the next may stay. */
  long release(Consumer<SessionKey> to) {
    long nowNs = System.nanoTime();
    while (!keys.isEmpty()) {
      var first = keys.firstEntry();
      long leftNs = first.getValue() - nowNs;
      if (leftNs > 0) {
        return leftNs;
      }
      keys.remove(first.getKey());
      to.accept(first.getKey());
    }
    return Long.MAX_VALUE;
  }
}
