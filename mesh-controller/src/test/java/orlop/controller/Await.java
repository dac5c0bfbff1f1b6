package orlop.controller;

import static org.junit.jupiter.api.Assertions.fail;

import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/** Waits for conditions that other threads make true. */
final class Await {
  private static final long DEADLINE_NS = 30_000_000_000L;

  private Await() {}

  static void until(String what, BooleanSupplier condition) {
    long endNs = System.nanoTime() + DEADLINE_NS;
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > endNs) {
        fail("not within 30 s: " + what);
      }
      LockSupport.parkNanos(5_000_000);
    }
  }
}
