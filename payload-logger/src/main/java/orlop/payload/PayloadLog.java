package orlop.payload;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.lang.System.Logger.Level;
import java.util.Collections;
import java.util.EnumMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import orlop.api.PayloadEvent.Kind;

/**
 * Takes a payload or drops it and counts the drop; never blocks a request.
 *
 * <p>Guarantees. {@link #offer} costs well under a microsecond, takes no lock and does no I/O. The
 * memory held by waiting events stays under {@code queueBytes}. Every captured event gets the next
 * sequence number of this source, dropped or not, so a reader sees each loss as a hole. After
 * {@link #close}, {@code captured == sent + dropped} exactly.
 *
 * <p>Request threads offer, one platform thread drains into the {@link PayloadSink}. Thread-safe.
 */
public final class PayloadLog implements AutoCloseable {
  /*
   * An event is charged to the budget from the offer until the sink has reported its outcome, so
   * a sink that buffers cannot hold more than the budget either.
   *
   * The drain thread looks at an empty queue every PAUSE_NS and only after IDLE_NS without events
   * does it sleep until woken: request threads of a busy pod never pay for a wake-up.
   *
   * Close. `closing` stops new captures; the drain thread works until the queue is empty or the
   * deadline has passed; then `drained` is set and whatever is queued or unreported is counted as
   * SHUTDOWN. An offer that raced with this sees `drained` after it has queued and sweeps the
   * queue itself, so no event stays behind uncounted.
   */
  private static final System.Logger LOG = System.getLogger(PayloadLog.class.getName());
  private static final long PAUSE_NS = 5_000_000;
  private static final long IDLE_NS = 1_000_000_000;
  private static final long READY_WAIT_MS = 250;
  private static final String V2_INFER = "inference.GRPCInferenceService/ModelInfer";

  private final PayloadLogConfig config;
  private final PayloadSink sink;
  private final LongSupplier clockNs;
  private final RateLimit rateLimit;
  private final Sampling sampling;
  private final PayloadProcessors processors;

  private final ConcurrentLinkedQueue<Captured> queue = new ConcurrentLinkedQueue<>();
  private final Set<Captured> inFlight = ConcurrentHashMap.newKeySet();
  private final AtomicLong heldBytes = new AtomicLong();
  private final AtomicLong captured = new AtomicLong();
  private final LongAdder sent = new LongAdder();
  private final AtomicLongArray dropped = new AtomicLongArray(DropReason.values().length);

  private final Thread drainer;
  private final AtomicBoolean closeCalled = new AtomicBoolean();
  private volatile boolean asleep;
  private volatile boolean closing;
  private volatile boolean drained;
  private volatile long closeDeadlineNs;

  private PayloadLog(
      PayloadLogConfig config,
      PayloadSink sink,
      LongSupplier clockNs,
      PayloadProcessors processors) {
    this.processors = processors;
    this.config = config;
    this.sink = sink;
    this.clockNs = clockNs;
    this.rateLimit = new RateLimit(config.maxEventsPerSecond(), clockNs.getAsLong());
    this.sampling = new Sampling(config.enabled() ? config.sampleRate() : 0);
    this.drainer =
        Thread.ofPlatform().name("payload-log-drain").daemon().unstarted(this::drainUntilClosed);
  }

  /** Starts a log that drains into {@code sink}, which it then owns and closes. */
  public static PayloadLog start(PayloadLogConfig config, PayloadSink sink) {
    return start(config, sink, System::nanoTime);
  }

  /** As {@link #start(PayloadLogConfig, PayloadSink)}, with observers that see every payload. */
  public static PayloadLog start(
      PayloadLogConfig config, PayloadSink sink, PayloadProcessors processors) {
    PayloadLog log = new PayloadLog(config, sink, System::nanoTime, processors);
    log.drainer.start();
    return log;
  }

  static PayloadLog start(PayloadLogConfig config, PayloadSink sink, LongSupplier clockNs) {
    PayloadLog log = new PayloadLog(config, sink, clockNs, PayloadProcessors.none());
    log.drainer.start();
    return log;
  }

