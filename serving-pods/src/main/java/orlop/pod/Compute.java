package orlop.pod;

import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.List;
import java.util.PriorityQueue;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import orlop.runtime.Workspace;

/**
 * The threads that run inferences, and the lines before them: one for each model, served in turns
 * by what their runs cost, so that a slow model gets its share of the threads and no more. The
 * number of all that wait is bounded. Thread-safe.
 *
 * <p>Source: Goyal, Vin and Cheng, "Start-time Fair Queueing", 1996. A model's next run starts, in
 * virtual time, where its last one ended or where the pod is now, whichever is later; the earliest
 * start goes first. A run is charged as it is expected, and the difference once it has ended.
 */
final class Compute implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Compute.class.getName());

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition work = lock.newCondition();
  private final Thread[] threads;
  private final int most;

  /** Lanes in which something waits that may run. */
  private final PriorityQueue<Lane> ready = new PriorityQueue<>(Lane.BY_TURN);

  /** Of each run that is under way. */
  private final List<Lane> atWork = new ArrayList<>();

  private long virtualNs;
  private long listings;
  private int idle;
  private boolean closed;
  private int waiting;

  /**
   * @param threads how many inferences, or batches of them, run at a time
   * @param most inferences that may wait
   */
  Compute(String name, int threads, int most) {
    this.most = most;
    this.threads = new Thread[threads];
    for (int i = 0; i < threads; i++) {
      this.threads[i] =
          Thread.ofPlatform().daemon().name("orlop-compute-" + name + "-" + i).start(this::work);
    }
  }

  /**
   * Lets an inference wait for its turn, or ends it as {@link #refuse} does those that waited.
   *
   * @return false when there is no room
   */
  boolean offer(Inference inference) {
    lock.lock();
    try {
      if (!closed) {
        return add(inference);
      }
    } finally {
      lock.unlock();
    }
    inference.dropped();
    return true;
  }

  private boolean add(Inference inference) {
    if (waiting == most) {
      return false;
    }
    waiting++;
    Lane lane = inference.lane();
    lane.waiting.add(inference);
    list(lane);
    if (idle > 0) {
      work.signal();
    }
    return true;
  }

  /** Inferences that wait. */
  int waiting() {
    lock.lock();
    try {
      return waiting;
    } finally {
      lock.unlock();
    }
  }

  /** Share of the threads that are at work. */
  double busy() {
    lock.lock();
    try {
      return (double) atWork.size() / threads.length;
    } finally {
      lock.unlock();
    }
  }

  private void list(Lane lane) {
    if (!lane.listed && !lane.waiting.isEmpty() && lane.running < lane.instances) {
      lane.listed = true;
      lane.startTag = Math.max(virtualNs, lane.finishTag);
      lane.order = listings++;
      ready.add(lane);
    }
  }

  private record Turn(Lane lane, Batcher.Batch batch, long chargedNs) {}

  private void work() {
    Workspace workspace = new Workspace();
    for (Turn turn = next(); turn != null; turn = next()) {
      long startNs = System.nanoTime();
      Inference.Ran ran = Inference.Ran.OTHERWISE;
      try {
        ran = Inference.runTogether(turn.batch.calls(), workspace);
      } catch (RuntimeException | Error e) {
        LOG.log(Level.ERROR, "an inference ended a turn of a compute thread", e);
      }
      ended(turn, ran, System.nanoTime() - startNs);
    }
  }

  /** Waits for a turn; null when this is closed. */
  private @Nullable Turn next() {
    lock.lock();
    try {
      while (ready.isEmpty() && !closed) {
        idle++;
        try {
          work.awaitUninterruptibly();
        } finally {
          idle--;
        }
      }
      if (closed) {
        return null;
      }
      Lane lane = ready.remove();
      lane.listed = false;
      virtualNs = lane.startTag;
      Batcher.Batch batch = lane.batcher.take(lane.waiting);
      long expectedNs = lane.batcher.expectedNs(batch.rows());
      long chargedNs = batch.calls().size() > 1 && expectedNs > 0 ? expectedNs : lane.costNs();
      lane.finishTag = lane.startTag + chargedNs;
      lane.running++;
      waiting -= batch.calls().size();
      atWork.add(lane);
      list(lane);
      return new Turn(lane, batch, chargedNs);
    } finally {
      lock.unlock();
    }
  }

  private void ended(Turn turn, Inference.Ran ran, long tookNs) {
    lock.lock();
    try {
      Lane lane = turn.lane;
      lane.running--;
      atWork.remove(lane);
      switch (ran) {
        case TOGETHER -> lane.batcher.ran(turn.batch, tookNs);
        case NOT_BY_ROWS -> lane.batcher.never();
        case OTHERWISE -> {}
      }
      long owedNs = tookNs - turn.chargedNs;
      lane.finishTag += owedNs;
      if (lane.listed) {
        ready.remove(lane);
        lane.listed = false;
      }
      list(lane);
      if (idle > 0 && !ready.isEmpty()) {
        work.signal();
      }
    } finally {
      lock.unlock();
    }
  }

  /** What waits ends without a run, and so does what comes from now on. Idempotent. */
  void refuse() {
    List<Inference> left = new ArrayList<>();
    lock.lock();
    try {
      closed = true;
      // Lanes that are not ready have as many runs as they may.
      ready.forEach(lane -> takeAll(lane, left));
      atWork.forEach(lane -> takeAll(lane, left));
      ready.clear();
      work.signalAll();
    } finally {
      lock.unlock();
    }
    left.forEach(Inference::dropped);
  }

  private void takeAll(Lane lane, List<Inference> into) {
    lane.listed = false;
    waiting -= lane.waiting.size();
    into.addAll(lane.waiting);
    lane.waiting.clear();
  }

  /** The same, and stops what runs. Idempotent. */
  @Override
  public void close() {
    refuse();
    for (Thread thread : threads) {
      thread.interrupt();
    }
  }
}
