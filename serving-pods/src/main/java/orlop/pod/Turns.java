package orlop.pod;

import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * The calls of one copy whose runtime runs only so many at a time: the others stand in line, first
 * come, first served. Thread-safe; a step is run outside the lock, by whoever made room for it.
 */
final class Turns {
  private final int atOnce;
  private final int most;
  private final Deque<Runnable> line = new ArrayDeque<>();
  private int running;

  /**
   * @param atOnce calls that run at the same time
   * @param most calls that run or stand in line
   */
  Turns(int atOnce, int most) {
    this.atOnce = atOnce;
    this.most = Math.max(atOnce, most);
  }

  /**
   * Runs the step, now or in turn; afterwards {@link #leave} is due.
   *
   * @return false when the line is full
   */
  boolean enter(Runnable step) {
    synchronized (this) {
      if (running == atOnce) {
        if (running + line.size() >= most) {
          return false;
        }
        line.add(step);
        return true;
      }
      running++;
    }
    step.run();
    return true;
  }

  /** One that has had its turn makes room. */
  void leave() {
    Runnable next;
    synchronized (this) {
      next = line.poll();
      if (next == null) {
        running--;
      }
    }
    if (next != null) {
      next.run();
    }
  }

  /** Takes a step out of the line; false when its turn has come. */
  synchronized boolean forget(@Nullable Runnable step) {
    return line.remove(step);
  }

  /** As an error says it. */
  synchronized String full() {
    return "%d of its calls run and %d wait, at most %d may".formatted(running, line.size(), most);
  }
}
