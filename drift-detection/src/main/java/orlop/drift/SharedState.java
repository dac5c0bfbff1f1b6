package orlop.drift;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;

/**
 * What the processors of all partitions in one server share, and what onlookers read: counters, the
 * budget, published statuses, requests to learn anew. Thread-safe.
 */
final class SharedState {
  final LongAdder seen = new LongAdder();
  final LongAdder scored = new LongAdder();
  final LongAdder ignored = new LongAdder();
  final LongAdder poison = new LongAdder();
  final LongAdder alarms = new LongAdder();
  final AtomicInteger threadsReplaced = new AtomicInteger();
  final AtomicInteger featureCount = new AtomicInteger();

  /** The latest status of each model, replaced about once a second while it has traffic. */
  final Map<String, ModelStatus> statuses = new ConcurrentHashMap<>();

  /** How often each model was told to learn anew; a processor compares it with what it has done. */
  final Map<String, Integer> relearnRequests = new ConcurrentHashMap<>();

  final BudgetClock budget;

  SharedState(BudgetClock budget) {
    this.budget = budget;
  }

  DriftCounters counters() {
    return new DriftCounters(
        seen.sum(), scored.sum(), ignored.sum(), poison.sum(), alarms.sum(), threadsReplaced.get());
  }
}
