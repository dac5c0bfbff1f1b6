package orlop.registry;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.Response;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.OptionsUtil;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import io.etcd.jetcd.watch.WatchResponse;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import orlop.placement.Delta;
import orlop.placement.MeshView;

/**
 * The view that follows etcd: everything read once at one revision, then one watch of the mesh's
 * prefix from the next revision on. Thread-safe.
 */
final class EtcdFeed implements AutoCloseable {
  /*
   * The client library resumes a broken watch by itself, but from the revision that the watch's
   * creation was answered with, which skips what it had not yet delivered. So a watch is never
   * resumed: on any error it is closed and a new one starts behind the last event applied here. A
   * response of a closed watch is told by its generation.
   *
   * Changes are decoded on the client's thread and applied on one of our own, all that wait in one
   * step: the next view copies the parts it changes, so many small steps would cost far more than
   * one large one. When MAX_WAITING changes wait, the client's thread waits too, and etcd is held
   * back by flow control.
   *
   * Everything is read again when etcd has compacted what the watch missed, or when its revision
   * went backwards (restored or replaced).
   */
  private static final Logger LOG = System.getLogger(EtcdFeed.class.getName());
  private static final long FIRST_BACKOFF_MS = 50;
  private static final long MAX_BACKOFF_MS = 2_000;
  private static final int MAX_WAITING = 20_000;

  private final EtcdStore store;
  private final EtcdRecords records;
  private final ByteSequence prefix;
  private final ByteSequence prefixEnd;
  private final Broadcast broadcast;
  private final Runnable electionChanged;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  // Guarded by lock, all of these.
  private final PriorityQueue<Writer> writers =
      new PriorityQueue<>(Comparator.comparingLong(Writer::revision));
  private volatile MeshView view = MeshView.empty();
  private List<Delta> waiting = new ArrayList<>();
  // The watch has brought all up to here; the view holds all up to there.
  private long received;
  private long applied;
  private long clusterId;
  private int generation;
  private Watch.@Nullable Watcher watcher;
  private @Nullable String broken;
  private boolean readAgain;
  private boolean closed;
  private long fullReads;

  /** One who waits until the view holds what was written at the revision; woken alone. */
  private record Writer(long revision, Condition seen) {}

  EtcdFeed(EtcdStore store, EtcdRecords records, Broadcast broadcast, Runnable electionChanged) {
    this.store = store;
    this.records = records;
    this.broadcast = broadcast;
    this.electionChanged = electionChanged;
    prefix = EtcdStore.bytes(records.keys().prefix());
    prefixEnd = OptionsUtil.prefixEndOf(prefix);
  }

  /** Reads everything and starts to follow. */
  void open() throws RegistryException {
    readAll();
    watch();
    Thread.ofPlatform().daemon().name("orlop-registry-view").start(this::applyWaiting);
    Thread.ofVirtual().name("orlop-registry-mend").start(this::mend);
  }

  MeshView view() {
    return view;
  }

  long fullReads() {
    lock.lock();
    try {
      return fullReads;
    } finally {
      lock.unlock();
    }
  }

