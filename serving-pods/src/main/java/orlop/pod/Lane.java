package orlop.pod;

import java.util.ArrayDeque;
import java.util.Comparator;
import java.util.Deque;
import java.util.concurrent.atomic.AtomicLong;
import orlop.runtime.EncodedModel;
import orlop.runtime.LoadedModel;

/**
 * A loaded model at the compute threads: what waits for one, what runs, and what runs cost.
 *
 * <p>Line and tags are guarded by the lock of {@link Compute}. The cost is measured by whoever ran;
 * that a measure may get lost when two threads write at once does not matter.
 */
final class Lane {
  /** The one whose turn is first; of equals the one that came first. */
  static final Comparator<Lane> BY_TURN =
      Comparator.comparingLong((Lane lane) -> lane.startTag).thenComparingLong(lane -> lane.order);

  /** What a run is taken to cost until some have been measured. */
  private static final long UNKNOWN_NS = 1_000_000;

  private static final int KNOWN_RUNS = 8;

  /*
   * Quick is a model whose runs take less than it costs to hand a call to another thread and back a
   * few times. Between the two bounds it stays what it is.
   */
  private static final long QUICK_NS = 200_000;
  private static final long NOT_QUICK_NS = 400_000;

  /** A run that takes longer than this is worth the means to stop it. */
  private static final long LONG_NS = 1_000_000;

  /** How much longer than usual a run may look: it may have been interrupted. */
  private static final int MOST_OUTLIER = 8;

  /** Runs of this model at one time, at most. */
  final int instances;

  final Batcher batcher;
  final RowProof proof = new RowProof();
  final Deque<Inference> waiting = new ArrayDeque<>(2);

  /** Of requests that wait for a compute thread, or run on one. */
  final AtomicLong heldBytes = new AtomicLong();

  int running;
  boolean listed;
  long startTag;
  long finishTag;
  long order;

  private final boolean mayRunOnLoops;
  private final boolean stopsEarly;
  private volatile long costNs = UNKNOWN_NS;
  private volatile int runs;
  private volatile boolean quick;

  Lane(LoadedModel loaded, Tuning tuning, int computeThreads) {
    this.instances = tuning.instances();
    this.mayRunOnLoops = loaded.computesOnly() && instances >= computeThreads;
    this.stopsEarly = !loaded.computesOnly();
    boolean takesRows = loaded instanceof EncodedModel encoded && encoded.takesRows();
    this.batcher =
        new Batcher(takesRows ? tuning.batchRows() : 1, tuning.batchLatencyMs() * 1_000_000L);
  }

  /** What a run of a single request takes, nanoseconds. */
  long costNs() {
    return costNs;
  }

  /** Whether its runs are so short that an event loop may make them itself. */
  boolean quick() {
    return quick;
  }

  /** Whether it is worth to have the means to stop a run. */
  boolean stoppable() {
    return stopsEarly || runs < KNOWN_RUNS || costNs > LONG_NS;
  }

  /** A single request ran for so long. */
  void ranAlone(long ns) {
    int before = runs;
    if (before < KNOWN_RUNS) {
      // The first ones are the slowest, so the least of them is the best guess.
      costNs = before == 0 ? ns : Math.min(costNs, ns);
      runs = before + 1;
    } else {
      long cost = costNs;
      costNs = cost + (Math.min(ns, MOST_OUTLIER * cost) - cost) / 8;
    }
    quick = mayRunOnLoops && runs == KNOWN_RUNS && costNs < (quick ? NOT_QUICK_NS : QUICK_NS);
  }
}
