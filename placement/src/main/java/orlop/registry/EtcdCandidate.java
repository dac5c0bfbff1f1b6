package orlop.registry;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import orlop.registry.Registry.Subscription;

/**
 * One candidate in the election of the planner: it leads while the leader key stands under its own
 * lease and that lease was confirmed within two thirds of its time to live. One virtual thread per
 * candidate. Thread-safe.
 */
final class EtcdCandidate implements Subscription, EtcdLease.Holder {
  /*
   * The key vanishes, and another may lead, when the lease ends; the lease stands a full time to
   * live from the sending of the last confirmed keep-alive. Stopping at two thirds of that leaves a
   * third for the listener to hear of it, whatever became of etcd or the network.
   */
  private static final Logger LOG = System.getLogger(EtcdCandidate.class.getName());

  private final EtcdStore store;
  private final Broadcast broadcast;
  private final String candidateId;
  private final Consumer<Boolean> listener;
  private final Consumer<EtcdCandidate> left;
  private final ByteSequence key;
  private final EtcdLease lease;
  private final Thread thread;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  // Guarded by lock.
  private boolean lookAgain;
  private boolean closed;
  private boolean leads;

  EtcdCandidate(
      EtcdStore store,
      Keyspace keys,
      Broadcast broadcast,
      String candidateId,
      Consumer<Boolean> listener,
      Consumer<EtcdCandidate> left) {
    this.store = store;
    this.broadcast = broadcast;
    this.candidateId = candidateId;
    this.listener = listener;
    this.left = left;
    key = EtcdStore.bytes(keys.leader());
    lease = new EtcdLease(store, "candidate " + candidateId, this);
    thread = Thread.ofVirtual().name("orlop-candidate-" + candidateId).unstarted(this::stand);
  }

  void open() {
    lease.startKeeping();
    thread.start();
  }

  long leaseId() {
    return lease.id();
  }

  /** The leader key changed, or may have. */
  void look() {
    lock.lock();
    try {
      lookAgain = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void granted(long leaseId) {
    look();
  }

  @Override
  public void confirmed() {
    lock.lock();
    try {
      // A leader that stopped because its lease was in doubt may find that it stands.
      lookAgain |= !leads;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  private void stand() {
    while (await()) {
      boolean mine = false;
      if (!fenced()) {
        try {
          mine = take() && !fenced();
        } catch (RegistryException e) {
          LOG.log(Level.DEBUG, "cannot look who leads: {0}", e.getMessage());
          // Who leads stays, until the lease's end says otherwise.
          mine = leading() && !fenced();
        }
      }
      tell(mine);
    }
  }

  /** Waits for something to look at; false once closed. */
  private boolean await() {
    lock.lock();
    try {
      long left = TimeUnit.MILLISECONDS.toNanos(lease.ttlMs());
      while (!closed && !lookAgain && left > 0) {
        long step = leads ? Math.min(left, fenceNs() - System.nanoTime()) : left;
        if (step <= 0) {
          return true;
        }
        left -= step - Math.max(0, changed.awaitNanos(step));
      }
      lookAgain = false;
      return !closed;
    } catch (InterruptedException e) {
      return false;
    } finally {
      lock.unlock();
    }
  }

  private long fenceNs() {
    return lease.confirmedNs() + TimeUnit.MILLISECONDS.toNanos(lease.ttlMs() * 2 / 3);
  }

  private boolean fenced() {
    return lease.id() == 0 || System.nanoTime() - fenceNs() >= 0;
  }

  private boolean leading() {
    lock.lock();
    try {
      return leads;
    } finally {
      lock.unlock();
    }
  }

  /** Takes the leader key if it is free; whether it stands under this candidate's lease. */
  private boolean take() throws RegistryException {
    long leaseId = lease.id();
    TxnResponse answer =
        store.read(
            "stand for election",
            Math.max(500, lease.ttlMs() / 3),
            c ->
                c.getKVClient()
                    .txn()
                    .If(new Cmp(key, Cmp.Op.EQUAL, CmpTarget.createRevision(0)))
                    .Then(
                        Op.put(
                            key,
                            EtcdStore.bytes(candidateId),
                            PutOption.builder().withLeaseId(leaseId).build()))
                    .Else(Op.get(key, GetOption.DEFAULT))
                    .commit());
    if (answer.isSucceeded()) {
      return true;
    }
    for (KeyValue kv : answer.getGetResponses().getFirst().getKvs()) {
      return kv.getLease() == leaseId;
    }
    return false;
  }

  private void tell(boolean now) {
    lock.lock();
    try {
      if (leads == now || (now && closed)) {
        return;
      }
      leads = now;
    } finally {
      lock.unlock();
    }
    LOG.log(Level.INFO, now ? "{0} leads" : "{0} leads no more", candidateId);
    if (now) {
      broadcast.run(
          () -> {
            if (leading()) {
              listener.accept(true);
            }
          });
    } else {
      broadcast.run(() -> listener.accept(false));
    }
  }

  /** Tells the listener, then gives the lease up so that the next one may lead. */
  @Override
  public void close() {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    tell(false);
    awaitTold();
    lease.close();
    left.accept(this);
  }

  private void awaitTold() {
    CompletableFuture<Boolean> told = new CompletableFuture<>();
    if (broadcast.onThread() || !broadcast.run(() -> told.complete(true))) {
      return;
    }
    try {
      told.get(store.config().timeoutMs(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (ExecutionException | TimeoutException e) {
      LOG.log(Level.WARNING, "a listener of {0} does not return", candidateId);
    }
  }
}
