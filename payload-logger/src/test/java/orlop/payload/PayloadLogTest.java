package orlop.payload;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import orlop.api.PayloadEvent;
import orlop.api.PayloadEvent.Kind;

/** The log's own promises, against sinks that are as slow or broken as the test wants. */
class PayloadLogTest {
  private static final byte[] KIB = new byte[1024];

  @Test
  void numbersEveryEventAndReportsEachOnce() {
    RecordingSink sink = new RecordingSink();
    PayloadLog log = PayloadLog.start(config(1 << 20, 1, 0), sink);
    for (int i = 0; i < 100; i++) {
      assertTrue(offer(log, "id" + i, KIB));
    }
    log.close();

    assertEquals(100, log.counters().captured());
    assertEquals(100, log.counters().sent());
    assertEquals(0, log.counters().queuedBytes());
    List<Long> sequences = sink.events.stream().map(PayloadEvent::sequence).toList();
    for (int i = 0; i < 100; i++) {
      assertEquals(i + 1, sequences.get(i));
    }
  }

  @Test
  void dropsAndCountsWhenTheSinkIsSlowerThanTheTrafficWithoutBlockingTheCaller() throws Exception {
    CountDownLatch gate = new CountDownLatch(1);
    RecordingSink sink = new RecordingSink();
    sink.gate = gate;
    PayloadLog log = PayloadLog.start(config(64 << 10, 1, 0), sink);
    int taken = 0;
    long startNs = System.nanoTime();
    for (int i = 0; i < 1000; i++) {
      taken += offer(log, "id" + i, KIB) ? 1 : 0;
    }
    assertTrue(System.nanoTime() - startNs < TimeUnit.SECONDS.toNanos(5), "callers were blocked");
    // 64 KiB hold 42 events of 1024 bytes and 512 of overhead.
    assertEquals(42, taken);
    assertEquals(958, log.counters().dropped(DropReason.QUEUE_FULL));
    assertTrue(log.counters().queuedBytes() <= 64 << 10);

    gate.countDown();
    await("recovery", () -> log.counters().sent() == 42);
    assertTrue(offer(log, "after", KIB));
    log.close();
    assertEquals(43, log.counters().sent());
    // The hole in the sequence tells the reader of the loss.
    assertEquals(1001, last(sink.events).sequence());
  }

  @Test
  void holdsTheBudgetUntilTheSinkHasReportedTheOutcome() {
    RecordingSink sink = new RecordingSink();
    sink.keepsOutcomes = true;
    PayloadLog log = PayloadLog.start(config(64 << 10, 1, 0), sink);
    for (int i = 0; i < 200; i++) {
      offer(log, "id" + i, KIB);
    }
    await("the drain to hand over", () -> sink.outcomes.size() == 42);
    assertEquals(42 * (1024 + 512), log.counters().queuedBytes());
    sink.outcomes.forEach(one -> one.accept(true));
    sink.outcomes.forEach(one -> one.accept(false));
    assertEquals(0, log.counters().queuedBytes());
    assertEquals(42, log.counters().sent());
    log.close();
    assertEquals(200, log.counters().sent() + log.counters().droppedTotal());
  }

  @Test
  void dropsWhatIsTooLarge() {
    PayloadLog log = PayloadLog.start(config(1 << 20, 1, 0), new RecordingSink());
    assertFalse(offer(log, "id", new byte[10_001]));
    assertTrue(offer(log, "id", new byte[10_000]));
    log.close();
    assertEquals(1, log.counters().dropped(DropReason.TOO_LARGE));
    assertEquals(1, log.counters().sent());
  }

  @Test
  void limitsTheRateAndRefillsWithTime() {
    AtomicLong nowNs = new AtomicLong(Long.MAX_VALUE - 5);
    PayloadLog log = PayloadLog.start(config(1 << 20, 1, 10), new RecordingSink(), nowNs::get);
    for (int i = 0; i < 25; i++) {
      offer(log, "a" + i, KIB);
    }
    assertEquals(15, log.counters().dropped(DropReason.RATE));
    nowNs.addAndGet(TimeUnit.MILLISECONDS.toNanos(300));
    for (int i = 0; i < 25; i++) {
      offer(log, "b" + i, KIB);
    }
    assertEquals(15 + 22, log.counters().dropped(DropReason.RATE));
    log.close();
    assertEquals(13, log.counters().sent());
  }

