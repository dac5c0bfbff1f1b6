package orlop.registry;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import orlop.placement.MeshView;

/**
 * The registry's own thread: hands each view to every listener, in the order offered. Thread-safe.
 *
 * <p>The queue is bounded: once {@value #MAX_WAITING} entries wait because a listener is slow, the
 * newest view takes the place of the one before it. Listeners then miss views in between, never the
 * last one.
 */
final class Broadcast implements AutoCloseable {
  private static final Logger LOG = System.getLogger(Broadcast.class.getName());
  private static final int MAX_WAITING = 1_024;
  private static final long LISTEN_TIMEOUT_S = 60;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition arrived = lock.newCondition();
  // Each entry is a MeshView to hand out or a Runnable to run.
  private final ArrayDeque<Object> waiting = new ArrayDeque<>();
  private boolean closed;
  private final Thread thread;

  // Owned by the thread.
  private final List<Listener> listeners = new ArrayList<>();
  private volatile MeshView delivered;

  Broadcast(String name, MeshView first) {
    delivered = first;
    thread = Thread.ofPlatform().daemon().name(name).unstarted(this::loop);
    thread.start();
  }

  /** Hands the view to all listeners, later. */
  void offer(MeshView view) {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      if (waiting.size() >= MAX_WAITING && waiting.peekLast() instanceof MeshView) {
        waiting.pollLast();
      }
      waiting.addLast(view);
      arrived.signal();
    } finally {
      lock.unlock();
    }
  }

  /** Runs the task on the registry's thread, after all that was offered before. */
  boolean run(Runnable task) {
    lock.lock();
    try {
      if (closed) {
        return false;
      }
      waiting.addLast(task);
      arrived.signal();
      return true;
    } finally {
      lock.unlock();
    }
  }

  /** Adds a listener and returns once it was called with the current view. */
  Registry.Subscription listen(Consumer<MeshView> sink) {
    Listener listener = new Listener(sink);
    if (Thread.currentThread() == thread) {
      add(listener);
      return listener;
    }
    CompletableFuture<Void> called = new CompletableFuture<>();
    boolean queued =
        run(
            () -> {
              add(listener);
              called.complete(null);
            });
    if (queued) {
      await(called);
    } else {
      listener.accept(delivered);
    }
    return listener;
  }

  /** Whether the caller runs on the registry's thread, where nothing may be waited for. */
  boolean onThread() {
    return Thread.currentThread() == thread;
  }

  private void add(Listener listener) {
    listeners.removeIf(l -> l.ended);
    listener.accept(delivered);
    listeners.add(listener);
  }

  private static void await(CompletableFuture<Void> done) {
    try {
      done.get(LISTEN_TIMEOUT_S, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      throw new IllegalStateException(
          "the registry's thread did not answer for "
              + LISTEN_TIMEOUT_S
              + " s: a listener blocks it",
          e);
    } catch (ExecutionException e) {
      throw new IllegalStateException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void loop() {
    for (Object next = take(); next != null; next = take()) {
      if (next instanceof MeshView view) {
        delivered = view;
        for (Listener listener : List.copyOf(listeners)) {
          listener.accept(view);
        }
        listeners.removeIf(l -> l.ended);
      } else if (next instanceof Runnable task) {
        runSafely(task);
      }
    }
  }

  private @Nullable Object take() {
    lock.lock();
    try {
      while (waiting.isEmpty()) {
        if (closed) {
          return null;
        }
        arrived.awaitUninterruptibly();
      }
      return waiting.pollFirst();
    } finally {
      lock.unlock();
    }
  }

  private static void runSafely(Runnable task) {
    try {
      task.run();
    } catch (RuntimeException e) {
      LOG.log(Level.ERROR, "a registry listener failed: " + e);
      LOG.log(Level.DEBUG, "the listener that failed", e);
    }
  }

  /** Lets the thread hand out what waits, then end. Idempotent. */
  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      arrived.signal();
    } finally {
      lock.unlock();
    }
  }

  private static final class Listener implements Registry.Subscription {
    private final Consumer<MeshView> sink;
    private volatile boolean ended;

    Listener(Consumer<MeshView> sink) {
      this.sink = sink;
    }

    void accept(MeshView view) {
      if (!ended) {
        runSafely(() -> sink.accept(view));
      }
    }

    @Override
    public void close() {
      ended = true;
    }
  }
}
