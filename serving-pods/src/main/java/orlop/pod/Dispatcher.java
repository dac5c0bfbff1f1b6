package orlop.pod;

import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import orlop.placement.Router;
import orlop.registry.Registry;

/**
 * Admits calls and carries them to an answer, whichever door they came in by. Thread-safe.
 *
 * <p>Bounds: calls accepted at a time, the bytes they hold, inferences waiting for a compute
 * thread, and the time of each call. What exceeds one is refused at once with {@code
 * RESOURCE_EXHAUSTED}.
 */
final class Dispatcher implements AutoCloseable {
  final PodConfig config;
  final Registry registry;
  final Router router;
  final ModelHost host;
  final Forwarder forwarder;
  final Suspects suspects;
  final PayloadTap payloads;
  final Metrics metrics;
  final EpochClock clock;
  final ThreadPoolExecutor compute;
  final ScheduledThreadPoolExecutor timer;

  /**
   * Keeps the calls that a load has set free from filling the compute queue, in which there must
   * stay room for calls of loaded models.
   */
  private final Semaphore resumed;

  private final AtomicInteger inFlight = new AtomicInteger();
  private final AtomicLong inFlightBytes = new AtomicLong();

  /** Told once how a call ended, on any thread; must not block. */
  interface Reply {
    void ended(Status status, Metadata trailers, byte @Nullable [] message);
  }

  Dispatcher(
      PodConfig config,
      Registry registry,
      Router router,
      ModelHost host,
      Forwarder forwarder,
      PayloadTap payloads,
      Metrics metrics,
      EpochClock clock) {
    this.config = config;
    this.registry = registry;
    this.router = router;
    this.host = host;
    this.forwarder = forwarder;
    this.suspects = new Suspects(config.suspectMs(), clock::nowMs);
    this.payloads = payloads;
    this.metrics = metrics;
    this.clock = clock;
    this.compute =
        new ThreadPoolExecutor(
            config.computeThreads(),
            config.computeThreads(),
            0,
            TimeUnit.SECONDS,
            new ArrayBlockingQueue<>(config.computeQueue()),
            Thread.ofPlatform().daemon().name("orlop-compute-" + config.id() + "-", 0).factory());
    this.resumed = new Semaphore(Math.max(1, config.computeQueue() / 2), true);
    this.timer =
        new ScheduledThreadPoolExecutor(
            1, Thread.ofPlatform().daemon().name("orlop-timer-" + config.id()).factory());
    this.timer.setRemoveOnCancelPolicy(true);
  }

  /**
   * Starts one call; never blocks.
   *
   * @param message the encoded request, which nobody may change from now on
   * @param nameInside the model's name in the message, used when no header names one
   * @param deadline null for the configured longest wait
   */
  Call begin(
      Op op,
      byte[] message,
      Metadata headers,
      String nameInside,
      @Nullable Deadline deadline,
      Reply reply) {
    Deadline until =
        deadline != null ? deadline : Deadline.after(config.maxWaitMs(), TimeUnit.MILLISECONDS);
    Call call = new Call(this, op, message, headers, nameInside, until, reply);
    int calls = inFlight.incrementAndGet();
    long bytes = inFlightBytes.addAndGet(message.length);
    if (calls > config.maxInFlight()) {
      call.overloaded(calls - 1 + " calls are in flight, maxInFlight is " + config.maxInFlight());
    } else if (bytes > config.maxInFlightBytes()) {
      call.overloaded(
          "calls in flight would hold %d bytes, maxInFlightBytes is %d"
              .formatted(bytes, config.maxInFlightBytes()));
    } else {
      call.begin();
    }
    return call;
  }

  /** Waits for a share of the compute queue, on a virtual thread; false when it was too late. */
  boolean enterResumed(Deadline deadline) {
    try {
      return resumed.tryAcquire(
          Math.max(0, deadline.timeRemaining(TimeUnit.NANOSECONDS)), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  void leaveResumed() {
    resumed.release();
  }

  /** Gives back what {@link #begin} took; once per call. */
  void ended(int messageBytes) {
    inFlight.decrementAndGet();
    inFlightBytes.addAndGet(-messageBytes);
  }

  int inFlight() {
    return inFlight.get();
  }

  /** Share of the compute threads that are at work now. */
  double busy() {
    return (double) compute.getActiveCount() / compute.getMaximumPoolSize();
  }

  @Override
  public void close() {
    compute.shutdownNow();
    timer.shutdownNow();
  }
}