  /** A log that captures nothing and holds nothing. */
  public static PayloadLog disabled() {
    return disabled(PayloadProcessors.none());
  }

  /** Observers alone, without a log. */
  public static PayloadLog disabled(PayloadProcessors processors) {
    return new PayloadLog(PayloadLogConfig.defaults(), new NoSink(), System::nanoTime, processors);
  }

  /**
   * Whether the payloads of a call are wanted: an observer takes that method, or it is V2's
   * inference and sampling chooses the id; a function of the id and the rate alone, so request and
   * response agree, and so do all pods. {@link #offer} asks it too; asking first saves the making
   * of a value that would be thrown away.
   *
   * @param method full gRPC name, {@code service/method}
   */
  public boolean samples(String method, String correlationId) {
    return processors.want(method) || (isInference(method) && sampling.chooses(correlationId));
  }

  /** As {@link #samples(String, String)}, of a model that is known. */
  public boolean samples(String method, String modelId, String alias, String correlationId) {
    return processors.want(method, modelId, alias)
        || (isInference(method) && sampling.chooses(correlationId));
  }

  /** As {@link #samples(String, String)}, of V2's inference. */
  public boolean samples(String correlationId) {
    return samples(V2_INFER, correlationId);
  }

  /**
   * Whether the payloads of any call of that method of that model can be wanted.
   *
   * @param alias the alias that the caller named, or empty
   */
  public boolean captures(String method, String modelId, String alias) {
    return processors.want(method, modelId, alias) || (isInference(method) && sampling.any());
  }

  /** What the sink gets: those who read the topic expect V2's messages. */
  private static boolean isInference(String method) {
    return method.equals(V2_INFER);
  }

  /** What became of the payloads that processors were to have; see {@link PayloadProcessors}. */
  public Map<String, PayloadCounters> observed() {
    return processors.counters();
  }

  /** As the offer of a {@link ByteString}; {@code value} must not be modified afterwards. */
  public boolean offer(
      Kind kind,
      String id,
      String modelId,
      String alias,
      int statusCode,
      String contentType,
      byte[] value,
      Map<String, String> metadata) {
    return offer(
        kind,
        id,
        modelId,
        alias,
        statusCode,
        contentType,
        UnsafeByteOperations.unsafeWrap(value),
        metadata);
  }

  /**
   * Captures one message, or counts its loss. Never blocks.
   *
   * @param id correlation id, the same for the request and the response of one inference
   * @param modelId the model that ran
   * @param alias the alias that the caller named, or empty
   * @param statusCode gRPC status of a response; 0 for a request
   * @param value the message as it crossed the wire; kept, not copied, and charged by its size
   * @param metadata headers to log; kept, so it must not change afterwards
   * @return whether the event was queued; false when sampled out or dropped
   */
  public boolean offer(
      Kind kind,
      String id,
      String modelId,
      String alias,
      int statusCode,
      String contentType,
      ByteString value,
      Map<String, String> metadata) {
    return offer(kind, id, modelId, alias, V2_INFER, statusCode, contentType, value, metadata);
  }

  /**
   * As the offer above, of a call to any method.
   *
   * @param method full gRPC name, {@code service/method}; other than V2's inference, observers
   *     alone get the message
   */
  public boolean offer(
      Kind kind,
      String id,
      String modelId,
      String alias,
      String method,
      int statusCode,
      String contentType,
      ByteString value,
      Map<String, String> metadata) {
    if (processors.want(method, modelId, alias)) {
      processors.offer(new Observed(kind, id, modelId, alias, method, statusCode, value));
    }
    return isInference(method)
        && sampling.chooses(id)
        && capture(
            kind, id, modelId, alias, statusCode, contentType, new Captured.Owned(value), metadata);
  }

