package orlop.pod;

import io.netty.channel.EventLoop;
import io.netty.util.concurrent.FastThreadLocalThread;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import orlop.placement.MeshView;
import orlop.runtime.EncodedRequest;
import orlop.runtime.Workspace;

/**
 * One event loop and what is its alone: the connections to other places, the deadlines of its calls
 * and the connections that wait to be flushed. Everything here runs on that loop.
 */
final class Loop {
  /** What all runs of one turn may take. */
  private static final long TURN_NS = 500_000;

  /** How long calls that a load has set free may run on, and the pause after it. */
  private static final long FREED_SLICE_NS = 250_000;

  private static final long FREED_PAUSE_NS = 750_000;

  final EventLoop executor;
  final Deadlines deadlines;
  final int maxHeaderBytes;

  private final Function<Outlet.Target, Outlet> opener;
  private final Map<String, Outlet> outlets = new HashMap<>();
  private final List<Link> dirty = new ArrayList<>();
  private final Runnable flush = this::flush;
  private final Deque<Runnable> freed = new ArrayDeque<>();
  private final Runnable resumeSome = this::resumeSome;
  private boolean resuming;
  private boolean flushing;

  /** What runs of quick models need, one at a time. */
  final Workspace workspace = new Workspace();

  final EncodedRequest request = new EncodedRequest();
  private long spentNs;

  /**
   * Makes the threads of event loops, numbered behind the prefix. They are Netty's own kind: on all
   * others it makes each buffer, slice and entry of a socket's queue anew, for it cannot tell when
   * to let go of those that it keeps for a thread.
   */
  static ThreadFactory threads(String prefix) {
    AtomicInteger next = new AtomicInteger();
    return work -> {
      Thread thread = new FastThreadLocalThread(work, prefix + next.getAndIncrement());
      thread.setDaemon(true);
      return thread;
    };
  }

  /**
   * @param opener makes a connection, on this loop
   */
  Loop(
      EventLoop executor,
      int maxHeaderBytes,
      java.util.function.BiFunction<Loop, Outlet.Target, Outlet> opener) {
    this.executor = executor;
    this.maxHeaderBytes = maxHeaderBytes;
    this.deadlines = new Deadlines(executor);
    this.opener = target -> opener.apply(this, target);
  }

  /**
   * Flushes the connection once the sockets that are readable now have been read, so that many
   * frames leave in one write.
   */
  void touch(Link link) {
    dirty.add(link);
    if (!flushing) {
      flushing = true;
      executor.execute(flush);
    }
  }

  /**
   * Asks for time on this loop in the turn that is under way, so that a burst of runs does not keep
   * frames waiting.
   *
   * @return whether it is granted, which counts as spent
   */
  boolean takeTime(long ns) {
    if (spentNs + ns > TURN_NS) {
      return false;
    }
    spentNs += ns;
    if (!flushing) {
      flushing = true;
      executor.execute(flush);
    }
    return true;
  }

  /** Writes what was left to be written at the end of the turn. */
  void flush() {
    flushing = false;
    spentNs = 0;
    for (int i = 0; i < dirty.size(); i++) {
      dirty.get(i).flushNow();
    }
    dirty.clear();
  }

  /**
   * Runs a call that a load has set free when its turn comes: a quarter of the time at most, so
   * that thousands that come free at once do not stand before those who need not wait. Never at
   * once, since it may be asked for in the midst of another call's run. On this loop.
   */
  void resume(Runnable call) {
    freed.add(call);
    if (!resuming) {
      resuming = true;
      executor.execute(resumeSome);
    }
  }

  private void resumeSome() {
    long untilNs = System.nanoTime() + FREED_SLICE_NS;
    try {
      for (Runnable next = freed.poll(); next != null; next = freed.poll()) {
        next.run();
        if (System.nanoTime() >= untilNs) {
          break;
        }
      }
    } finally {
      resuming = !freed.isEmpty();
      if (resuming) {
        var unused = executor.schedule(resumeSome, FREED_PAUSE_NS, TimeUnit.NANOSECONDS);
      }
    }
  }

  /** The connection to that place, opened if there is none that takes calls. */
  Outlet outlet(Outlet.Target target) {
    Outlet known = outlets.get(target.id());
    if (known != null && known.takesCalls() && known.target().equals(target)) {
      return known;
    }
    if (known != null) {
      known.retire();
    }
    Outlet opened = opener.apply(target);
    outlets.put(target.id(), opened);
    return opened;
  }

  /** Closes the connections to pods that the view no longer knows; calls in flight finish. */
  void keepOnly(MeshView view) {
    for (Iterator<Outlet> all = outlets.values().iterator(); all.hasNext(); ) {
      Outlet outlet = all.next();
      if (outlet.target().pod() && view.pod(outlet.target().id()) == null) {
        all.remove();
        outlet.retire();
      }
    }
  }

  int connections() {
    return outlets.size();
  }

  void close() {
    outlets.values().forEach(Outlet::close);
    outlets.clear();
  }
}