  /** Waits, at most {@code timeoutMs}, until the view holds what was written at the revision. */
  void awaitApplied(long revision, long timeoutMs) {
    lock.lock();
    try {
      if (applied >= revision) {
        return;
      }
      Writer writer = new Writer(revision, lock.newCondition());
      writers.add(writer);
      try {
        long left = TimeUnit.MILLISECONDS.toNanos(timeoutMs);
        while (applied < revision && !closed && left > 0) {
          if (!writers.contains(writer)) {
            // It was shown, and then a store of lower revisions took its place.
            return;
          }
          left = writer.seen.awaitNanos(left);
        }
      } finally {
        writers.remove(writer);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      lock.unlock();
    }
  }

  /** Waits, at most {@code timeoutMs}, until the view is as asked. */
  void await(Predicate<MeshView> condition, long timeoutMs) {
    lock.lock();
    try {
      long left = TimeUnit.MILLISECONDS.toNanos(timeoutMs);
      while (!condition.test(view) && !closed && left > 0) {
        left = changed.awaitNanos(left);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      lock.unlock();
    }
  }

  /** The view holds all up to this revision, perhaps more. */
  long applied() {
    lock.lock();
    try {
      return applied;
    } finally {
      lock.unlock();
    }
  }

  /** The revision up to which the watch has brought all. */
  long received() {
    lock.lock();
    try {
      return received;
    } finally {
      lock.unlock();
    }
  }

  /**
   * Looks whether an answer comes from the store that the view follows.
   *
   * @param before what had been received when the question was sent
   */
  void check(Response.Header header, long before) {
    lock.lock();
    try {
      if (header.getRevision() < before || header.getClusterId() != clusterId) {
        LOG.log(
            Level.WARNING,
            "etcd at {0} is at revision {1} but was at {2}: it was restored or replaced, reading all again",
            store.config().endpoints(),
            header.getRevision(),
            before);
        breakWatch("the store was replaced", true);
      }
    } finally {
      lock.unlock();
    }
  }

  // ---- reading everything ----

  private void readAll() throws RegistryException {
    long start = System.nanoTime();
    EtcdRecords.Snapshot snapshot = readPages();
    lock.lock();
    try {
      received = snapshot.revision();
      clusterId = snapshot.clusterId();
      fullReads++;
      waiting = new ArrayList<>();
      show(snapshot.view(view), received);
    } finally {
      lock.unlock();
    }
    LOG.log(
        Level.INFO,
        "read {0} keys under {1} at revision {2} in {3} ms",
        snapshot.size(),
        records.keys().prefix(),
        snapshot.revision(),
        TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start));
    electionChanged.run();
  }

  private EtcdRecords.Snapshot readPages() throws RegistryException {
    int pageKeys = store.config().pageKeys();
    while (true) {
      try {
        return readPages(pageKeys);
      } catch (RegistryException e) {
        if (EtcdStore.isCompacted(e.getCause())) {
          LOG.log(Level.INFO, "compacted while reading; reading anew");
        } else if (EtcdStore.isTooLarge(e.getCause()) && pageKeys > 1) {
          pageKeys = Math.max(1, pageKeys / 4);
        } else {
          throw e;
        }
      }
    }
  }

  private EtcdRecords.Snapshot readPages(int pageKeys) throws RegistryException {
    EtcdRecords.Snapshot snapshot = null;
    ByteSequence from = prefix;
    while (true) {
      GetOption.Builder option = GetOption.builder().withRange(prefixEnd).withLimit(pageKeys);
      if (snapshot != null) {
        option.withRevision(snapshot.revision());
      }
      ByteSequence first = from;
      GetResponse page =
          store.read(
              "read the keys under " + records.keys().prefix(),
              c -> c.getKVClient().get(first, option.build()));
      if (snapshot == null) {
        snapshot =
            records.snapshot(page.getHeader().getRevision(), page.getHeader().getClusterId());
      }
      for (KeyValue kv : page.getKvs()) {
        snapshot.add(kv);
      }
      if (!page.isMore() || page.getKvs().isEmpty()) {
        return snapshot;
      }
      from = page.getKvs().getLast().getKey().concat(ByteSequence.from(new byte[1]));
    }
  }

  // ---- following ----

  private void watch() {
    int mine;
    long from;
    lock.lock();
    try {
      if (closed) {
        return;
      }
      mine = ++generation;
      from = received + 1;
      broken = null;
    } finally {
      lock.unlock();
    }
    WatchOption option =
        WatchOption.builder()
            .withRange(prefixEnd)
            .withRevision(from)
            .withRequireLeader(true)
            .build();
    Watch.Watcher started;
    try {
      started = startWatch(mine, option);
    } catch (RuntimeException e) {
      // The client was closed under us, to be replaced by another.
      broke(mine, e);
      return;
    }
    lock.lock();
    try {
      if (generation == mine && !closed) {
        watcher = started;
        return;
      }
    } finally {
      lock.unlock();
    }
    started.close();
  }

  private Watch.Watcher startWatch(int mine, WatchOption option) {
    Watch.Listener listener =
        Watch.listener(
            response -> receive(mine, response),
            error -> broke(mine, error),
            () -> broke(mine, null));
    return store.client().getWatchClient().watch(prefix, option, listener);
  }

  private void receive(int from, WatchResponse response) {
    boolean election = false;
    lock.lock();
    try {
      while (waiting.size() >= MAX_WAITING && from == generation && !closed) {
        changed.awaitUninterruptibly();
      }
      if (from != generation || closed || broken != null) {
        return;
      }
      long last = received;
      for (WatchEvent event : response.getEvents()) {
        KeyValue kv = event.getKeyValue();
        if (kv.getModRevision() <= received) {
          continue;
        }
        last = Math.max(last, kv.getModRevision());
        election |= records.isElection(kv.getKey());
        Delta delta = records.delta(kv, event.getEventType() == WatchEvent.EventType.PUT);
        if (delta != null) {
          waiting.add(delta);
        }
      }
      received = last;
      changed.signalAll();
    } catch (RuntimeException e) {
      // A defect here must not end the watch silently.
      LOG.log(Level.ERROR, "cannot take changes, reading all again: " + e);
      breakWatch("a change could not be taken", true);
    } finally {
      lock.unlock();
    }
    if (election) {
      electionChanged.run();
    }
  }

  /** Makes views of what was received, for as long as the feed is open. */
  private void applyWaiting() {
    while (true) {
      List<Delta> deltas;
      MeshView base;
      long upTo;
      lock.lock();
      try {
        while (applied >= received && !closed) {
          changed.awaitUninterruptibly();
        }
        if (closed) {
          return;
        }
        deltas = waiting;
        waiting = new ArrayList<>();
        base = view;
        upTo = received;
      } finally {
        lock.unlock();
      }
      MeshView next = deltas.isEmpty() ? base : base.with(deltas, upTo);
      lock.lock();
      try {
        // Else everything was read again meanwhile.
        if (view == base) {
          show(next, upTo);
        }
      } finally {
        lock.unlock();
      }
    }
  }

  private void show(MeshView next, long upTo) {
    boolean news = next != view;
    view = next;
    applied = upTo;
    changed.signalAll();
    for (Writer first = writers.peek();
        first != null && first.revision <= upTo;
        first = writers.peek()) {
      writers.remove().seen.signal();
    }
    if (news) {
      broadcast.offer(next);
    }
  }

  private void broke(int from, @Nullable Throwable error) {
    lock.lock();
    try {
      if (from == generation && !closed && broken == null) {
        breakWatch(
            error == null ? "it ended" : EtcdStore.reason(error), EtcdStore.isCompacted(error));
      }
    } finally {
      lock.unlock();
    }
  }

  private void breakWatch(String why, boolean compacted) {
    broken = why;
    readAgain |= compacted;
    changed.signalAll();
  }

  /** Puts a new watch in the place of a broken one, for as long as the feed is open. */
  private void mend() {
    long backoffMs = FIRST_BACKOFF_MS;
    long mendedNs = System.nanoTime();
    while (true) {
      Watch.Watcher old;
      boolean all;
      lock.lock();
      try {
        while (broken == null && !closed) {
          changed.awaitUninterruptibly();
        }
        if (closed) {
          return;
        }
        LOG.log(Level.INFO, "the watch broke off ({0}); the view stays, watching anew", broken);
        all = readAgain;
        generation++;
        old = watcher;
        watcher = null;
      } finally {
        lock.unlock();
      }
      if (old != null) {
        old.close();
      }
      if (System.nanoTime() - mendedNs > TimeUnit.SECONDS.toNanos(10)) {
        backoffMs = FIRST_BACKOFF_MS;
      }
      EtcdStore.pause(backoffMs / 2 + ThreadLocalRandom.current().nextLong(backoffMs / 2));
      backoffMs = Math.min(MAX_BACKOFF_MS, backoffMs * 2);
      if (all && !readAllAgain()) {
        continue;
      }
      watch();
      mendedNs = System.nanoTime();
    }
  }

  private boolean readAllAgain() {
    try {
      readAll();
      lock.lock();
      try {
        readAgain = false;
      } finally {
        lock.unlock();
      }
      return true;
    } catch (RegistryException e) {
      LOG.log(Level.WARNING, "cannot read all again yet: {0}", e.getMessage());
      return false;
    }
  }

  @Override
  public void close() {
    Watch.Watcher old;
    lock.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      old = watcher;
      watcher = null;
      changed.signalAll();
      writers.forEach(writer -> writer.seen.signal());
    } finally {
      lock.unlock();
    }
    if (old != null) {
      old.close();
    }
  }
}
