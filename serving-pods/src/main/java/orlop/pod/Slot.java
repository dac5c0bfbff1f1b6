package orlop.pod;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * A loaded thing, the calls that use it now, and when it was last used. Lock-free.
 *
 * <p>Request threads {@link #pin} before use and {@link #unpin} after; the one who unloads {@link
 * #shut}s it and then waits for the last pin. No pin succeeds after {@code shut} has returned, and
 * what a pin guards is not closed before its unpin.
 *
 * @param <T> what is held
 */
final class Slot<T> {
  /*
   * state: bit 31 is set when shut, the bits below count pins. One atomic word, so "shut and
   * nobody inside" is a single value that exactly one thread brings about: the last unpin, or the
   * shut itself when nobody was inside.
   */
  private static final int SHUT = 1 << 31;
  private static final VarHandle STATE;
  private static final VarHandle LAST_USED;
  private static final VarHandle LAST_ONLINE_USE;
  private static final VarHandle CALLS;
  private static final VarHandle WAITED;
  private static final VarHandle RECENT = MethodHandles.arrayElementVarHandle(long[].class);

  /** Last uses kept; a power of two. */
  private static final int RECENT_USES = 8;

  static {
    try {
      MethodHandles.Lookup lookup = MethodHandles.lookup();
      STATE = lookup.findVarHandle(Slot.class, "state", int.class);
      LAST_USED = lookup.findVarHandle(Slot.class, "lastUsedNs", long.class);
      LAST_ONLINE_USE = lookup.findVarHandle(Slot.class, "lastOnlineUseNs", long.class);
      CALLS = lookup.findVarHandle(Slot.class, "calls", long.class);
      WAITED = lookup.findVarHandle(Slot.class, "waitedNs", long.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final T held;
  private final CountDownLatch empty = new CountDownLatch(1);

  // Written through the handles.
  @SuppressWarnings("unused")
  private volatile int state;

  private volatile long lastUsedNs;
  private volatile long lastOnlineUseNs;

  @SuppressWarnings("unused")
  private volatile long calls;

  @SuppressWarnings("unused")
  private volatile long waitedNs;

  /** The last uses, in a ring that {@link #calls} goes round. */
  private final long[] recent = new long[RECENT_USES];

  Slot(T held) {
    this.held = held;
  }

  T held() {
    return held;
  }

  /** Enters for a call that somebody waits for. */
  boolean pin(long nowNs) {
    return pin(nowNs, false);
  }

  /**
   * Enters, unless it is shut.
   *
   * @param nowNs nanoseconds since the epoch, kept as the last use
   * @param batch whether the call can wait
   */
  boolean pin(long nowNs, boolean batch) {
    int seen;
    do {
      seen = (int) STATE.getOpaque(this);
      if (seen < 0) {
        return false;
      }
    } while (!STATE.weakCompareAndSet(this, seen, seen + 1));
    // A later stamp may be overwritten by a slightly earlier one: the policy does not care.
    LAST_USED.setOpaque(this, nowNs);
    if (!batch) {
      LAST_ONLINE_USE.setOpaque(this, nowNs);
    }
    long before = (long) CALLS.getAndAddRelease(this, 1L);
    RECENT.setOpaque(recent, (int) before & (RECENT_USES - 1), nowNs);
    return true;
  }

  /** Leaves; exactly once for each {@link #pin} that succeeded. */
  void unpin() {
    int left = (int) STATE.getAndAdd(this, -1) - 1;
    if (left == SHUT) {
      empty.countDown();
    }
  }

  /** Lets nobody in any more. Idempotent. */
  void shut() {
    int before = (int) STATE.getAndBitwiseOr(this, SHUT);
    if (before == 0) {
      empty.countDown();
    }
  }

  /** Waits until it is shut and the last call has left. */
  boolean awaitEmpty(long timeoutMs) throws InterruptedException {
    return empty.await(timeoutMs, TimeUnit.MILLISECONDS);
  }

  boolean isShut() {
    return state < 0;
  }

  int pins() {
    return state & ~SHUT;
  }

  /** Nanoseconds since the epoch; 0 when never pinned. */
  long lastUsedNs() {
    return lastUsedNs;
  }

  /** Last pin by a call that somebody waited for, nanoseconds since the epoch; 0 when none was. */
  long lastOnlineUseNs() {
    return lastOnlineUseNs;
  }

  /**
   * When it was pinned last. Under concurrent pins neighbours may be out of order or still missing.
   *
   * @param newestFirst filled with nanoseconds since the epoch
   * @return how many were filled in
   */
  int recentUses(long[] newestFirst) {
    long count = calls;
    int known = (int) Math.min(Math.min(count, RECENT_USES), newestFirst.length);
    int filled = 0;
    for (int i = 1; i <= known; i++) {
      long atNs = (long) RECENT.getOpaque(recent, (int) (count - i) & (RECENT_USES - 1));
      if (atNs != 0) {
        newestFirst[filled++] = atNs;
      }
    }
    return filled;
  }

  /** How often it was pinned. */
  long calls() {
    return calls;
  }

  /** A call that pinned it has waited so long for a compute thread. */
  void waited(long ns) {
    WAITED.getAndAddRelease(this, ns);
  }

  /** How long all calls together waited for a compute thread. */
  long waitedNs() {
    return waitedNs;
  }
}
