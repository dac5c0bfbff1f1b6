package orlop.registry;

import com.google.protobuf.ByteString;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.PutOption;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.Delta;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;

/**
 * The registry in etcd, shared by all processes of the mesh.
 *
 * <p>A write is in this client's view when it returns. A write that fails with {@link
 * RegistryException} for lack of an answer may still have been carried out; the message says so.
 * Source: the etcd v3 API, <a href="https://etcd.io/docs/v3.4/learning/api/">etcd.io</a>.
 */
public final class EtcdRegistry implements Registry {
  private static final System.Logger LOG = System.getLogger(EtcdRegistry.class.getName());

  private static final long PROBE_MS = 2_000;
  private static final long LATELY_MS = 3 * PROBE_MS;
  private static final long KNOCK_MS = 200;
  private static final long RECONNECT_PATIENCE_MS = 1_000;
  private static final long SILENCE_MS = 20_000;

  private final EtcdStore store;
  private final Keyspace keys;
  private final EtcdRecords records;
  private final Broadcast broadcast = new Broadcast("orlop-registry", MeshView.empty());
  private final EtcdFeed feed;
  private final EtcdCreates creates;
  private final Set<EtcdSession> sessions = ConcurrentHashMap.newKeySet();
  private final Set<EtcdCandidate> candidates = ConcurrentHashMap.newKeySet();

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition ended = lock.newCondition();
  // Guarded by lock.
  private boolean closed;
  private volatile boolean answers = true;
  private volatile long answeredNs = System.nanoTime();

  private EtcdRegistry(RegistryConfig config) throws RegistryException {
    keys = new Keyspace(config.root(), config.mesh());
    records = new EtcdRecords(keys);
    store = new EtcdStore(config);
    feed = new EtcdFeed(store, records, broadcast, this::electionChanged);
    creates = new EtcdCreates(store, records);
  }

  /** Connects and reads everything, both within the configured timeout each. */
  public static EtcdRegistry connect(RegistryConfig config) throws RegistryException {
    EtcdRegistry registry = new EtcdRegistry(config);
    try {
      registry.store.awaitReachable();
      registry.feed.open();
      registry.broadcast.listen(registry::missOwnPods);
      Thread.ofVirtual().name("orlop-registry-probe").start(registry::probe);
      return registry;
    } catch (RegistryException | RuntimeException e) {
      registry.close();
      throw e;
    }
  }

  @Override
  public MeshView view() {
    return feed.view();
  }

  @Override
  public Subscription listen(Consumer<MeshView> listener) {
    return broadcast.listen(listener);
  }

  /** Values found so far that this version cannot read; their keys are not in the view. */
  public long unreadableValues() {
    return records.unreadable();
  }

  // ---- models and aliases ----

  @Override
  public Model createModel(Model model) throws RegistryException {
    EtcdCreates.Created created = creates.create(model);
    seen(created.revision());
    return created.standing();
  }

  @Override
  public boolean deleteModel(String modelId) throws RegistryException {
    ByteSequence key = EtcdStore.bytes(keys.model(modelId));
    var answer = store.write("delete model '" + modelId + "'", c -> c.getKVClient().delete(key));
    if (answer.getDeleted() == 0) {
      return false;
    }
    seen(answer.getHeader().getRevision());
    return true;
  }

  @Override
  public boolean compareAndSetAlias(String name, @Nullable Alias expected, @Nullable Alias next)
      throws RegistryException {
    Aliases.check(name, expected, next);
    ByteSequence key = EtcdStore.bytes(keys.alias(name));
    long giveUpNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(store.config().timeoutMs());
    while (true) {
      // The compare is by revision, not by bytes, so that versions with other fields agree.
      KeyValue standing = get(key, "read alias '" + name + "'");
      Alias now =
          standing != null && records.delta(standing, true) instanceof Delta.AliasPut(Alias a)
              ? a
              : null;
      if (!Objects.equals(now, expected)) {
        seen(standing == null ? 0 : standing.getModRevision());
        return false;
      }
      if (expected == null && next == null) {
        return true;
      }
      if (replace(name, key, standing, next)) {
        return true;
      }
      if (System.nanoTime() - giveUpNs > 0) {
        throw new RegistryException(
            "alias '%s' is changed by others all the time; nothing was written".formatted(name),
            null);
      }
    }
  }

