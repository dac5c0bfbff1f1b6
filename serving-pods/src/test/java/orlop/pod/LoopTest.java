package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.netty.channel.EventLoop;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Goal: calls that come free share the loop with those that need not wait. */
class LoopTest {
  private static final int TIMEOUT_S = 30;

  private final MultiThreadIoEventLoopGroup group =
      new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
  private final EventLoop executor = group.next();
  private final Loop loop =
      new Loop(
          executor,
          8_192,
          (self, target) -> {
            throw new IllegalStateException("nothing is to be opened here: " + target);
          });

  @AfterEach
  void stop() {
    var unused = group.shutdownGracefully(0, 1, TimeUnit.SECONDS);
  }

  @Test
  void aFreedCallNeverRunsInTheMidstOfAnother() throws Exception {
    List<String> order = new CopyOnWriteArrayList<>();
    CountDownLatch both = new CountDownLatch(2);
    executor.execute(
        () ->
            loop.resume(
                () -> {
                  order.add("first begins");
                  loop.resume(
                      () -> {
                        order.add("second");
                        both.countDown();
                      });
                  order.add("first ends");
                  both.countDown();
                }));
    assertTrue(both.await(TIMEOUT_S, TimeUnit.SECONDS));
    assertEquals(List.of("first begins", "first ends", "second"), order);
  }

  @Test
  void whatNeedsNotWaitRunsBetweenThousandsThatComeFree() throws Exception {
    int calls = 2_000;
    AtomicInteger ran = new AtomicInteger();
    CountDownLatch all = new CountDownLatch(calls);
    AtomicInteger before = new AtomicInteger(-1);
    executor.execute(
        () -> {
          for (int i = 0; i < calls; i++) {
            loop.resume(
                () -> {
                  long untilNs = System.nanoTime() + 20_000;
                  while (System.nanoTime() < untilNs) {
                    Thread.onSpinWait();
                  }
                  ran.incrementAndGet();
                  all.countDown();
                });
          }
          // Stands behind one slice of them at most.
          executor.execute(() -> before.set(ran.get()));
        });
    assertTrue(all.await(TIMEOUT_S, TimeUnit.SECONDS));
    assertTrue(before.get() >= 0 && before.get() <= 100, before + " of " + calls + " ran before");
  }

  @Test
  void oneThatFailsDoesNotHoldTheOthers() throws Exception {
    CountDownLatch second = new CountDownLatch(1);
    executor.execute(
        () -> {
          loop.resume(
              () -> {
                throw new IllegalStateException("a call that fails, which this test makes");
              });
          loop.resume(second::countDown);
        });
    assertTrue(second.await(TIMEOUT_S, TimeUnit.SECONDS));
  }
}
