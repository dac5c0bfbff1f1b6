package orlop.registry;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import orlop.registry.Registry.Subscription;

/**
 * One candidate in the election of the planner: it leads, or is next, while that key stands under
 * its own lease and the lease was confirmed within two thirds of its time to live. While somebody
 * is next nobody else takes the leader's key. One virtual thread per candidate. Thread-safe.
 */
final class EtcdCandidate implements Subscription, EtcdLease.Holder {
  /*
   * The key vanishes, and another may lead, when the lease ends; the lease stands a full time to
   * live from the sending of the last confirmed keep-alive. Stopping at two thirds of that leaves a
   * third for the listener to hear of it, whatever became of etcd or the network.
   */
  private static final Logger LOG = System.getLogger(EtcdCandidate.class.getName());

  /**
   * Each look that finds the keys changed in between is repeated; the next change wakes it anew.
   */
  private static final int MOST_LOOKS = 4;

  private final EtcdStore store;
  private final Broadcast broadcast;
  private final String candidateId;
  private final Consumer<Standing> listener;
  private final Consumer<EtcdCandidate> left;
  private final ByteSequence leader;
  private final ByteSequence next;
  private final EtcdLease lease;
  private final Thread thread;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  // Guarded by lock.
  private boolean lookAgain;
  private boolean closed;
  private Standing standing = Standing.NONE;

  EtcdCandidate(
      EtcdStore store,
      Keyspace keys,
      Broadcast broadcast,
      String candidateId,
      Consumer<Standing> listener,
      Consumer<EtcdCandidate> left) {
    this.store = store;
    this.broadcast = broadcast;
    this.candidateId = candidateId;
    this.listener = listener;
    this.left = left;
    leader = EtcdStore.bytes(keys.leader());
    next = EtcdStore.bytes(keys.next());
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

  /** A key of the election changed, or may have. */
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
      lookAgain |= !standing.leads();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  private void stand() {
    while (await()) {
      Standing now = Standing.NONE;
      if (!fenced()) {
        try {
          now = take();
        } catch (RegistryException e) {
          LOG.log(Level.DEBUG, "cannot look who leads: {0}", e.getMessage());
          // Who leads stays, until the lease's end says otherwise.
          now = standing();
        }
      }
      tell(fenced() ? Standing.NONE : now);
    }
  }

  /** Waits for something to look at; false once closed. */
  private boolean await() {
    lock.lock();
    try {
      long left = TimeUnit.MILLISECONDS.toNanos(lease.ttlMs());
      while (!closed && !lookAgain && left > 0) {
        boolean holds = standing.place() != Standing.Place.WAITS;
        long step = holds ? Math.min(left, fenceNs() - System.nanoTime()) : left;
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

  private Standing standing() {
    lock.lock();
    try {
      return standing;
    } finally {
      lock.unlock();
    }
  }

  /** Takes what is free and its to take. */
  private Standing take() throws RegistryException {
    long leaseId = lease.id();
    for (int i = 0; i < MOST_LOOKS; i++) {
      TxnResponse seen = txn(new Cmp[0], get(leader), get(next));
      KeyValue leads = only(seen, 0);
      KeyValue follows = only(seen, 1);
      boolean mine = follows != null && follows.getLease() == leaseId;
      if (leads == null) {
        if (follows != null && !mine) {
          return Standing.NONE;
        }
        if (lead(leaseId, follows)) {
          return new Standing(Standing.Place.LEADS, candidateId);
        }
        continue;
      }
      if (leads.getLease() == leaseId) {
        if (follows != null && mine) {
          stepAside(follows);
        }
        return new Standing(Standing.Place.LEADS, candidateId);
      }
      String leaderId = leads.getValue().toString(StandardCharsets.UTF_8);
      if (mine || (follows == null && follow(leaseId))) {
        return new Standing(Standing.Place.NEXT, leaderId);
      }
      if (follows != null) {
        return new Standing(Standing.Place.WAITS, leaderId);
      }
    }
    return Standing.NONE;
  }

  /**
   * @param mine the key of who is next, when it is this one
   */
  private boolean lead(long leaseId, @Nullable KeyValue mine) throws RegistryException {
    return txn(
            new Cmp[] {free(leader), nextIs(mine)},
            put(leader, leaseId),
            Op.delete(next, DeleteOption.DEFAULT))
        .isSucceeded();
  }

  private boolean follow(long leaseId) throws RegistryException {
    return txn(new Cmp[] {free(next)}, put(next, leaseId)).isSucceeded();
  }

  /** A wish to be next that was given up and carried out after all keeps all others from it. */
  private void stepAside(KeyValue mine) throws RegistryException {
    var unused = txn(new Cmp[] {nextIs(mine)}, Op.delete(next, DeleteOption.DEFAULT));
  }

  private TxnResponse txn(Cmp[] conditions, Op... then) throws RegistryException {
    return store.read(
        "stand for election",
        Math.max(500, lease.ttlMs() / 3),
        c -> c.getKVClient().txn().If(conditions).Then(then).commit());
  }

  private static Cmp free(ByteSequence key) {
    return new Cmp(key, Cmp.Op.EQUAL, CmpTarget.createRevision(0));
  }

  private Cmp nextIs(@Nullable KeyValue seen) {
    long revision = seen == null ? 0 : seen.getModRevision();
    return new Cmp(next, Cmp.Op.EQUAL, CmpTarget.modRevision(revision));
  }

  private Op put(ByteSequence key, long leaseId) {
    PutOption option = PutOption.builder().withLeaseId(leaseId).build();
    return Op.put(key, EtcdStore.bytes(candidateId), option);
  }

  private static Op get(ByteSequence key) {
    return Op.get(key, GetOption.DEFAULT);
  }

  private static @Nullable KeyValue only(TxnResponse answer, int i) {
    List<KeyValue> found = answer.getGetResponses().get(i).getKvs();
    return found.isEmpty() ? null : found.getFirst();
  }

  private void tell(Standing now) {
    lock.lock();
    try {
      if (standing.equals(now) || (closed && now != Standing.NONE)) {
        return;
      }
      if (standing.place() != now.place()) {
        LOG.log(Level.INFO, "{0}: {1} after {2}", candidateId, now.place(), standing.place());
      }
      standing = now;
    } finally {
      lock.unlock();
    }
    broadcast.run(
        () -> {
          // What may be done needs to be true still; what may not be done is always told.
          if (now.place() == Standing.Place.WAITS || standing().equals(now)) {
            listener.accept(now);
          }
        });
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
    tell(Standing.NONE);
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
