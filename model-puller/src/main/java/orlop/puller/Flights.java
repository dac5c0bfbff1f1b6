package orlop.puller;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import orlop.puller.PullException.Kind;

/**
 * One piece of work at a time per key; who asks meanwhile shares its result. Thread-safe.
 *
 * <p>The work runs on a virtual thread of its own, so no caller's interrupt or timeout ends it for
 * the others. When the last caller has left, the work is interrupted, and that caller waits until
 * it has cleaned up.
 */
final class Flights implements AutoCloseable {
  /** How long the last caller waits for interrupted work to clean up after itself. */
  private static final long CLEAN_UP_MS = 10_000;

  interface Work {
    Pulled run() throws PullException, InterruptedException;
  }

  private final String name;
  private final LongAdder joined;
  private final ReentrantLock lock = new ReentrantLock();
  private final Map<String, Flight> flights = new HashMap<>();
  private boolean closed;

  Flights(String name, LongAdder joined) {
    this.name = name;
    this.joined = joined;
  }

  /** Fields without {@code final} are guarded by the lock. */
  private static final class Flight {
    final CountDownLatch ended = new CountDownLatch(1);
    int callers;
    boolean abandoned;
    boolean over;
    @Nullable Thread thread;
    @Nullable Pulled result;
    @Nullable Throwable failure;
  }

  /**
   * Runs the work, or waits for the same work already on its way.
   *
   * @return a claim of the caller's own
   * @throws PullException as the work did, or {@code TRANSIENT} after {@code timeoutMs}
   */
  Pulled join(String key, long timeoutMs, Place place, Work work)
      throws PullException, InterruptedException {
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    while (true) {
      Flight flight = board(key, place, work);
      if (flight.abandoned) {
        // Nobody wants its result and it is cleaning up: start afresh when it has.
        await(flight, deadlineNs, timeoutMs, place);
        continue;
      }
      try {
        await(flight, deadlineNs, timeoutMs, place);
        return take(flight, place);
      } finally {
        leave(flight);
      }
    }
  }

  private Flight board(String key, Place place, Work work) throws PullException {
    lock.lock();
    try {
      if (closed) {
        throw place.failure(Kind.TRANSIENT, "the puller is closed");
      }
      Flight flight = flights.get(key);
      if (flight == null) {
        flight = new Flight();
        Flight started = flight;
        flights.put(key, flight);
        flight.thread = Thread.ofVirtual().name(name).unstarted(() -> fly(key, started, work));
        flight.thread.start();
      } else if (flight.abandoned) {
        return flight;
      } else {
        joined.increment();
      }
      flight.callers++;
      return flight;
    } finally {
      lock.unlock();
    }
  }

  private void fly(String key, Flight flight, Work work) {
    Pulled result = null;
    Throwable failure = null;
    try {
      result = work.run();
    } catch (Throwable e) { // Carried over to those who wait, whatever it is.
      failure = e;
    }
    boolean orphan;
    lock.lock();
    try {
      flights.remove(key);
      flight.result = result;
      flight.failure = failure;
      flight.over = true;
      orphan = flight.callers == 0;
    } finally {
      lock.unlock();
    }
    if (orphan && result != null) {
      result.close();
    }
    flight.ended.countDown();
  }

  private static void await(Flight flight, long deadlineNs, long timeoutMs, Place place)
      throws PullException, InterruptedException {
    if (!flight.ended.await(deadlineNs - System.nanoTime(), TimeUnit.NANOSECONDS)) {
      throw place.failure(Kind.TRANSIENT, "it did not end within " + timeoutMs + " ms");
    }
  }

  private static Pulled take(Flight flight, Place place) throws PullException {
    Throwable failure = flight.failure;
    if (flight.result != null) {
      return flight.result.again();
    }
    if (failure instanceof PullException e) {
      throw e;
    }
    if (failure instanceof InterruptedException) {
      throw place.failure(Kind.TRANSIENT, "the puller was closed meanwhile");
    }
    throw new IllegalStateException("pulling " + place.location() + " failed: " + failure, failure);
  }

  private void leave(Flight flight) {
    Pulled last = null;
    Thread interrupt = null;
    lock.lock();
    try {
      flight.callers--;
      if (flight.callers == 0) {
        if (flight.over) {
          last = flight.result;
        } else {
          flight.abandoned = true;
          interrupt = flight.thread;
        }
      }
    } finally {
      lock.unlock();
    }
    if (last != null) {
      last.close();
    }
    if (interrupt != null) {
      interrupt.interrupt();
      awaitCleanUp(flight);
    }
  }

  private static void awaitCleanUp(Flight flight) {
    boolean interrupted = false;
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(CLEAN_UP_MS);
    while (true) {
      try {
        boolean _ = flight.ended.await(deadlineNs - System.nanoTime(), TimeUnit.NANOSECONDS);
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Interrupts all work and waits until it has cleaned up; later calls are refused. */
  @Override
  public void close() {
    List<Flight> open;
    lock.lock();
    try {
      closed = true;
      open = List.copyOf(flights.values());
    } finally {
      lock.unlock();
    }
    for (Flight flight : open) {
      Thread thread = flight.thread;
      if (thread != null) {
        thread.interrupt();
      }
    }
    open.forEach(Flights::awaitCleanUp);
  }
}
