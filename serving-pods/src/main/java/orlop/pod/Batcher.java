package orlop.pod;

import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import orlop.runtime.EncodedRequest;

/**
 * Decides how many rows of one model run together: more as long as a row gets cheaper, fewer when a
 * run takes too long. Nothing ever waits for company: what has gathered while the compute threads
 * were busy goes together. Guarded by the lock of {@link Compute}.
 *
 * <p>Source: Crankshaw et al., "Clipper", NSDI 2017, section 4.3 (additive increase, multiplicative
 * decrease), with a measured cost for each doubling of the rows in place of the latency alone.
 */
final class Batcher {
  /** Runs of one size after which its cost counts. */
  private static final int KNOWN_RUNS = 4;

  /** A row must get cheaper by this much for more of them to pay. */
  private static final double PAYS = 0.95;

  /** The limit rises by one request, or by one part in so many where that is more. */
  private static final int GROWTH = 8;

  private static final int FIRST_REST = 64;
  private static final int MOST_REST = 8_192;

  /** Calls of other signatures that are passed over in search of some that fit. */
  private static final int MOST_PASSED_OVER = 64;

  private static final int SIZES = 13;

  private final int mostRows;
  private final long latencyNs;

  /** Nanoseconds for one row in runs of 1, 2 to 3, 4 to 7... rows. */
  private final double[] rowNs = new double[SIZES];

  private final int[] runs = new int[SIZES];
  private int limit = 1;
  private int rest;
  private int nextRest = FIRST_REST;
  private boolean off;

  /**
   * Calls that run as one.
   *
   * @param rows all together; 0 when the only one has none to count
   * @param full whether more would have gone along, had the limit let them
   */
  record Batch(List<Inference> calls, int rows, boolean full) {}

  /**
   * @param mostRows below 2 requests never run together
   */
  Batcher(int mostRows, long latencyNs) {
    this.mostRows = mostRows;
    this.latencyNs = latencyNs;
    this.off = mostRows < 2;
  }

  /** Rows that may run together now. */
  int limit() {
    return off ? 1 : limit;
  }

  /** Takes what shall run next out of the line, which is not empty. */
  Batch take(Deque<Inference> waiting) {
    Inference first = waiting.remove();
    EncodedRequest request = first.request();
    if (off || request == null || request.rows() == 0 || first.isOver()) {
      return new Batch(List.of(first), 0, false);
    }
    int rows = request.rows();
    if (waiting.isEmpty()) {
      return new Batch(List.of(first), rows, false);
    }
    List<Inference> calls = new ArrayList<>();
    calls.add(first);
    List<Inference> passedOver = new ArrayList<>();
    long leftNs = first.leftNs();
    boolean full = false;
    while (!full
        && !waiting.isEmpty()
        && calls.size() < mostRows
        && passedOver.size() < MOST_PASSED_OVER) {
      Inference next = waiting.remove();
      EncodedRequest other = next.request();
      if (next.isOver()) {
        // It ends without a run.
        calls.add(next);
        continue;
      }
      if (other == null || !request.joins(other)) {
        passedOver.add(next);
        continue;
      }
      int more = rows + other.rows();
      leftNs = Math.min(leftNs, next.leftNs());
      full = more > limit || expectedNs(more) > leftNs;
      if (full) {
        passedOver.add(next);
      } else {
        rows = more;
        calls.add(next);
      }
    }
    for (Inference each : passedOver.reversed()) {
      waiting.addFirst(each);
    }
    return new Batch(calls, rows, full);
  }

  /** What a run of so many rows takes, as far as is known; else 0. */
  long expectedNs(int rows) {
    for (int size = size(rows); size >= 0; size--) {
      if (runs[size] > 0) {
        return (long) (rowNs[size] * rows);
      }
    }
    return 0;
  }

  /** A batch ran. */
  void ran(Batch batch, long ns) {
    int rows = batch.rows;
    if (off || rows == 0) {
      return;
    }
    int size = size(rows);
    double now = (double) ns / rows;
    rowNs[size] =
        runs[size]++ == 0 ? now : rowNs[size] + (Math.min(now, 4 * rowNs[size]) - rowNs[size]) / 8;
    // One run may have been interrupted; what such runs usually take counts.
    if (batch.calls.size() > 1 && rowNs[size] * rows > latencyNs) {
      limit = Math.max(1, rows / 2);
    } else if (batch.full) {
      grow(Math.max(limit / GROWTH, rows / batch.calls.size()));
    }
  }

  private void grow(int step) {
    if (rest > 0) {
      rest--;
      return;
    }
    int size = size(limit);
    if (runs[size] < KNOWN_RUNS) {
      return;
    }
    if (size > 0 && runs[size - 1] > 0 && rowNs[size] > PAYS * rowNs[size - 1]) {
      // More rows did not pay; that is looked at again after a while, and ever more rarely.
      limit = (1 << size) - 1;
      runs[size] = 0;
      rest = nextRest;
      nextRest = Math.min(MOST_REST, 2 * nextRest);
    } else {
      limit = Math.min(mostRows, limit + Math.max(1, step));
    }
  }

  /** The model does not answer row by row, whatever it says. */
  void never() {
    off = true;
  }

  private static int size(int rows) {
    return Math.min(SIZES - 1, 31 - Integer.numberOfLeadingZeros(Math.max(1, rows)));
  }
}