  private boolean replace(
      String name, ByteSequence key, @Nullable KeyValue standing, @Nullable Alias next)
      throws RegistryException {
    Cmp unchanged =
        standing == null
            ? absent(key)
            : new Cmp(key, Cmp.Op.EQUAL, CmpTarget.modRevision(standing.getModRevision()));
    Op change =
        next == null
            ? Op.delete(key, DeleteOption.DEFAULT)
            : Op.put(key, value(records.values().encode(next)), PutOption.DEFAULT);
    TxnResponse answer =
        store.write(
            "change alias '" + name + "'",
            c -> c.getKVClient().txn().If(unchanged).Then(change).commit());
    if (answer.isSucceeded()) {
      seen(answer.getHeader().getRevision());
    }
    return answer.isSucceeded();
  }

  private @Nullable KeyValue get(ByteSequence key, String what) throws RegistryException {
    List<KeyValue> found = store.read(what, c -> c.getKVClient().get(key)).getKvs();
    return found.isEmpty() ? null : found.getFirst();
  }

  private static Cmp absent(ByteSequence key) {
    return new Cmp(key, Cmp.Op.EQUAL, CmpTarget.createRevision(0));
  }

  private static ByteSequence value(ByteString bytes) {
    return ByteSequence.from(bytes);
  }

  private void seen(long revision) {
    feed.awaitApplied(revision, store.config().timeoutMs());
  }

  // ---- pods and the election ----

