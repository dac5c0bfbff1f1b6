package orlop.registry;

import com.google.protobuf.ByteString;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KV;
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

/** One pod's keys in etcd, under a lease of their own. */
final class EtcdSession implements PodSession, EtcdLease.Holder {
  /*
   * What shall stand is a map from key to the last word on it; a key is waiting, in flight or at
   * rest. At most one write per key is in flight, so writes of one key never overtake one another,
   * and what waits is bounded by the number of keys, not of calls. After a failure one write at a
   * time is tried, with growing pauses, until one succeeds.
   *
   * A write that failed may still be carried out late. So with every confirmation of the lease the
   * view, where it is as new as the last write of a key, is compared with what shall stand, and what
   * differs is written again. That also brings back what others removed.
   */
  private static final Logger LOG = System.getLogger(EtcdSession.class.getName());
  private static final long FIRST_BACKOFF_MS = 50;
  private static final long MAX_BACKOFF_MS = 2_000;

  private final EtcdStore store;
  private final EtcdRecords records;
  private final Supplier<MeshView> view;
  private final LongSupplier applied;
  private final Consumer<EtcdSession> left;
  private final String podId;
  private final EtcdLease lease;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  // Guarded by lock.
  private final Map<String, Entry> entries = new LinkedHashMap<>();
  private final LinkedHashSet<Entry> waiting = new LinkedHashSet<>();
  private final TreeSet<Long> unstored = new TreeSet<>();
  private long lastRemovalAt;
  private long published;
  private int inFlight;
  private int failures;
  private long notBeforeNs;
  private boolean closed;

  /** One key and the last word on it. */
  private static final class Entry {
    final String key;
    Delta last;
    long number;
    // The number under which it stands in unstored; 0 when it is stored.
    long unstoredNumber;
    boolean inFlight;
    // The revision of the last write that was confirmed.
    long storedAt;