  /**
   * As the offer above, of a message that is copied later, on the drain thread, if it is sent at
   * all. Observers that want it have it copied at once.
   *
   * @param value taken or dropped exactly once, by whichever thread comes to it
   */
  public boolean offer(
      Kind kind,
      String id,
      String modelId,
      String alias,
      String method,
      int statusCode,
      String contentType,
      Lent value,
      Map<String, String> metadata) {
    if (processors.want(method, modelId, alias)) {
      byte[] copy = value.take();
      if (copy == null) {
        lost(kind, id, modelId, alias, method, DropReason.UNREADABLE);
        return false;
      }
      ByteString message = UnsafeByteOperations.unsafeWrap(copy);
      return offer(kind, id, modelId, alias, method, statusCode, contentType, message, metadata);
    }
    if (isInference(method)
        && sampling.chooses(id)
        && capture(kind, id, modelId, alias, statusCode, contentType, value, metadata)) {
      return true;
    }
    value.drop();
    return false;
  }

  private boolean capture(
      Kind kind,
      String id,
      String modelId,
      String alias,
      int statusCode,
      String contentType,
      Lent value,
      Map<String, String> metadata) {
    long sequence = captured.incrementAndGet();
    long chargeBytes = Captured.chargeBytes(value, metadata);
    if (closing) {
      return drop(DropReason.SHUTDOWN);
    }
    if (value.size() > config.maxPayloadBytes()) {
      return drop(DropReason.TOO_LARGE);
    }
    if (!rateLimit.take(clockNs.getAsLong())) {
      return drop(DropReason.RATE);
    }
    if (!reserve(chargeBytes)) {
      return drop(DropReason.QUEUE_FULL);
    }
    queue.add(
        new Captured(
            kind,
            id,
            modelId,
            alias,
            statusCode,
            contentType,
            value,
            metadata,
            sequence,
            System.currentTimeMillis(),
            chargeBytes));
    if (asleep) {
      LockSupport.unpark(drainer);
    }
    if (drained) {
      sweep();
    }
    return true;
  }

  /** Counts a message that was wanted and that could not even be kept until its offer. */
  public void lost(
      Kind kind, String id, String modelId, String alias, String method, DropReason reason) {
    processors.lost(new Observed(kind, id, modelId, alias, method, 0, ByteString.EMPTY), reason);
    if (isInference(method) && sampling.chooses(id)) {
      captured.incrementAndGet();
      drop(reason);
    }
  }

  /** The largest message that the log or an observer takes; larger ones are counted as lost. */
  public int maxPayloadBytes() {
    return Math.max(sampling.any() ? config.maxPayloadBytes() : 0, processors.maxPayloadBytes());
  }

  /** What became of the events so far. */
  public PayloadCounters counters() {
    // Outcomes before captures: the difference is then never negative.
    long sentNow = sent.sum();
    Map<DropReason, Long> droppedNow = new EnumMap<>(DropReason.class);
    for (DropReason reason : DropReason.values()) {
      droppedNow.put(reason, dropped.get(reason.ordinal()));
    }
    return new PayloadCounters(
        captured.get(), sentNow, Collections.unmodifiableMap(droppedNow), heldBytes.get());
  }

  /**
   * Sends what is queued for at most {@code closeTimeoutMs}, counts the rest as {@link
   * DropReason#SHUTDOWN} and closes the sink. Idempotent.
   */
  @Override
  public void close() {
    if (!closeCalled.compareAndSet(false, true)) {
      return;
    }
    closeDeadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(config.closeTimeoutMs());
    closing = true;
    LockSupport.unpark(drainer);
    awaitDrainer();
    sink.close(Math.max(0, millisUntil(closeDeadlineNs)));
    drained = true;
    sweep();
    for (Captured one : inFlight) {
      settle(one, false);
    }
    processors.close(Math.max(0, millisUntil(closeDeadlineNs)));
    PayloadCounters end = counters();
    if (!config.enabled()) {
      return;
    }
    LOG.log(
        Level.INFO,
        "payload log closed: captured {0}, sent {1}, dropped {2}",
        end.captured(),
        end.sent(),
        end.dropped());
  }

