package orlop.registry;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import orlop.placement.Delta;
import orlop.placement.Model;

/**
 * Creates models, those that are asked for at the same time in one transaction: each of them is
 * created unless one of its id stands, whatever becomes of the others. Thread-safe.
 */
final class EtcdCreates {
  /*
   * Group commit without a thread: who finds a free lane takes along what waits, at most
   * MAX_TOGETHER; who finds none waits for its turn to be taken along or to take others. One caller
   * alone so waits for nobody. Two lanes keep etcd busy while the last answer is read.
   *
   * A transaction is a list of small ones, one for each model, since a compare of its own decides
   * about each. etcd takes at most 128 operations and 1.5 MB, and no key twice.
   */
  private static final int MAX_TOGETHER = 64;
  private static final int MAX_BYTES = 512 << 10;
  private static final int LANES = 2;

  /** What became of one creation. */
  record Created(Model standing, long revision) {}

  private static final class Ask {
    final Model model;
    final ByteSequence key;
    final ByteSequence value;
    final Condition told;
    // Guarded by lock: one of these two once it is decided.
    @Nullable Created created;
    @Nullable RegistryException failure;

    Ask(Model model, ByteSequence key, ByteSequence value, Condition told) {
      this.model = model;
      this.key = key;
      this.value = value;
      this.told = told;
    }

    boolean decided() {
      return created != null || failure != null;
    }

    Op operation() {
      return Op.txn(
          new Cmp[] {new Cmp(key, Cmp.Op.EQUAL, CmpTarget.createRevision(0))},
          new Op[] {Op.put(key, value, PutOption.DEFAULT)},
          new Op[] {Op.get(key, GetOption.DEFAULT)});
    }
  }

  private final EtcdStore store;
  private final EtcdRecords records;
  private final ReentrantLock lock = new ReentrantLock();
  // Guarded by lock.
  private final LinkedHashSet<Ask> waiting = new LinkedHashSet<>();
  private int busyLanes;

  EtcdCreates(EtcdStore store, EtcdRecords records) {
    this.store = store;
    this.records = records;
  }

  /** Returns when it is stored who stands under the id. */
  Created create(Model model) throws RegistryException {
    Ask mine =
        new Ask(
            model,
            EtcdStore.bytes(records.keys().model(model.id())),
            ByteSequence.from(records.values().encode(model)),
            lock.newCondition());
    lock.lock();
    try {
      waiting.add(mine);
      long leftNs = TimeUnit.MILLISECONDS.toNanos(store.config().timeoutMs());
      while (!mine.decided()) {
        if (busyLanes < LANES && waiting.contains(mine)) {
          commit(mine);
        } else if (leftNs <= 0 && waiting.remove(mine)) {
          throw new RegistryException(
              "etcd at %s: cannot create model '%s': %d creations wait for an answer since %d ms; nothing was written"
                  .formatted(
                      store.config().endpoints(),
                      model.id(),
                      waiting.size(),
                      store.config().timeoutMs()),
              null);
        } else {
          // One that is under way ends in time by itself.
          leftNs = mine.told.awaitNanos(Math.max(leftNs, 1_000_000));
        }
      }
      if (mine.failure != null) {
        throw new RegistryException(String.valueOf(mine.failure.getMessage()), mine.failure);
      }
      return Objects.requireNonNull(mine.created);
    } catch (InterruptedException e) {
      waiting.remove(mine);
      offerLane();
      Thread.currentThread().interrupt();
      throw new RegistryException(
          "interrupted: cannot create model '"
              + model.id()
              + "'; it may or may not have been carried out",
          e);
    } finally {
      lock.unlock();
    }
  }

  /** Takes a lane, commits what waits, the caller's among it, without the lock, and says so. */
  private void commit(Ask mine) {
    List<Ask> batch = take(mine);
    busyLanes++;
    offerLane();
    lock.unlock();
    TxnResponse answer = null;
    RegistryException failure = null;
    try {
      answer = send(batch);
    } catch (RegistryException e) {
      failure = e;
    } catch (RuntimeException e) {
      failure = new RegistryException("cannot create model '" + mine.model.id() + "': " + e, e);
    } finally {
      lock.lock();
      busyLanes--;
      decide(batch, answer, failure);
      offerLane();
    }
  }

  /** Wakes the one who has waited longest when a lane is free. */
  private void offerLane() {
    if (busyLanes < LANES && !waiting.isEmpty()) {
      waiting.getFirst().told.signal();
    }
  }

  private void decide(
      List<Ask> batch, @Nullable TxnResponse answer, @Nullable RegistryException failure) {
    for (int i = 0; i < batch.size(); i++) {
      Ask ask = batch.get(i);
      ask.failure = failure;
      if (answer != null) {
        try {
          long revision = answer.getHeader().getRevision();
          ask.created = created(ask, answer.getTxnResponses().get(i), revision);
        } catch (RegistryException e) {
          ask.failure = e;
        }
      } else if (failure == null) {
        ask.failure = new RegistryException("model '" + ask.model.id() + "' was given up", null);
      }
      ask.told.signal();
    }
  }

  private List<Ask> take(Ask mine) {
    List<Ask> batch = new ArrayList<>();
    Set<String> ids = new HashSet<>();
    waiting.remove(mine);
    batch.add(mine);
    ids.add(mine.model.id());
    int bytes = mine.value.size();
    for (Iterator<Ask> i = waiting.iterator(); i.hasNext() && batch.size() < MAX_TOGETHER; ) {
      Ask ask = i.next();
      if (bytes + ask.value.size() <= MAX_BYTES && ids.add(ask.model.id())) {
        bytes += ask.value.size();
        batch.add(ask);
        i.remove();
      }
    }
    return batch;
  }

  private TxnResponse send(List<Ask> batch) throws RegistryException {
    String what =
        "create model '"
            + batch.getFirst().model.id()
            + (batch.size() == 1 ? "'" : "' and " + (batch.size() - 1) + " more");
    Op[] operations = batch.stream().map(Ask::operation).toArray(Op[]::new);
    return store.write(what, c -> c.getKVClient().txn().Then(operations).commit());
  }

  private Created created(Ask ask, TxnResponse answer, long revision) throws RegistryException {
    if (answer.isSucceeded()) {
      return new Created(ask.model, revision);
    }
    KeyValue standing = answer.getGetResponses().getFirst().getKvs().getFirst();
    if (records.delta(standing, true) instanceof Delta.ModelPut(Model older)) {
      return new Created(older, standing.getModRevision());
    }
    throw new RegistryException(
        "model '%s' stands in etcd under %s with a value that this version cannot read"
            .formatted(ask.model.id(), records.keys().model(ask.model.id())),
        null);
  }
}