  @Test
  void samplesByTheIdSoThatRequestAndResponseAgree() {
    RecordingSink sink = new RecordingSink();
    PayloadLog log = PayloadLog.start(config(8 << 20, 0.25, 0), sink);
    for (int i = 0; i < 4000; i++) {
      String id = "call-" + i;
      boolean request = log.offer(Kind.REQUEST, id, "m", "", 0, "x/y", KIB, Map.of());
      boolean response = log.offer(Kind.RESPONSE, id, "m", "", 0, "x/y", KIB, Map.of());
      assertEquals(request, response);
      assertEquals(request, log.samples(id));
    }
    log.close();
    // Binomial(4000, 1/4) has a standard deviation of 27.
    assertEquals(1000, log.counters().captured() / 2, 140);
    assertEquals(log.counters().captured(), log.counters().sent());
  }

  @Test
  void aRateOfZeroSamplesNothingAndOfOneEverything() {
    PayloadLog none = PayloadLog.start(config(1 << 20, 0, 0), new RecordingSink());
    PayloadLog all = PayloadLog.start(config(1 << 20, 1, 0), new RecordingSink());
    for (int i = 0; i < 10_000; i++) {
      assertFalse(none.samples("id" + i));
      assertTrue(all.samples("id" + i));
    }
    none.close();
    all.close();
  }

  @Test
  void accountsForEveryEventOfEightThreadsThatRaceWithTheClose() throws Exception {
    for (int round = 0; round < 20; round++) {
      RecordingSink sink = new RecordingSink();
      sink.refusesEvery = 7;
      PayloadLog log = PayloadLog.start(config(256 << 10, 1, 0), sink);
      AtomicLong offered = new AtomicLong();
      CountDownLatch started = new CountDownLatch(8);
      List<Thread> threads = new ArrayList<>();
      for (int t = 0; t < 8; t++) {
        String prefix = round + "-" + t + "-";
        threads.add(
            Thread.ofPlatform()
                .start(
                    () -> {
                      for (int i = 0; i < 3000; i++) {
                        offer(log, prefix + i, KIB);
                        offered.incrementAndGet();
                        if (i == 100) {
                          started.countDown();
                        }
                      }
                    }));
      }
      started.await();
      log.close();
      for (Thread thread : threads) {
        thread.join();
      }
      PayloadCounters end = log.counters();
      assertEquals(24_000, offered.get());
      assertEquals(24_000, end.captured());
      assertEquals(end.captured(), end.sent() + end.droppedTotal());
      assertEquals(0, end.queuedBytes());
      assertEquals(sink.acknowledged.get(), end.sent());
      Set<Long> sequences = new HashSet<>();
      sink.events.forEach(event -> assertTrue(sequences.add(event.sequence())));
    }
  }

  @Test
  void countsWhatASinkNeverAnswersAsShutdownAndClosesInTime() {
    RecordingSink sink = new RecordingSink();
    sink.keepsOutcomes = true;
    PayloadLog log = PayloadLog.start(config(1 << 20, 1, 0), sink);
    for (int i = 0; i < 10; i++) {
      offer(log, "id" + i, KIB);
    }
    await("the drain to hand over", () -> sink.outcomes.size() == 10);
    log.close();
    assertEquals(10, log.counters().dropped(DropReason.SHUTDOWN));
    sink.outcomes.forEach(one -> one.accept(true));
    assertEquals(0, log.counters().sent());
    assertFalse(offer(log, "late", KIB));
    assertEquals(11, log.counters().dropped(DropReason.SHUTDOWN));
  }

  @Test
  void keepsEventsWhileTheSinkIsNotReady() {
    RecordingSink sink = new RecordingSink();
    sink.isReady = false;
    PayloadLog log = PayloadLog.start(config(1 << 20, 1, 0), sink);
    for (int i = 0; i < 10; i++) {
      assertTrue(offer(log, "id" + i, KIB));
    }
    sink.isReady = true;
    await("all events", () -> log.counters().sent() == 10);
    log.close();
    assertEquals(0, log.counters().droppedTotal());
  }

  @Test
  void wakesUpAfterALongSilence() throws Exception {
    RecordingSink sink = new RecordingSink();
    PayloadLog log = PayloadLog.start(config(1 << 20, 1, 0), sink);
    // Longer than the time after which the drain thread goes to sleep.
    new CountDownLatch(1).await(1500, TimeUnit.MILLISECONDS);
    offer(log, "id", KIB);
    await("the event", () -> sink.events.size() == 1);
    log.close();
  }

  @Test
  void aDisabledLogTakesNothing() {
    PayloadLog log = PayloadLog.disabled();
    assertFalse(log.samples("id"));
    assertFalse(offer(log, "id", KIB));
    log.close();
    assertEquals(0, log.counters().captured());
  }