    Entry(String key, Delta last) {
      this.key = key;
      this.last = last;
    }
  }

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
    lease = new EtcdLease(store, "pod " + podId, this);
    put(records.keys().pod(podId), new Delta.PodPut(pod));
  }

  /** Takes the lease and starts to write. */
  void open() throws RegistryException {
    lease.open();
    Thread.ofVirtual().name("orlop-session-" + podId).start(this::write);
  }

  String podId() {
    return podId;
  }

  /** The pod is not in the view: perhaps its lease was lost. */
  void missed() {
    lease.check();
  }

  /** The lease's number in etcd. */
  long leaseId() {
    return lease.id();
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
    put(
        records.keys().copy(podId, modelId),
        new Delta.CopyPut(new Copy(modelId, podId, state, sinceMs)));
  }

  @Override
  public void withdraw(String modelId) {
    put(records.keys().copy(podId, modelId), new Delta.CopyRemoved(podId, modelId));
  }

  private void put(String key, Delta delta) {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      Entry entry = entries.computeIfAbsent(key, k -> new Entry(k, delta));
      entry.last = delta;
      entry.number = ++published;
      enqueue(entry);
    } finally {
      lock.unlock();
    }
  }

  private void enqueue(Entry entry) {
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
      for (Entry entry = next(); entry != null; entry = next()) {
        send(entry);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The next key to write, now in flight; null once closed. */
  private @Nullable Entry next() throws InterruptedException {
    lock.lock();
    try {
      while (!closed) {
        long pauseNs = failures == 0 ? 0 : notBeforeNs - System.nanoTime();
        boolean full = inFlight >= (failures == 0 ? store.config().maxInFlightWrites() : 1);
        Entry first = full || pauseNs > 0 ? null : firstAtRest();
        if (first != null) {
          waiting.remove(first);
          first.inFlight = true;
          inFlight++;
          return first;
        }
        if (pauseNs > 0) {
          changed.awaitNanos(pauseNs);
        } else {
          changed.await();
        }
      }
      return null;
    } finally {
      lock.unlock();
    }
  }

  private @Nullable Entry firstAtRest() {
    for (Entry entry : waiting) {
      if (!entry.inFlight) {
        return entry;
      }
    }
    return null;
  }

  private void send(Entry entry) throws InterruptedException {
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
    long leaseId = lease.id();
    ByteSequence key = EtcdStore.bytes(entry.key);
    ByteString value = encode(delta);
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

  private @Nullable ByteString encode(Delta delta) {
    return switch (delta) {
      case Delta.PodPut(Pod pod) -> records.values().encode(pod);
      case Delta.CopyPut(Copy copy) -> records.values().encode(copy);
      case Delta.CopyRemoved removed -> null;
      case Delta.PodRemoved removed -> null;
      case Delta.ModelPut put -> throw new IllegalStateException(put.toString());
      case Delta.ModelRemoved removed -> throw new IllegalStateException(removed.toString());
      case Delta.AliasPut put -> throw new IllegalStateException(put.toString());
      case Delta.AliasRemoved removed -> throw new IllegalStateException(removed.toString());
    };
  }

  private void finished(
      Entry entry,
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
      lease.check();
    }
  }

  private void stored(Entry entry, Delta delta, long number, long leaseId, long revision) {
    entry.storedAt = revision;
    if (failures > 0) {
      LOG.log(Level.INFO, "pod {0} publishes again", podId);
      failures = 0;
    }
    boolean removal = delta instanceof Delta.CopyRemoved;
    if (removal) {
      lastRemovalAt = revision;
    }
    if (!removal && leaseId != lease.id()) {
      enqueue(entry);
      return;
    }
    unstored.remove(entry.unstoredNumber);
    entry.unstoredNumber = 0;
    if (entry.number != number) {
      enqueue(entry);
    } else if (removal) {
      entries.remove(entry.key, entry);
    }
  }

  private void failed(Entry entry, Throwable error) {
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

  @Override
  public void granted(long leaseId) {
    lock.lock();
    try {
      entries.values().forEach(this::enqueue);
      // etcd answered just now.
      notBeforeNs = System.nanoTime();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void confirmed() {
    // In this order: the view may be newer than that, never older.
    long upTo = applied.getAsLong();
    MeshView now = view.get();
    lock.lock();
    try {
      List<Entry> wrong = new ArrayList<>();
      for (Entry entry : entries.values()) {
        if (!entry.inFlight
            && !waiting.contains(entry)
            && entry.storedAt <= upTo
            && !stands(now, entry.last)) {
          wrong.add(entry);
        }
      }
      if (lastRemovalAt <= upTo) {
        for (Copy copy : now.copiesIn(podId)) {
          String key = records.keys().copy(podId, copy.modelId());
          if (!entries.containsKey(key)) {
            Entry ghost = new Entry(key, new Delta.CopyRemoved(podId, copy.modelId()));
            entries.put(key, ghost);
            wrong.add(ghost);
          }
        }
      }
      for (Entry entry : wrong) {
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

  private boolean stands(MeshView now, Delta delta) {
    return switch (delta) {
      case Delta.PodPut(Pod pod) -> {
        Pod seen = now.pod(podId);
        yield seen != null
            && (seen.equals(pod)
                || records.values().encode(seen).equals(records.values().encode(pod)));
      }
      case Delta.CopyPut(Copy copy) -> {
        Copy seen = now.copy(podId, copy.modelId());
        yield seen != null
            && (seen.equals(copy)
                || records.values().encode(seen).equals(records.values().encode(copy)));
      }
      case Delta.CopyRemoved(String pod, String modelId) -> now.copy(pod, modelId) == null;
      case Delta.PodRemoved removed -> true;
      case Delta.ModelPut put -> true;
      case Delta.ModelRemoved removed -> true;
      case Delta.AliasPut put -> true;
      case Delta.AliasRemoved removed -> true;
    };
  }

  /** Also waits, at most the timeout of a call, for etcd to confirm. */
  @Override
  public void close() {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      waiting.clear();
      unstored.clear();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    lease.close();
    left.accept(this);
  }

  @Override
  public String toString() {
    return Objects.toString(podId);
  }
}
