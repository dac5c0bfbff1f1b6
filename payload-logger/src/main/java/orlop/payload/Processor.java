package orlop.payload;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.URI;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * One observer of payloads: a filter, a queue bounded by bytes, and threads that deliver. An
 * endpoint that hangs or is away holds its own queue and nothing else. Thread-safe.
 */
final class Processor implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Processor.class.getName());
  private static final long POLL_MS = 100;
  private static final long LAST_WORD_MS = 1_000;

  /** Heap that one waiting payload takes beside its message. */
  private static final int OVERHEAD_BYTES = 512;

  /** Takes one payload; a throw counts it as lost. May block for a bounded time. */
  interface Delivery extends AutoCloseable {
    void deliver(Observed payload) throws IOException, InterruptedException;

    @Override
    default void close() {}
  }

  private final String name;
  private final @Nullable String model;
  private final @Nullable String method;
  private final ProcessorsConfig config;
  private final Delivery delivery;
  private final LinkedBlockingQueue<Observed> queue = new LinkedBlockingQueue<>();
  private final AtomicLong heldBytes = new AtomicLong();
  private final AtomicLong captured = new AtomicLong();
  private final LongAdder sent = new LongAdder();
  private final AtomicLongArray dropped = new AtomicLongArray(DropReason.values().length);
  private final List<Thread> threads = new ArrayList<>();
  private volatile boolean closing;
  private volatile boolean away;
  private volatile long closeDeadlineNs;

  Processor(URI uri, ProcessorsConfig config, Delivery delivery) {
    String authority = uri.getAuthority() == null ? "" : uri.getAuthority();
    // Metrics and logs show it: without the credentials that may stand before the host.
    this.name = uri.getScheme() + "://" + authority.substring(authority.lastIndexOf('@') + 1);
    this.model = filter(uri.getQuery());
    this.method = filter(uri.getFragment());
    this.config = config;
    this.delivery = delivery;
    for (int i = 0; i < config.parallelRequests(); i++) {
      threads.add(Thread.ofVirtual().name("payload-processor").start(this::deliverUntilClosed));
    }
  }

  /** A model's filter may be written with a slash before it, as some manifests do. */
  private static @Nullable String filter(@Nullable String part) {
    String text = part == null ? "" : part.startsWith("/") ? part.substring(1) : part;
    return text.isEmpty() || text.equals("*") ? null : text;
  }

  private boolean wants(Observed payload) {
    return wants(payload.method()) && wants(payload.modelId(), payload.alias());
  }

  /** Whether payloads of that method can be wanted. */
  boolean wants(String called) {
    String f = method;
    return f == null || f.equals(called) || called.endsWith("/" + f);
  }

  /** Whether payloads of that model can be wanted. */
  boolean wants(String modelId, String alias) {
    String m = model;
    return m == null || m.equals(modelId) || m.equals(alias);
  }

  int maxPayloadBytes() {
    return config.maxPayloadBytes();
  }

  /** Counts the loss of a payload that is wanted. */
  void lost(Observed payload, DropReason reason) {
    if (wants(payload)) {
      captured.incrementAndGet();
      drop(reason);
    }
  }

  /** Takes the payload if it is wanted, or counts its loss. Never blocks. */
  void offer(Observed payload) {
    if (!wants(payload)) {
      return;
    }
    captured.incrementAndGet();
    int sizeBytes = payload.value().size();
    if (closing) {
      drop(DropReason.SHUTDOWN);
    } else if (sizeBytes > config.maxPayloadBytes()) {
      drop(DropReason.TOO_LARGE);
    } else if (heldBytes.addAndGet(charge(payload)) > config.queueBytes()) {
      heldBytes.addAndGet(-charge(payload));
      drop(DropReason.QUEUE_FULL);
    } else {
      queue.add(payload);
    }
  }

  private static long charge(Observed payload) {
    return OVERHEAD_BYTES + (long) payload.value().size();
  }

  private void deliverUntilClosed() {
    try {
      while (!closing || (!queue.isEmpty() && System.nanoTime() - closeDeadlineNs < 0)) {
        Observed next = queue.poll(POLL_MS, TimeUnit.MILLISECONDS);
        if (next != null && !deliver(next) && !closing) {
          TimeUnit.MILLISECONDS.sleep(config.retryPauseMs());
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // closed; whatever waits is counted there
    }
  }

  private boolean deliver(Observed next) throws InterruptedException {
    boolean done = false;
    try {
      delivery.deliver(next);
      done = true;
      sent.increment();
      if (away) {
        away = false;
        LOG.log(
            Level.INFO,
            "payload processor {0} answers again; lost meanwhile: {1}",
            name,
            counters().dropped());
      }
    } catch (IOException | RuntimeException e) {
      if (!away && !closing) {
        away = true;
        LOG.log(
            Level.WARNING,
            "payload processor {0} fails: {1}; inference goes on, payloads wait in memory and are"
                + " dropped when it is full",
            name,
            String.valueOf(e.getMessage()));
      }
    } finally {
      heldBytes.addAndGet(-charge(next));
      if (!done) {
        drop(closing ? DropReason.SHUTDOWN : DropReason.SINK);
      }
    }
    return done;
  }

  private void drop(DropReason reason) {
    dropped.incrementAndGet(reason.ordinal());
  }

  String name() {
    return name;
  }

  PayloadCounters counters() {
    long sentNow = sent.sum();
    Map<DropReason, Long> droppedNow = new EnumMap<>(DropReason.class);
    for (DropReason reason : DropReason.values()) {
      droppedNow.put(reason, dropped.get(reason.ordinal()));
    }
    return new PayloadCounters(
        captured.get(), sentNow, Collections.unmodifiableMap(droppedNow), heldBytes.get());
  }

  /** Takes no more, and delivers what waits until the deadline. */
  void beginClose(long deadlineNs) {
    closeDeadlineNs = deadlineNs;
    closing = true;
  }

  /** Waits for its end, at most so long; false when interrupted. */
  private static boolean joined(Thread thread, long ms) {
    try {
      thread.join(ms);
      return true;
    } catch (InterruptedException e) {
      return false;
    }
  }

  /** Ends delivery at the deadline of {@link #beginClose} and counts the rest as lost. */
  @Override
  public void close() {
    boolean interrupted = false;
    for (Thread thread : threads) {
      long leftMs = TimeUnit.NANOSECONDS.toMillis(closeDeadlineNs - System.nanoTime());
      interrupted |= !joined(thread, Math.max(1, leftMs));
      thread.interrupt();
    }
    delivery.close();
    for (Thread thread : threads) {
      // What it had under way is counted once it has heard of it.
      interrupted |= !joined(thread, LAST_WORD_MS);
    }
    for (Observed one = queue.poll(); one != null; one = queue.poll()) {
      heldBytes.addAndGet(-charge(one));
      drop(DropReason.SHUTDOWN);
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
