package orlop.registry;

import com.google.protobuf.ByteString;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Delta;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/** One pod's keys in etcd, under leases of their own. */
final class EtcdSession implements PodSession {
  /*
   * What shall stand is a map from key to the last word on it; a key is waiting, in flight or at
   * rest. At most one write per key is in flight, so writes of one key never overtake one another,
   * and what waits is bounded by the number of keys, not of calls. After a failure one write at a
   * time is tried, with growing pauses, until one succeeds.
   *
   * A write that failed may still be carried out late. So with every confirmation of the lease the
   * view, where it is as new as the last write of a key, is compared with what shall stand, and what
   * differs is written again. That also brings back what others removed.
   *
   * A load costs one put and an unload one delete. That a load has begun is held back for a moment:
   * most are over before that, and then "loaded" is the first word on the copy. A copy that leaves is
   * taken back when its unload begins, since nobody may call it from then on.
   *
   * In etcd 3.4 a put costs more the more keys share its lease, so a pod takes another lease for
   * each SessionLease.MAX_KEYS keys. The first also holds the pod's own record.
   */
  private static final Logger LOG = System.getLogger(EtcdSession.class.getName());
  private static final long FIRST_BACKOFF_MS = 50;
  private static final long MAX_BACKOFF_MS = 2_000;

  private final EtcdStore store;
  private final EtcdRecords records;
  private final SessionWords words;
  private final Supplier<MeshView> view;
  private final LongSupplier applied;
  private final Consumer<EtcdSession> left;
  private final String podId;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  // Guarded by lock.
  private final Map<String, SessionKey> entries = new LinkedHashMap<>();
  private final LinkedHashSet<SessionKey> waiting = new LinkedHashSet<>();
  private final HeldBack heldBack = new HeldBack();
  private final SessionLeases leases;
  private final TreeSet<Long> unstored = new TreeSet<>();
  private long lastRemovalAt;
  private long published;
  private int inFlight;
  private int failures;
  private long notBeforeNs;
  private boolean closed;

  EtcdSession(
      EtcdStore store,
      EtcdRecords records,
      Supplier<MeshView> view,
      LongSupplier applied,
      Pod pod,
      Consumer<EtcdSession> left) {
    this.store = store;
    this.records = records;
    this.view = view;
    this.applied = applied;
    this.left = left;
    podId = pod.id();
    words = new SessionWords(records.values(), podId);
    leases = new SessionLeases(store, podId, this::granted, this::compare);
    put(records.keys().pod(podId), new Delta.PodPut(pod));
  }

  /** Takes the lease; nothing is written yet. */
  void open() throws RegistryException {
    first().lease.open();
  }

  /**
   * Writes the pod's own record unless one stands.
   *
   * @return the one that stands and is not ours; null when the id is this session's
   */
  @Nullable KeyValue claim() throws RegistryException {
    String name = records.keys().pod(podId);
    SessionKey entry;
    Delta delta;
    long number;
    lock.lock();
    try {
      entry = Objects.requireNonNull(entries.get(name));
      delta = entry.last;
      number = entry.number;
    } finally {
      lock.unlock();
    }
    long leaseId = leaseId();
    ByteSequence key = EtcdStore.bytes(name);
    ByteSequence value = ByteSequence.from(Objects.requireNonNull(words.encode(delta)));
    PutOption underLease = PutOption.builder().withLeaseId(leaseId).build();
    TxnResponse answer =
        store.write(
            "join as pod '" + podId + "'",
            c ->
                c.getKVClient()
                    .txn()
                    .If(new Cmp(key, Cmp.Op.EQUAL, CmpTarget.createRevision(0)))
                    .Then(Op.put(key, value, underLease))
                    .Else(Op.get(key, GetOption.DEFAULT))
                    .commit());
    if (answer.isSucceeded()) {
      lock.lock();
      try {
        waiting.remove(entry);
        stored(entry, delta, number, leaseId, answer.getHeader().getRevision());
        changed.signalAll();
      } finally {
        lock.unlock();
      }
      return null;
    }
    KeyValue standing = answer.getGetResponses().getFirst().getKvs().getFirst();
    // A write whose answer was lost may have been carried out.
    return standing.getLease() == leaseId ? null : standing;
  }

  /** Writes from now on what shall stand. */
  void startWriting() {
    Thread.ofVirtual().name("orlop-session-" + podId).start(this::write);
  }

  String podId() {
    return podId;
  }

  /** The pod is not in the view: perhaps its lease was lost. */
  void missed() {
    first().lease.check();
  }

  /** The number in etcd of the lease that holds the pod's own record. */
  long leaseId() {
    return first().lease.id();
  }

  /** How many leases it has. */
  int leases() {
    lock.lock();
    try {
      return leases.all().size();
    } finally {
      lock.unlock();
    }
  }

