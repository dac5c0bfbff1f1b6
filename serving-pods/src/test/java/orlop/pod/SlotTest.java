package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Pins keep what they guard open, and a shut slot lets nobody in. */
class SlotTest {

  @Test
  void aShutSlotIsEmptyOnlyWhenTheLastPinHasLeft() throws Exception {
    Slot<String> slot = new Slot<>("x");
    assertTrue(slot.pin(5));
    assertTrue(slot.pin(9));
    assertEquals(9, slot.lastUsedNs());
    assertEquals(2, slot.pins());
    slot.shut();
    slot.shut();
    assertFalse(slot.pin(11));
    assertEquals(9, slot.lastUsedNs());
    slot.unpin();
    assertFalse(slot.awaitEmpty(1));
    slot.unpin();
    assertTrue(slot.awaitEmpty(0));
    assertEquals(0, slot.pins());
    assertEquals(2, slot.calls());
  }

  @Test
  void theLastEightUsesAreKnownNewestFirst() {
    Slot<String> slot = new Slot<>("x");
    long[] recent = new long[4];
    assertEquals(0, slot.recentUses(recent));
    slot.pin(1);
    slot.pin(2);
    assertEquals(2, slot.recentUses(recent));
    assertEquals(2, recent[0]);
    assertEquals(1, recent[1]);
    for (int i = 3; i <= 30; i++) {
      slot.pin(i);
    }
    long[] all = new long[20];
    assertEquals(8, slot.recentUses(all));
    assertEquals(30, all[0]);
    assertEquals(23, all[7]);
    assertEquals(4, slot.recentUses(recent));
  }

  @Test
  void aShutSlotThatNobodyUsesIsEmptyAtOnce() throws Exception {
    Slot<String> slot = new Slot<>("x");
    assertFalse(slot.awaitEmpty(1));
    slot.shut();
    assertTrue(slot.awaitEmpty(0));
  }

  @Test
  void nobodyIsInsideWhenItHasBecomeEmpty() throws Exception {
    // Method: threads pin and unpin as fast as they can while another shuts; what the slot holds
    // is closed right after it became empty, and nobody may see it closed between pin and unpin.
    for (int round = 0; round < 300; round++) {
      Slot<AtomicBoolean> slot = new Slot<>(new AtomicBoolean(true));
      AtomicInteger violations = new AtomicInteger();
      AtomicInteger entered = new AtomicInteger();
      CountDownLatch start = new CountDownLatch(1);
      List<Thread> threads = new ArrayList<>();
      for (int t = 0; t < 4; t++) {
        threads.add(
            Thread.ofVirtual()
                .start(
                    () -> {
                      awaitQuietly(start);
                      while (slot.pin(1)) {
                        entered.incrementAndGet();
                        if (!slot.held().get()) {
                          violations.incrementAndGet();
                        }
                        slot.unpin();
                      }
                    }));
      }
      start.countDown();
      while (entered.get() == 0) {
        Thread.onSpinWait();
      }
      slot.shut();
      assertTrue(slot.awaitEmpty(30_000));
      slot.held().set(false);
      for (Thread thread : threads) {
        thread.join();
      }
      assertEquals(0, violations.get());
      assertEquals(entered.get(), slot.calls());
      assertEquals(0, slot.pins());
    }
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
