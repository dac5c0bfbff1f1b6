package orlop.placement;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;

/**
 * The loaded models of one pod, seated so that the next to leave is found without looking at all of
 * them: in a heap where the policy's order is lasting, else by comparing 64 drawn ones. Draws come
 * from a counter through a hash, so equal histories choose alike. Owned by the cache.
 *
 * <p>In the heap an entry may stand too low, for uses raise its value unnoticed; it is seated anew
 * when it comes to the top (amortised over the uses, O(log n) each).
 */
final class Seats {
  /** Entries compared for each one that leaves. */
  static final int DRAWN = 64;

  private static final int MOST_PASSED_OVER = 512;

  private final boolean ordered;
  private final List<CacheEntry> seats = new ArrayList<>();
  private long draws;

  Seats(boolean ordered) {
    this.ordered = ordered;
  }

  int size() {
    return seats.size();
  }

  CacheEntry get(int seat) {
    return seats.get(seat);
  }

  void add(CacheEntry entry, double value) {
    entry.seat = seats.size();
    entry.value = value;
    seats.add(entry);
    if (ordered) {
      rise(entry.seat);
    }
  }

  /** Idempotent. */
  void remove(CacheEntry entry) {
    if (entry.seat < 0) {
      return;
    }
    int seat = entry.seat;
    CacheEntry last = seats.removeLast();
    entry.seat = -1;
    if (last != entry) {
      put(last, seat);
      if (ordered) {
        rise(seat);
        sink(last.seat);
      }
    }
  }

  /** Its value may have fallen. */
  void revalue(CacheEntry entry, double value) {
    if (entry.seat >= 0) {
      remove(entry);
      add(entry, value);
    }
  }

  /**
   * Chooses the next to leave, one by one. What was chosen or passed over is out of its seat until
   * {@link #close}.
   */
  final class Choice {
    private final Predicate<CacheEntry> allowed;
    private final ToDoubleFunction<CacheEntry> value;
    private final List<CacheEntry> standing = new ArrayList<>();
    private int passedOver;

    Choice(Predicate<CacheEntry> allowed, ToDoubleFunction<CacheEntry> value) {
      this.allowed = allowed;
      this.value = value;
    }

    /** The next, with its value in it; null when none was found among those looked at. */
    @Nullable CacheEntry next() {
      return ordered ? lowest() : drawn();
    }

    void close() {
      standing.forEach(entry -> add(entry, entry.value));
      standing.clear();
    }

    private @Nullable CacheEntry lowest() {
      while (!seats.isEmpty() && passedOver < MOST_PASSED_OVER) {
        CacheEntry top = seats.getFirst();
        double now = value.applyAsDouble(top);
        if (now > top.value) {
          top.value = now;
          sink(0);
          continue;
        }
        top.value = now;
        stand(top);
        if (allowed.test(top)) {
          return top;
        }
        passedOver++;
      }
      return null;
    }

    private @Nullable CacheEntry drawn() {
      CacheEntry best = null;
      int all = seats.size();
      for (int i = 0; i < Math.min(DRAWN, all); i++) {
        CacheEntry one = seats.get(all <= DRAWN ? i : draw(all));
        if (one != best && allowed.test(one)) {
          one.value = value.applyAsDouble(one);
          if (best == null || before(one, best)) {
            best = one;
          }
        }
      }
      if (best != null) {
        stand(best);
      }
      return best;
    }

    private void stand(CacheEntry entry) {
      remove(entry);
      standing.add(entry);
    }
  }

  private int draw(int bound) {
    return drawn(++draws, bound);
  }

  /** The number of that draw, below the bound: SplitMix64's finaliser (Steele et al. 2014). */
  static int drawn(long draw, int bound) {
    long hash = draw * 0x9E3779B97F4A7C15L;
    hash = (hash ^ (hash >>> 30)) * 0xBF58476D1CE4E5B9L;
    hash = (hash ^ (hash >>> 27)) * 0x94D049BB133111EBL;
    return (int) Long.remainderUnsigned(hash ^ (hash >>> 31), bound);
  }

  // The heap: nobody is worth less than the one above.

  private static boolean before(CacheEntry a, CacheEntry b) {
    return a.value < b.value || (a.value == b.value && a.modelId.compareTo(b.modelId) < 0);
  }

  private void put(CacheEntry entry, int seat) {
    seats.set(seat, entry);
    entry.seat = seat;
  }

  private void rise(int from) {
    int seat = from;
    CacheEntry entry = seats.get(seat);
    while (seat > 0 && before(entry, seats.get((seat - 1) / 2))) {
      put(seats.get((seat - 1) / 2), seat);
      seat = (seat - 1) / 2;
    }
    put(entry, seat);
  }

  private void sink(int from) {
    int seat = from;
    CacheEntry entry = seats.get(seat);
    while (2 * seat + 1 < seats.size()) {
      int child = 2 * seat + 1;
      if (child + 1 < seats.size() && before(seats.get(child + 1), seats.get(child))) {
        child++;
      }
      if (!before(seats.get(child), entry)) {
        break;
      }
      put(seats.get(child), seat);
      seat = child;
    }
    put(entry, seat);
  }
}
