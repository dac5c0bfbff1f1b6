package orlop.pod;

import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * Lets the calls that a load has set free run a few at a time, first come, first served, so that
 * they never fill the compute queue. Thread-safe; nothing waits.
 *
 * <p>Those that stand in line are calls in flight, whose number is bounded elsewhere.
 */
final class Resume {
  private final Object lock = new Object();
  private final Deque<Runnable> line = new ArrayDeque<>();
  private int free;

  Resume(int places) {
    free = places;
  }

  /** Runs {@code go} as soon as there is a place, now or on the thread that leaves one. */
  void enter(Runnable go) {
    synchronized (lock) {
      if (free == 0) {
        line.add(go);
        return;
      }
      free--;
    }
    go.run();
  }

  /** Gives the place back; once for each {@code go} that was run. */
  void leave() {
    Runnable next = next();
    if (next != null) {
      next.run();
    }
  }

  private @Nullable Runnable next() {
    synchronized (lock) {
      Runnable next = line.poll();
      if (next == null) {
        free++;
      }
      return next;
    }
  }
}
