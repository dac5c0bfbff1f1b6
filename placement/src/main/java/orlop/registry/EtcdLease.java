package orlop.registry;

import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A lease that is held as long as this object is open: kept alive every third of its time to live,
 * taken anew once etcd says that it is gone. One virtual thread per lease. Thread-safe.
 */
final class EtcdLease implements AutoCloseable {
  /*
   * The client library's own keep-alive gives up for good when an outage outlasts the lease,
   * although etcd grants the full time again after a restart, so this class asks by itself: an
   * answer "not found" is the only proof of loss; silence only means to ask again.
   */
  private static final Logger LOG = System.getLogger(EtcdLease.class.getName());
  private static final long FIRST_BACKOFF_MS = 100;

  /** Hears of the lease on its thread; must not block for long. */
  interface Holder {
    /** A new lease stands; nothing is under it yet. */
    void granted(long leaseId);

    /** etcd confirmed the lease, again; every third of its time to live. */
    void confirmed();
  }

  private final EtcdStore store;
  private final String owner;
  private final Holder holder;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition wake = lock.newCondition();
  private boolean checkNow;
  private boolean closed;
  private volatile long id;
  private volatile long confirmedNs;
  private volatile long ttlMs;

  EtcdLease(EtcdStore store, String owner, Holder holder) {
    this.store = store;
    this.owner = owner;
    this.holder = holder;
    ttlMs = seconds(store) * 1_000;
  }

  private static long seconds(EtcdStore store) {
    return (store.config().leaseTtlMs() + 999) / 1_000;
  }

  /** Takes the lease and starts to keep it. */
  void open() throws RegistryException {
    grant();
    startKeeping();
  }

  /** Starts to take and keep the lease in the background. */
  void startKeeping() {
    Thread.ofVirtual().name("orlop-lease-" + owner).start(this::keep);
  }

  /** The lease; 0 before the first. It may be lost already. */
  long id() {
    return id;
  }

  long ttlMs() {
    return ttlMs;
  }

  /**
   * The moment of {@link System#nanoTime} at which the last confirmed request was sent: the lease
   * stands at least {@link #ttlMs} from then.
   */
  long confirmedNs() {
    return confirmedNs;
  }

  /** Makes the lease be looked at now, because a write under it failed. */
  void check() {
    lock.lock();
    try {
      checkNow = true;
      wake.signalAll();
    } finally {
      lock.unlock();
    }
  }

  private void grant() throws RegistryException {
    long sent = System.nanoTime();
    var granted =
        store.read("take a lease for " + owner, c -> c.getLeaseClient().grant(seconds(store)));
    lock.lock();
    try {
      if (!closed) {
        ttlMs = granted.getTTL() * 1_000;
        confirmedNs = sent;
        id = granted.getID();
      }
    } finally {
      lock.unlock();
    }
    if (id != granted.getID()) {
      revoke(granted.getID());
      return;
    }
    holder.granted(granted.getID());
  }

  private void keep() {
    boolean failing = false;
    long backoffMs = FIRST_BACKOFF_MS;
    long waitMs = id == 0 ? 0 : ttlMs / 3;
    while (sleep(waitMs)) {
      try {
        if (id == 0 || !confirm()) {
          if (id != 0) {
            LOG.log(Level.WARNING, "the lease of {0} was lost; taking a new one", owner);
          }
          grant();
        }
        if (failing) {
          LOG.log(Level.INFO, "the lease of {0} is kept alive again", owner);
        }
        failing = false;
        backoffMs = FIRST_BACKOFF_MS;
        waitMs = ttlMs / 3;
      } catch (RegistryException e) {
        if (!failing) {
          LOG.log(Level.WARNING, "the lease of " + owner + " is in doubt: " + e.getMessage());
        }
        failing = true;
        waitMs = backoffMs / 2 + ThreadLocalRandom.current().nextLong(backoffMs / 2 + 1);
        backoffMs = Math.min(backoffMs * 2, Math.max(FIRST_BACKOFF_MS, ttlMs / 6));
      }
    }
  }

  /** Whether the lease stands. */
  private boolean confirm() throws RegistryException {
    long sent = System.nanoTime();
    try {
      LeaseKeepAliveResponse kept =
          store.read(
              "keep the lease of " + owner,
              Math.min(store.config().timeoutMs(), Math.max(500, ttlMs / 3)),
              c -> c.getLeaseClient().keepAliveOnce(id));
      confirmedNs = sent;
      ttlMs = kept.getTTL() * 1_000;
    } catch (RegistryException e) {
      if (e.getCause() != null && EtcdStore.isLeaseGone(e.getCause())) {
        return false;
      }
      throw e;
    }
    holder.confirmed();
    return true;
  }

  /** Waits; false once closed. */
  private boolean sleep(long ms) {
    lock.lock();
    try {
      long left = TimeUnit.MILLISECONDS.toNanos(ms);
      while (!closed && !checkNow && left > 0) {
        left = wake.awaitNanos(left);
      }
      checkNow = false;
      return !closed;
    } catch (InterruptedException e) {
      return false;
    } finally {
      lock.unlock();
    }
  }

  private void revoke(long lease) {
    try {
      store.read(
          "give up the lease of " + owner,
          store.farewellMs(),
          c -> c.getLeaseClient().revoke(lease));
    } catch (RegistryException e) {
      if (!EtcdStore.isLeaseGone(e.getCause())) {
        LOG.log(
            Level.WARNING,
            "the lease of "
                + owner
                + " could not be given up, its keys stay until it ends in "
                + ttlMs
                + " ms: "
                + e.getMessage());
      }
    }
  }

  /** Gives the lease up; the keys under it vanish. Idempotent. */
  @Override
  public void close() {
    long last;
    lock.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      last = id;
      wake.signalAll();
    } finally {
      lock.unlock();
    }
    if (last != 0) {
      revoke(last);
    }
  }
}
