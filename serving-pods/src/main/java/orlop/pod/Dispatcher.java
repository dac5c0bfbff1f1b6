package orlop.pod;

import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import io.netty.util.AsciiString;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Router;
import orlop.registry.Registry;

/**
 * What all calls of one pod share, whichever door they came in by: what is known, who decides, who
 * computes, and the bounds. Thread-safe.
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
  final Suspects suspects;
  final PayloadTap payloads;
  final Metrics metrics;
  final EpochClock clock;

  /** Null: in the clear. */
  final PodTls.@Nullable Mesh tls;

  final Handshakes handshakes;
  final SharedMemory sharedMemory;
  final InferStream.Open streams = new InferStream.Open();
  final Compute compute;
  final ScheduledThreadPoolExecutor timer;

  /** This pod's id, as headers carry it. */
  final AsciiString asciiId;

  /**
   * Keeps the calls that a load has set free from filling the compute queue, in which there must
   * stay room for calls of loaded models.
   */
  final Resume resume;

  /**
   * Calls that one model may have running and waiting, so that a slow one leaves room for others.
   */
  final int mostForOneModel;

  /** Bytes of requests that wait for a compute thread which one model may have. */
  final long mostBytesForOneModel;

  final Parked parked;

  /** Whether each call is a line in the log; may be switched while the pod runs. */
  volatile boolean logsCalls;

  private final Map<String, Outlet.Target> runtimes = new ConcurrentHashMap<>();
  private final Supplier<Loop> loops;
  private final AtomicInteger inFlight = new AtomicInteger();
  private final AtomicLong heldBytes = new AtomicLong();

  /** Told once how a call ended, on an event loop; must not block. */
  interface Reply {
    void ended(Status status, Metadata trailers, byte @Nullable [] message);
  }

  /**
   * @param loops gives an event loop for a call that does not come from one
   */
  Dispatcher(
      PodConfig config,
      Registry registry,
      Router router,
      ModelHost host,
      PayloadTap payloads,
      Metrics metrics,
      EpochClock clock,
      PodTls.@Nullable Mesh tls,
      Supplier<Loop> loops) {
    this.config = config;
    this.registry = registry;
    this.router = router;
    this.host = host;
    this.suspects = new Suspects(config.suspectMs(), clock::nowMs);
    this.payloads = payloads;
    this.metrics = metrics;
    this.clock = clock;
    this.tls = tls;
    this.sharedMemory = new SharedMemory(config.sharedMemory());
    this.handshakes = new Handshakes(metrics);
    this.loops = loops;
    this.asciiId = AsciiString.cached(config.id());
    this.compute = new Compute(config.id(), config.computeThreads(), config.computeQueue());
    this.mostForOneModel =
        config.computeThreads() + Math.max(1, (int) (config.computeQueue() * 3L / 4));
    this.mostBytesForOneModel = config.maxInFlightBytes() - config.maxInFlightBytes() / 4;
    this.parked = new Parked(config.maxInFlight(), config.maxInFlightBytes());
    this.logsCalls = config.logCalls();
    this.resume = new Resume(Math.max(1, config.computeQueue() / 2));
    this.timer =
        new ScheduledThreadPoolExecutor(
            1, Thread.ofPlatform().daemon().name("orlop-timer-" + config.id()).factory());
    this.timer.setRemoveOnCancelPolicy(true);
  }

  /**
   * Starts one call that came in by another door than the gRPC port; never blocks.
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
    long dueNs = System.nanoTime() + until.timeRemaining(TimeUnit.NANOSECONDS);
    Messenger messenger = new Messenger(this, loops.get(), op, message, headers, dueNs, reply);
    messenger.begin(nameInside);
    return messenger.call();
  }

  /** The runtime beside this pod at that address. */
  Outlet.Target runtime(String address) {
    Outlet.Target known = runtimes.get(address);
    return known != null
        ? known
        : runtimes.computeIfAbsent(address, at -> new Outlet.Target("runtime " + at, at, false));
  }

  /**
   * Counts a call that has come.
   *
   * @return how many there are now
   */
  int enter() {
    return inFlight.incrementAndGet();
  }

  /** Once for each {@link #enter}. */
  void leave() {
    inFlight.decrementAndGet();
  }

  /**
   * Counts bytes of requests and answers that are kept in memory, until {@link #release}.
   *
   * @return whether all of them together are within the bound
   */
  boolean hold(long bytes) {
    return bytes == 0 || heldBytes.addAndGet(bytes) <= config.maxInFlightBytes();
  }

  /** Why bytes that were just held are refused. */
  String holdsTooMuch() {
    return "calls in flight would hold %d bytes, maxInFlightBytes is %d"
        .formatted(heldBytes(), config.maxInFlightBytes());
  }

  void release(long bytes) {
    if (bytes != 0) {
      heldBytes.addAndGet(-bytes);
    }
  }

  long heldBytes() {
    return heldBytes.get();
  }

  int inFlight() {
    return inFlight.get();
  }

  /** Share of the compute threads that are at work now. */
  double busy() {
    return compute.busy();
  }

  @Override
  public void close() {
    compute.close();
    timer.shutdownNow();
    handshakes.close();
    sharedMemory.close();
  }
}