  @Override
  public PodSession join(Pod pod) throws RegistryException {
    EtcdSession session =
        new EtcdSession(store, records, feed::view, feed::applied, pod, sessions::remove);
    lock.lock();
    try {
      checkOpen();
      sessions.add(session);
    } finally {
      lock.unlock();
    }
    try {
      session.open();
      claim(session, pod);
      session.startWriting();
      if (!session.flush(store.config().timeoutMs())) {
        throw new RegistryException(
            "etcd at %s did not store pod '%s' within %d ms"
                .formatted(store.config().endpoints(), pod.id(), store.config().timeoutMs()),
            null);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      session.close();
      throw new RegistryException("interrupted while joining as pod '" + pod.id() + "'", e);
    } catch (RegistryException e) {
      session.close();
      throw e;
    }
    feed.await(view -> view.pod(pod.id()) != null, store.config().timeoutMs());
    return session;
  }

  /**
   * Makes the pod's id its own. What a predecessor at the same address left is cleared away, since
   * only one process can listen there; another pod is given the time in which a dead one's lease
   * ends.
   */
  private void claim(EtcdSession session, Pod pod) throws RegistryException {
    long patienceMs = store.config().leaseTtlMs() + PROBE_MS;
    long giveUpNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(patienceMs);
    while (true) {
      KeyValue standing = session.claim();
      if (standing == null) {
        return;
      }
      String address =
          records.delta(standing, true) instanceof Delta.PodPut(Pod other) ? other.address() : "?";
      if (address.equals(pod.address())) {
        long lease = standing.getLease();
        store.read(
            "end what is left of pod '" + pod.id() + "'", c -> c.getLeaseClient().revoke(lease));
      } else if (System.nanoTime() - giveUpNs > 0 || isClosed()) {
        throw new RegistryException(
            "pod '%s' is in the mesh already, at %s, and did not leave within %d ms; ids must be unique, give this pod at %s another"
                .formatted(pod.id(), address, patienceMs, pod.address()),
            null);
      } else {
        feed.await(view -> view.pod(pod.id()) == null, Math.min(PROBE_MS, patienceMs));
      }
    }
  }

  @Override
  public Subscription campaign(String candidateId, Consumer<Standing> listener) {
    EtcdCandidate candidate =
        new EtcdCandidate(store, keys, broadcast, candidateId, listener, candidates::remove);
    lock.lock();
    try {
      if (closed) {
        return () -> {};
      }
      candidates.add(candidate);
    } finally {
      lock.unlock();
    }
    candidate.open();
    return candidate;
  }

  private void missOwnPods(MeshView view) {
    for (EtcdSession session : sessions) {
      if (view.pod(session.podId()) == null) {
        session.missed();
      }
    }
  }

  private void electionChanged() {
    candidates.forEach(EtcdCandidate::look);
  }

  // ---- the connection ----

  @Override
  public boolean connected() {
    return answers
        && System.nanoTime() - answeredNs < TimeUnit.MILLISECONDS.toNanos(LATELY_MS)
        && !isClosed();
  }

  private void probe() {
    long silentNs = System.nanoTime();
    while (!isClosed()) {
      if (answers(probeMs())) {
        silentNs = System.nanoTime();
        pauseProbe(PROBE_MS);
        continue;
      }
      boolean refused = awaitOpen();
      // It takes connections. A busy etcd needs patience; one that was away, a new connection: the
      // client would find out by itself, but perhaps in two minutes, and with old certificates
      // never.
      boolean silent = System.nanoTime() - silentNs > TimeUnit.MILLISECONDS.toNanos(SILENCE_MS);
      if ((refused || silent || store.renewed())
          && !answers(RECONNECT_PATIENCE_MS)
          && !isClosed()) {
        store.reconnect();
        silentNs = System.nanoTime();
      }
    }
  }

  /**
   * Waits until etcd takes connections, or answers over the one that is open: files that are bad
   * now do not harm it. Says once when there would be no TLS.
   *
   * @return whether there was something to wait for
   */
  private boolean awaitOpen() {
    IOException why = store.knock();
    boolean refused = why != null;
    boolean told = false;
    while (why != null && pauseProbe(KNOCK_MS)) {
      boolean certificates =
          why instanceof SSLException || why.getCause() instanceof RegistryException;
      if (certificates && !told) {
        LOG.log(Level.WARNING, "{0}", store.noTls(why));
        told = true;
      }
      if (certificates && answers(probeMs())) {
        break;
      }
      why = store.knock();
    }
    return refused;
  }

  private long probeMs() {
    return Math.min(PROBE_MS, store.config().timeoutMs());
  }

  private boolean answers(long timeoutMs) {
    ByteSequence key = EtcdStore.bytes(keys.leader());
    long before = feed.received();
    try {
      GetResponse answer =
          store.read("see whether it answers", timeoutMs, c -> c.getKVClient().get(key));
      if (answer.getHeader().getRevision() < before) {
        // etcd tells watchers of a write just before readers see it; ask once more to be sure.
        answer =
            store.read("see whether it was replaced", timeoutMs, c -> c.getKVClient().get(key));
      }
      answeredNs = System.nanoTime();
      answers = true;
      store.answers(true);
      feed.check(answer.getHeader(), before);
    } catch (RegistryException e) {
      answers = false;
      store.answers(false);
    }
    return answers;
  }

  /** Waits; false once closed. */
  private boolean pauseProbe(long ms) {
    lock.lock();
    try {
      long left = TimeUnit.MILLISECONDS.toNanos(ms);
      while (!closed && left > 0) {
        left = ended.awaitNanos(left);
      }
      return !closed;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    } finally {
      lock.unlock();
    }
  }

  EtcdStore store() {
    return store;
  }

  EtcdFeed feed() {
    return feed;
  }

  private boolean isClosed() {
    lock.lock();
    try {
      return closed;
    } finally {
      lock.unlock();
    }
  }

  private void checkOpen() throws RegistryException {
    if (closed) {
      throw new RegistryException(
          "the registry at " + store.config().endpoints() + " is closed", null);
    }
  }

  /** Gives up what its pods and candidates hold, then disconnects. Idempotent. */
  @Override
  public void close() {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      ended.signalAll();
    } finally {
      lock.unlock();
    }
    // All at a time, so that an etcd that is away costs its patience once.
    List<Thread> closing = new ArrayList<>();
    candidates.forEach(c -> closing.add(Thread.ofVirtual().start(c::close)));
    sessions.forEach(s -> closing.add(Thread.ofVirtual().start(s::close)));
    try {
      for (Thread thread : closing) {
        thread.join();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    feed.close();
    broadcast.close();
    store.close();
  }
}
