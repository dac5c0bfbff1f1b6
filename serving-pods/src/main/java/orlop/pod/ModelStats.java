package orlop.pod;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What one model has done in this pod: counts and times in the sense of Triton's statistics
 * extension. Lock-free; all methods from any thread; some 10 ns for each group of figures.
 *
 * <p>Whoever runs inferences tells two things. {@link #executed}: the model has run once, for one
 * request or for a batch of several. Then, for each request, exactly one of {@link #succeeded},
 * {@link #failed} and {@link #cancelled}. Calls that are sent on to another pod count there alone.
 *
 * <p>It lives with the {@link Held} model and outlasts it: {@link ModelHost#statsOfNew} hands out
 * the same one when the model is loaded again, as long as it is remembered.
 */
final class ModelStats {
  /** Batch sizes that are told apart; executions of further sizes count in the totals alone. */
  static final int MAX_BATCH_SIZES = 64;

  private static final int INFERENCES = 0;
  private static final int EXECUTIONS = 1;
  private static final int LAST_MS = 2;
  private static final int SUCCESS = 3;
  private static final int SUCCESS_NS = 4;
  private static final int FAIL = 5;
  private static final int FAIL_NS = 6;
  private static final int CANCEL = 7;
  private static final int CANCEL_NS = 8;
  private static final int QUEUE_NS = 9;
  private static final int COMPUTE = 10;
  private static final int INPUT_NS = 11;
  private static final int INFER_NS = 12;
  private static final int OUTPUT_NS = 13;
  private static final int FIELDS = 14;

  private static final VarHandle CELL = MethodHandles.arrayElementVarHandle(long[].class);
  private static final VarHandle BATCHES;

  static {
    try {
      BATCHES = MethodHandles.lookup().findVarHandle(ModelStats.class, "batches", Batch[].class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final long[] cells = new long[FIELDS];

  /** In the order in which their sizes were met; replaced by a longer one for each new size. */
  private volatile Batch[] batches = {};

  /** How often something happened, and how long it took all together. */
  record Times(long count, long ns) {}

  /**
   * Executions of one batch size.
   *
   * @param size inferences in one execution
   */
  record BatchTimes(long size, Times input, Times infer, Times output) {}

  /**
   * All figures at about one moment: they are read one after the other, so neighbours may differ by
   * the inferences that end meanwhile.
   *
   * @param inferences rows of all requests that ran: a request with a batch of 8 counts as 8
   * @param executions how often the model ran; fewer than requests where they are batched
   * @param lastInferenceMs when the model last ran, milliseconds since the epoch; 0 when never
   * @param success requests that were answered, from their arrival to their answer
   * @param fail requests that ended in an error other than by their caller's will
   * @param cancel requests that their caller cancelled, or whose deadline passed
   * @param queue the time that answered requests waited for a compute thread or for a batch
   * @param input of each request that ran: until its tensors lay before the model
   * @param infer of each request that ran: inside the model; requests of a batch each count all of
   *     the batch
   * @param output of each request that ran: until its answer was encoded
   */
  record Figures(
      long inferences,
      long executions,
      long lastInferenceMs,
      Times success,
      Times fail,
      Times cancel,
      Times queue,
      Times input,
      Times infer,
      Times output,
      List<BatchTimes> batches) {}

  /** Of one batch size: executions, and their input, infer and output time. */
  private record Batch(long size, long[] cells) {}

  /**
   * The model has run once.
   *
   * @param requests that shared the execution; 1 without batching
   * @param rows inferences in it: the sum of the requests' batch sizes, 1 for a model that has no
   *     batch dimension
   * @param nowMs milliseconds since the epoch
   */
  void executed(int requests, long rows, long inputNs, long inferNs, long outputNs, long nowMs) {
    add(cells, EXECUTIONS, 1);
    add(cells, INFERENCES, rows);
    add(cells, COMPUTE, requests);
    add(cells, INPUT_NS, inputNs * requests);
    add(cells, INFER_NS, inferNs * requests);
    add(cells, OUTPUT_NS, outputNs * requests);
    CELL.setOpaque(cells, LAST_MS, nowMs);
    Batch batch = batch(rows);
    if (batch != null) {
      add(batch.cells, 0, 1);
      add(batch.cells, 1, inputNs);
      add(batch.cells, 2, inferNs);
      add(batch.cells, 3, outputNs);
    }
  }

  /**
   * A request was answered.
   *
   * @param queueNs how long it waited for its turn; part of {@code totalNs}
   */
  void succeeded(long queueNs, long totalNs) {
    add(cells, SUCCESS, 1);
    add(cells, SUCCESS_NS, totalNs);
    add(cells, QUEUE_NS, queueNs);
  }

  /** A request ended in an error, whether the model ran for it or not. */
  void failed(long totalNs) {
    add(cells, FAIL, 1);
    add(cells, FAIL_NS, totalNs);
  }

  /** A request's caller gave it up, or its time was over. */
  void cancelled(long totalNs) {
    add(cells, CANCEL, 1);
    add(cells, CANCEL_NS, totalNs);
  }

  private static void add(long[] cells, int field, long amount) {
    // The sum alone matters, so nothing need be ordered with it.
    CELL.getAndAddRelease(cells, field, amount);
  }

  private static long get(long[] cells, int field) {
    return (long) CELL.getAcquire(cells, field);
  }

  /** Null when {@link #MAX_BATCH_SIZES} others are told apart already. */
  private @Nullable Batch batch(long size) {
    while (true) {
      Batch[] known = batches;
      for (Batch batch : known) {
        if (batch.size == size) {
          return batch;
        }
      }
      if (known.length == MAX_BATCH_SIZES) {
        return null;
      }
      Batch[] more = Arrays.copyOf(known, known.length + 1);
      more[known.length] = new Batch(size, new long[4]);
      BATCHES.compareAndSet(this, known, more);
    }
  }

  Figures figures() {
    long success = get(cells, SUCCESS);
    long compute = get(cells, COMPUTE);
    return new Figures(
        get(cells, INFERENCES),
        get(cells, EXECUTIONS),
        get(cells, LAST_MS),
        new Times(success, get(cells, SUCCESS_NS)),
        new Times(get(cells, FAIL), get(cells, FAIL_NS)),
        new Times(get(cells, CANCEL), get(cells, CANCEL_NS)),
        new Times(success, get(cells, QUEUE_NS)),
        new Times(compute, get(cells, INPUT_NS)),
        new Times(compute, get(cells, INFER_NS)),
        new Times(compute, get(cells, OUTPUT_NS)),
        Arrays.stream(batches).map(ModelStats::times).toList());
  }

  private static BatchTimes times(Batch batch) {
    long count = get(batch.cells, 0);
    return new BatchTimes(
        batch.size,
        new Times(count, get(batch.cells, 1)),
        new Times(count, get(batch.cells, 2)),
        new Times(count, get(batch.cells, 3)));
  }
}