  @Test
  void namesTheKeyTheValueAndTheRangeOfAWrongSetting() {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> config(1 << 20, 1.5, 0));
    assertEquals("payload sampleRate is 1.5, allowed is 0 to 1", e.getMessage());
    e = assertThrows(IllegalArgumentException.class, () -> PayloadLogConfig.to("", "pod-1"));
    assertEquals(
        "payload bootstrapServers is empty, expected host:port of a Kafka broker when payload"
            + " logging is on",
        e.getMessage());
  }

  private static boolean offer(PayloadLog log, String id, byte[] value) {
    return log.offer(Kind.REQUEST, id, "model", "", 0, PayloadEvent.PROTOBUF, value, Map.of());
  }

  private static PayloadLogConfig config(long queueBytes, double sampleRate, int perSecond) {
    return new PayloadLogConfig(
        true, "none:9", "t", sampleRate, perSecond, queueBytes, 10_000, "pod", "", 5, 5_000, 2_000);
  }

  private static PayloadEvent last(Queue<PayloadEvent> events) {
    return events.stream().reduce((a, b) -> b).orElseThrow();
  }

  static void await(String what, BooleanSupplier condition) {
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadlineNs) {
        throw new AssertionError("waited 60 s for " + what);
      }
      Thread.onSpinWait();
      Thread.yield();
    }
  }

  /** A sink under the test's command; unless told otherwise it takes everything at once. */
  private static final class RecordingSink implements PayloadSink {
    final Queue<PayloadEvent> events = new ConcurrentLinkedQueue<>();
    final Queue<Outcome> outcomes = new ConcurrentLinkedQueue<>();
    final AtomicLong acknowledged = new AtomicLong();
    volatile boolean isReady = true;
    volatile boolean keepsOutcomes;
    volatile int refusesEvery = Integer.MAX_VALUE;
    volatile CountDownLatch gate = new CountDownLatch(0);

    @Override
    public boolean awaitReady(long timeoutMs) {
      return isReady;
    }

    @Override
    public void send(PayloadEvent event, Outcome outcome) {
      try {
        gate.await();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
      events.add(event);
      if (event.sequence() % refusesEvery == 0) {
        throw new IllegalStateException("refused " + new String(event.value(), UTF_8).length());
      }
      if (keepsOutcomes) {
        outcomes.add(outcome);
      } else {
        acknowledged.incrementAndGet();
        outcome.accept(true);
      }
    }

    @Override
    public void close(long timeoutMs) {}
  }

  /** A message lent to the log that counts what becomes of it. */
  private static final class Loan implements PayloadLog.Lent {
    final AtomicLong taken = new AtomicLong();
    final AtomicLong dropped = new AtomicLong();
    volatile boolean readable = true;
    volatile String takenBy = "";

    @Override
    public int size() {
      return 1024;
    }

    @Override
    public long heldBytes() {
      return 30_000;
    }

    @Override
    public byte @org.jspecify.annotations.Nullable [] take() {
      takenBy = Thread.currentThread().getName();
      taken.incrementAndGet();
      return readable ? KIB : null;
    }

    @Override
    public void drop() {
      dropped.incrementAndGet();
    }
  }

  private static boolean lend(PayloadLog log, String id, Loan loan) {
    return log.offer(
        Kind.REQUEST,
        id,
        "model",
        "",
        "inference.GRPCInferenceService/ModelInfer",
        0,
        PayloadEvent.PROTOBUF,
        loan,
        Map.of());
  }

  @Test
  void takesWhatIsLentOnceOnItsOwnThreadAndDropsWhatItDoesNotKeep() throws Exception {
    CountDownLatch gate = new CountDownLatch(1);
    RecordingSink sink = new RecordingSink();
    sink.gate = gate;
    PayloadLog log = PayloadLog.start(config(64 << 10, 1, 0), sink);
    List<Loan> loans = new ArrayList<>();
    int kept = 0;
    for (int i = 0; i < 10; i++) {
      loans.add(new Loan());
      loans.getLast().readable = i != 1;
      kept += lend(log, "id" + i, loans.getLast()) ? 1 : 0;
    }
    // It is charged what it keeps from being used, not what it is long.
    assertEquals(2, kept);
    gate.countDown();
    await("the first", () -> log.counters().sent() == 1);
    log.close();
    assertEquals(1, log.counters().dropped(DropReason.UNREADABLE));
    assertEquals(8, log.counters().dropped(DropReason.QUEUE_FULL));
    for (Loan loan : loans) {
      assertEquals(1, loan.taken.get() + loan.dropped.get());
    }
    assertEquals("payload-log-drain", loans.getFirst().takenBy);
    assertEquals(0, log.counters().queuedBytes());
  }
}
