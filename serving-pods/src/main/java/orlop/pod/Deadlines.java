package orlop.pod;

import io.netty.channel.EventLoop;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The deadlines of one event loop's calls: a timer wheel, because nearly all of them are taken out
 * again within a millisecond and only coarse precision is asked for. Adding and removing are O(1)
 * and allocate nothing.
 *
 * <p>An entry fires at most {@link #TICK_NS} late, on the loop. Source: Varghese and Lauck, "Hashed
 * and Hierarchical Timing Wheels", 1987, scheme 6.
 */
final class Deadlines {
  static final long TICK_NS = 5_000_000;
  private static final int SLOTS = 1_024;

  private final EventLoop executor;
  private final @Nullable Entry[] slots = new @Nullable Entry[SLOTS];
  private final Runnable tick = this::tick;
  private long nextTick;
  private int size;
  private boolean ticking;

  /** Something that ends by a deadline; a member of at most one wheel. */
  abstract static class Entry {
    private @Nullable Entry before;
    private @Nullable Entry after;
    private long dueTick;
    private int slot = -1;

    /** The deadline has passed; the entry is no longer in the wheel. */
    abstract void expired();
  }

  Deadlines(EventLoop executor) {
    this.executor = executor;
  }

  /**
   * @param dueNs by {@link System#nanoTime}
   */
  void add(Entry entry, long dueNs) {
    if (size++ == 0) {
      nextTick = Math.floorDiv(System.nanoTime(), TICK_NS);
    }
    entry.dueTick = Math.max(nextTick, Math.floorDiv(dueNs, TICK_NS) + 1);
    entry.slot = (int) Math.floorMod(entry.dueTick, SLOTS);
    Entry first = slots[entry.slot];
    entry.after = first;
    if (first != null) {
      first.before = entry;
    }
    slots[entry.slot] = entry;
    if (!ticking) {
      ticking = true;
      executor.schedule(tick, TICK_NS, TimeUnit.NANOSECONDS);
    }
  }

  /** No effect when it is not in the wheel. */
  void remove(Entry entry) {
    if (entry.slot < 0) {
      return;
    }
    if (entry.before == null) {
      slots[entry.slot] = entry.after;
    } else {
      entry.before.after = entry.after;
    }
    if (entry.after != null) {
      entry.after.before = entry.before;
    }
    entry.before = null;
    entry.after = null;
    entry.slot = -1;
    size--;
  }

  private void tick() {
    long now = Math.floorDiv(System.nanoTime(), TICK_NS);
    // After a pause longer than a turn every slot is looked at once.
    long from = Math.max(nextTick, now - SLOTS + 1);
    nextTick = now + 1;
    for (long at = from; at <= now && size > 0; at++) {
      fire((int) Math.floorMod(at, SLOTS), now);
    }
    ticking = size > 0;
    if (ticking) {
      executor.schedule(tick, TICK_NS, TimeUnit.NANOSECONDS);
    }
  }

  private void fire(int slot, long now) {
    // An entry that fires may remove others, so the walk starts again after each.
    boolean again;
    do {
      again = false;
      for (Entry e = slots[slot]; e != null; e = e.after) {
        if (e.dueTick <= now) {
          remove(e);
          e.expired();
          again = true;
          break;
        }
      }
    } while (again);
  }
}
