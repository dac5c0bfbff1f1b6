package orlop.registry;

import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Assertions;

/** Waits for a condition with a deadline. */
final class Await {
  private Await() {}

  static void until(String what, Callable<Boolean> condition) throws Exception {
    until(what, 60, condition);
  }

  static void until(String what, long seconds, Callable<Boolean> condition) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
    while (!condition.call()) {
      if (System.nanoTime() > deadline) {
        Assertions.fail("within " + seconds + " s not true: " + what);
      }
      LockSupport.parkNanos(5_000_000);
    }
  }
}