  private void awaitDrainer() {
    boolean interrupted = false;
    // The drain thread checks the deadline itself; a sink may hold it a little longer.
    while (drainer.isAlive() && millisUntil(closeDeadlineNs) > -2 * READY_WAIT_MS) {
      try {
        drainer.join(READY_WAIT_MS);
      } catch (InterruptedException e) {
        interrupted = true;
        closeDeadlineNs = System.nanoTime();
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void drainUntilClosed() {
    long lastEventNs = System.nanoTime();
    while (!closing || !queue.isEmpty()) {
      if (closing && millisUntil(closeDeadlineNs) <= 0) {
        return;
      }
      if (queue.isEmpty()) {
        pause(lastEventNs);
      } else if (ready()) {
        lastEventNs = System.nanoTime();
        sendOne();
      } else {
        LockSupport.parkNanos(PAUSE_NS);
      }
    }
  }

  private boolean ready() {
    try {
      long waitMs = closing ? Math.min(READY_WAIT_MS, millisUntil(closeDeadlineNs)) : READY_WAIT_MS;
      return sink.awaitReady(Math.max(0, waitMs));
    } catch (RuntimeException e) {
      LOG.log(Level.WARNING, "payload sink is not ready: {0}", e.toString());
      return false;
    }
  }

  private void sendOne() {
    Captured one = queue.poll();
    if (one == null) {
      return;
    }
    inFlight.add(one);
    try {
      byte[] value = one.value.take();
      if (value == null) {
        settle(one, DropReason.UNREADABLE);
      } else {
        sink.send(one.toEvent(config, value), isSent -> settle(one, isSent));
      }
    } catch (RuntimeException e) {
      LOG.log(Level.DEBUG, "payload sink refused an event: {0}", e.toString());
      settle(one, false);
    }
  }

  private void pause(long lastEventNs) {
    if (System.nanoTime() - lastEventNs < IDLE_NS) {
      LockSupport.parkNanos(PAUSE_NS);
      return;
    }
    asleep = true;
    // Looked at again after the flag is up: an offer sees the flag, or this sees the offer.
    if (queue.isEmpty() && !closing) {
      LockSupport.parkNanos(this, IDLE_NS);
    }
    asleep = false;
  }

  /** Counts everything that is still queued as lost; safe to run from several threads. */
  private void sweep() {
    for (Captured one = queue.poll(); one != null; one = queue.poll()) {
      one.value.drop();
      heldBytes.addAndGet(-one.chargeBytes);
      drop(DropReason.SHUTDOWN);
    }
  }

  private void settle(Captured one, boolean isSent) {
    settle(one, isSent ? null : closing ? DropReason.SHUTDOWN : DropReason.SINK);
  }

  /** The one place where an event leaves the books; a second report of it has no effect. */
  private void settle(Captured one, @Nullable DropReason lost) {
    if (!inFlight.remove(one)) {
      return;
    }
    heldBytes.addAndGet(-one.chargeBytes);
    if (lost == null) {
      sent.increment();
    } else {
      drop(lost);
    }
  }

  private boolean drop(DropReason reason) {
    dropped.incrementAndGet(reason.ordinal());
    return false;
  }

  private boolean reserve(long bytes) {
    // Add first, give back on excess: no retry loop on the request's way.
    if (heldBytes.addAndGet(bytes) <= config.queueBytes()) {
      return true;
    }
    heldBytes.addAndGet(-bytes);
    return false;
  }

  private static long millisUntil(long deadlineNs) {
    return TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime());
  }

  /** A message that somebody else's memory holds until it is taken or dropped. */
  public interface Lent {
    /** Its length in bytes. */
    int size();

    /** The memory that is kept for it; at least its size. */
    long heldBytes();

    /** A copy, after which the memory is let go; null when it turns out to be unreadable. */
    byte @Nullable [] take();

    /** Lets the memory go. */
    void drop();
  }
}
