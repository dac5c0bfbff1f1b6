package orlop.sim;

import java.util.Comparator;
import java.util.PriorityQueue;

/** Virtual time and what is to happen in it; equal moments in order of scheduling. */
final class Timeline {
  static final long MS = 1_000_000;
  static final long SECOND = 1_000 * MS;
  static final long MINUTE = 60 * SECOND;

  /** The start of each run, nanoseconds since the epoch. */
  static final long START_NS = 1_700_000_000L * SECOND;

  /** More than anything sensible does in one moment. */
  private static final int MAX_AT_ONCE = 1_000_000;

  private record Task(long atNs, long order, Runnable action) {}

  private final PriorityQueue<Task> tasks =
      new PriorityQueue<>(Comparator.comparingLong(Task::atNs).thenComparingLong(Task::order));
  private long nowNs = START_NS;
  private long scheduled;

  long nowNs() {
    return nowNs;
  }

  long nowMs() {
    return nowNs / MS;
  }

  void after(long delayNs, Runnable action) {
    tasks.add(new Task(nowNs + Math.max(0, delayNs), scheduled++, action));
  }

  /** Repeats from the first delay on for as long as the run lasts. */
  void every(long firstNs, long periodNs, Runnable action) {
    after(
        firstNs,
        () -> {
          action.run();
          every(periodNs, periodNs, action);
        });
  }

  /**
   * Lets happen all that is due until then.
   *
   * @throws IllegalStateException when time stands still
   */
  void runUntil(long untilNs) {
    int atOnce = 0;
    while (!tasks.isEmpty() && tasks.element().atNs <= untilNs) {
      Task task = tasks.remove();
      atOnce = task.atNs == nowNs ? atOnce + 1 : 0;
      if (atOnce > MAX_AT_ONCE) {
        throw new IllegalStateException("more than " + MAX_AT_ONCE + " events in one moment");
      }
      nowNs = task.atNs;
      task.action.run();
    }
    nowNs = untilNs;
  }
}
