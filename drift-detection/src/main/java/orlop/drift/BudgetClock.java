package orlop.drift;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/**
 * The budget of false alarms as it accrues with time: each call takes what has accrued since the
 * last call by anyone, so everything handed out in a period is at most the rate times the period,
 * however many records, features and models share it.
 *
 * <p>Thread-safe, lock-free.
 */
final class BudgetClock {
  /** After a long silence the first payload does not get the silence's whole budget. */
  private static final long MOST_NS = TimeUnit.MINUTES.toNanos(10);

  private final double perNs;
  private final LongSupplier clockNs;
  private final AtomicLong lastNs;

  BudgetClock(double perDay, LongSupplier clockNs) {
    this.perNs = perDay / TimeUnit.DAYS.toNanos(1);
    this.clockNs = clockNs;
    this.lastNs = new AtomicLong(clockNs.getAsLong());
  }

  /** Expected false alarms that the caller may add now. */
  double take() {
    long now = clockNs.getAsLong();
    long before = lastNs.getAndAccumulate(now, (last, next) -> next - last > 0 ? next : last);
    return Math.max(0, Math.min(MOST_NS, now - before)) * perNs;
  }
}