  private SessionLease first() {
    lock.lock();
    try {
      return leases.first();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void publish(Pod pod) {
    if (!pod.id().equals(podId)) {
      throw new IllegalArgumentException(
          "this session publishes pod '" + podId + "', not '" + pod.id() + "'");
    }
    put(records.keys().pod(podId), new Delta.PodPut(pod));
  }

  @Override
  public void publish(String modelId, CopyState state, long sinceMs) {
    if (state instanceof CopyState.Unloading) {
      withdraw(modelId);
    } else {
      put(
          records.keys().copy(podId, modelId),
          new Delta.CopyPut(new Copy(modelId, podId, state, sinceMs)));
    }
  }

  @Override
  public void withdraw(String modelId) {
    lock.lock();
    try {
      String key = records.keys().copy(podId, modelId);
      SessionKey entry = entries.get(key);
      if (closed || entry == null || entry.last instanceof Delta.CopyRemoved) {
        return;
      }
      if (heldBack.remove(entry)) {
        forget(entry);
        return;
      }
      change(entry, new Delta.CopyRemoved(podId, modelId));
      enqueue(entry);
    } finally {
      lock.unlock();
    }
  }

  private void put(String key, Delta delta) {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      SessionKey entry = entries.get(key);
      boolean isNew = entry == null;
      if (entry == null) {
        entry = add(key, delta);
      }
      change(entry, delta);
      boolean begins =
          delta instanceof Delta.CopyPut(Copy copy) && copy.state() instanceof CopyState.Loading;
      if (begins && (isNew || heldBack.holds(entry))) {
        heldBack.add(entry);
        changed.signalAll();
      } else {
        heldBack.remove(entry);
        enqueue(entry);
      }
    } finally {
      lock.unlock();
    }
  }

  private SessionKey add(String key, Delta delta) {
    SessionLease share = leases.withRoom();
    share.keys++;
    SessionKey entry = new SessionKey(key, share, delta);
    entries.put(key, entry);
    return entry;
  }

  private void forget(SessionKey entry) {
    if (entries.remove(entry.key, entry)) {
      entry.share.keys--;
    }
  }

  private void change(SessionKey entry, Delta delta) {
    entry.last = delta;
    entry.number = ++published;
  }

  private void enqueue(SessionKey entry) {
    if (entry.unstoredNumber == 0) {
      entry.unstoredNumber = entry.number;
      unstored.add(entry.number);
    }
    if (waiting.add(entry)) {
      changed.signalAll();
    }
  }

  @Override
  public boolean flush(long timeoutMs) throws InterruptedException {
    lock.lockInterruptibly();
    try {
      heldBack.releaseAll(this::enqueue);
      long target = published;
      long left = TimeUnit.MILLISECONDS.toNanos(timeoutMs);
      while (!closed && !unstored.isEmpty() && unstored.first() <= target) {
        if (left <= 0) {
          return false;
        }
        left = changed.awaitNanos(left);
      }
      return !closed;
    } finally {
      lock.unlock();
    }
  }

  /** Keys whose last word is not stored yet. */
  int backlog() {
    lock.lock();
    try {
      return unstored.size();
    } finally {
      lock.unlock();
    }
  }

  // ---- writing ----

  private void write() {
    try {
      for (SessionKey entry = next(); entry != null; entry = next()) {
        send(entry);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The next key to write, now in flight; null once closed. */
  private @Nullable SessionKey next() throws InterruptedException {
    lock.lock();
    try {
      while (!closed) {
        long dueNs = heldBack.release(this::enqueue);
        long pauseNs = failures == 0 ? 0 : notBeforeNs - System.nanoTime();
        boolean full = inFlight >= (failures == 0 ? store.config().maxInFlightWrites() : 1);
        SessionKey first = full || pauseNs > 0 ? null : firstAtRest();
        if (first != null) {
          waiting.remove(first);
          first.inFlight = true;
          inFlight++;
          return first;
        }
        if (pauseNs > 0) {
          changed.awaitNanos(Math.min(pauseNs, dueNs));
        } else {
          changed.awaitNanos(dueNs);
        }
      }
      return null;
    } finally {
      lock.unlock();
    }
  }

  private @Nullable SessionKey firstAtRest() {
    for (SessionKey entry : waiting) {
      if (!entry.inFlight && entry.share.lease.id() != 0) {
        return entry;
      }
    }
    return null;
  }

  private void send(SessionKey entry) throws InterruptedException {
    Delta delta;
    long number;
    lock.lock();
    try {
      delta = entry.last;
      number = entry.number;
      // What was published since this entry was taken is covered by this write.
      waiting.remove(entry);
    } finally {
      lock.unlock();
    }
    long leaseId = entry.share.lease.id();
    ByteSequence key = EtcdStore.bytes(entry.key);
    ByteString value = words.encode(delta);
    CompletableFuture<Long> sent =
        store.startWrite(c -> start(c.getKVClient(), key, value, leaseId));
    var unused =
        sent.whenComplete(
            (revision, error) -> finished(entry, delta, number, leaseId, revision, error));
  }

  private static CompletableFuture<Long> start(
      KV kv, ByteSequence key, @Nullable ByteString value, long leaseId) {
    if (value == null) {
      return kv.delete(key).thenApply(answer -> answer.getHeader().getRevision());
    }
    PutOption underLease = PutOption.builder().withLeaseId(leaseId).build();
    return kv.put(key, ByteSequence.from(value), underLease)
        .thenApply(answer -> answer.getHeader().getRevision());
  }

  private void finished(
      SessionKey entry,
      Delta delta,
      long number,
      long leaseId,
      @Nullable Long revision,
      @Nullable Throwable error) {
    lock.lock();
    try {
      entry.inFlight = false;
      inFlight--;
      if (revision != null) {
        stored(entry, delta, number, leaseId, revision);
      } else if (error != null) {
        failed(entry, error);
      }
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    if (EtcdStore.isLeaseGone(error)) {
      entry.share.lease.check();
    }
  }

  private void stored(SessionKey entry, Delta delta, long number, long leaseId, long revision) {
    entry.storedAt = revision;
    if (failures > 0) {
      LOG.log(Level.INFO, "pod {0} publishes again", podId);
      failures = 0;
    }
    boolean removal = delta instanceof Delta.CopyRemoved;
    if (removal) {
      lastRemovalAt = revision;
    }
    if (!removal && leaseId != entry.share.lease.id()) {
      enqueue(entry);
      return;
    }
    unstored.remove(entry.unstoredNumber);
    entry.unstoredNumber = 0;
    if (entry.number != number) {
      enqueue(entry);
    } else if (removal) {
      forget(entry);
    }
  }

  private void failed(SessionKey entry, Throwable error) {
    String reason = EtcdStore.reason(EtcdStore.etcd(error));
    if (EtcdStore.isRefused(error)) {
      // Only this value is at fault: the others go on, the comparison with the view tries again.
      LOG.log(Level.WARNING, "etcd refuses {0}: {1}", entry.key, reason);
      return;
    }
    if (failures++ == 0 && !closed) {
      LOG.log(Level.WARNING, "pod {0} cannot publish, trying again: {1}", podId, reason);
    }
    long backoffMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS << Math.min(failures, 10));
    backoffMs = backoffMs / 2 + ThreadLocalRandom.current().nextLong(backoffMs / 2);
    notBeforeNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(backoffMs);
    enqueue(entry);
  }

  // ---- the lease ----

  /** A new lease stands and nothing is under it yet. */
  private void granted(SessionLease share) {
    lock.lock();
    try {
      for (SessionKey entry : entries.values()) {
        if (entry.share == share && !heldBack.holds(entry)) {
          enqueue(entry);
        }
      }
      // etcd answered just now.
      notBeforeNs = System.nanoTime();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Looks whether all stands as it shall. */
  private void compare() {
    // In this order: the view may be newer than that, never older.
    long upTo = applied.getAsLong();
    MeshView now = view.get();
    lock.lock();
    try {
      List<SessionKey> wrong = new ArrayList<>();
      for (SessionKey entry : entries.values()) {
        if (!entry.inFlight
            && !waiting.contains(entry)
            && !heldBack.holds(entry)
            && entry.storedAt <= upTo
            && !words.stands(now, entry.last)) {
          wrong.add(entry);
        }
      }
      if (lastRemovalAt <= upTo) {
        for (Copy copy : now.copiesIn(podId)) {
          String key = records.keys().copy(podId, copy.modelId());
          if (!entries.containsKey(key)) {
            wrong.add(add(key, new Delta.CopyRemoved(podId, copy.modelId())));
          }
        }
      }
      for (SessionKey entry : wrong) {
        entry.number = ++published;
        enqueue(entry);
      }
      if (!wrong.isEmpty()) {
        LOG.log(
            Level.INFO,
            "{0} keys of pod {1} do not stand as published, among them {2}; writing them again",
            wrong.size(),
            podId,
            wrong.getFirst().key);
      }
    } finally {
      lock.unlock();
    }
  }

  /** Also waits, at most the timeout of a call, for etcd to confirm. */
  @Override
  public void close() {
    List<SessionLease> all;
    lock.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      all = leases.all();
      waiting.clear();
      heldBack.clear();
      unstored.clear();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    SessionLeases.close(all, podId);
    left.accept(this);
  }

  @Override
  public String toString() {
    return Objects.toString(podId);
  }
}
