package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class TurnsTest {
  @Test
  void whoCameFirstIsServedFirstAndAFullLineTakesNobody() {
    Turns turns = new Turns(1, 3);
    List<String> served = new ArrayList<>();
    assertTrue(turns.enter(() -> served.add("a")));
    assertTrue(turns.enter(() -> served.add("b")));
    assertTrue(turns.enter(() -> served.add("c")));
    assertFalse(turns.enter(() -> served.add("d")));
    assertEquals("1 of its calls run and 2 wait, at most 3 may", turns.full());
    assertEquals(List.of("a"), served);
    turns.leave();
    turns.leave();
    assertEquals(List.of("a", "b", "c"), served);
    turns.leave();
    assertTrue(turns.enter(() -> served.add("e")));
    assertEquals(List.of("a", "b", "c", "e"), served);
  }

  @Test
  void whoGoesLeavesTheLine() {
    Turns turns = new Turns(1, 2);
    List<String> served = new ArrayList<>();
    Runnable second = () -> served.add("b");
    assertTrue(turns.enter(() -> served.add("a")));
    assertTrue(turns.enter(second));
    assertTrue(turns.forget(second));
    assertFalse(turns.forget(second));
    assertTrue(turns.enter(() -> served.add("c")));
    turns.leave();
    assertEquals(List.of("a", "c"), served);
  }

  @Test
  void neverMoreAtOnceThanAllowedWhoeverLeaves() throws Exception {
    int calls = 20_000;
    Turns turns = new Turns(3, calls);
    AtomicInteger running = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    CountDownLatch done = new CountDownLatch(calls);
    try (ExecutorService pool = Executors.newFixedThreadPool(8)) {
      for (int i = 0; i < calls; i++) {
        pool.execute(
            () ->
                turns.enter(
                    () ->
                        pool.execute(
                            () -> {
                              most.accumulateAndGet(running.incrementAndGet(), Math::max);
                              Thread.yield();
                              running.decrementAndGet();
                              turns.leave();
                              done.countDown();
                            })));
      }
      assertTrue(done.await(60, TimeUnit.SECONDS));
    }
    assertTrue(most.get() <= 3, most + " at once");
  }
}
