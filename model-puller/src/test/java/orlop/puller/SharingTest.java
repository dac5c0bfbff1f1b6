package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.puller.PullException.Kind;

/** Many callers at once, and callers who leave: on a store whose answers wait at a gate. */
final class SharingTest {
  @TempDir Path temp;
  private final Semaphore gate = new Semaphore(0);
  private final CountDownLatch atGate = new CountDownLatch(1);
  private FakeS3 store;
  private ModelPuller puller;
  private ExecutorService callers;

  @BeforeEach
  void open() throws IOException {
    store = new FakeS3();
    for (int i = 0; i < 8; i++) {
      store.objects.put("m" + i + "/model", Fixtures.bytes(i, 200_000));
    }
    store.fault =
        (exchange, key) -> {
          if (!key.isEmpty()) {
            atGate.countDown();
            gate.acquireUninterruptibly();
          }
          return false;
        };
    callers = Executors.newVirtualThreadPerTaskExecutor();
    puller = puller(60_000);
  }

  private ModelPuller puller(long timeoutMs) {
    return new ModelPuller(
        new PullerConfig(
            temp.resolve("cache"),
            10 << 20,
            4,
            64 << 10,
            2,
            4,
            1,
            timeoutMs,
            30_000,
            0,
            Map.of("default", store.storage()),
            null,
            null));
  }

  @AfterEach
  void close() {
    gate.release(1_000_000);
    callers.shutdownNow();
    puller.close();
    store.close();
  }

  private Pulled pull(int model) throws Exception {
    return puller.pull(Fixtures.at("s3://b/m" + model));
  }

  private long partial() {
    try {
      return Fixtures.children(temp.resolve("cache/partial"));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void aHundredCallersOfOneModelFetchItOnce() throws Exception {
    List<Future<Pulled>> pulls = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      pulls.add(callers.submit(() -> pull(0)));
    }
    Fixtures.await("99 joined", () -> puller.stats().joined() == 99);
    gate.release(1_000_000);
    for (Future<Pulled> pull : pulls) {
      assertEquals(200_000, pull.get(60, TimeUnit.SECONDS).bytes());
    }
    assertEquals(4, store.gets.get(), "four parts, each once");
    assertEquals(1, store.lists.get());
    assertEquals(1, puller.stats().misses());
    assertEquals(200_000, puller.stats().pinnedBytes());
    for (Future<Pulled> pull : pulls) {
      pull.get().close();
      pull.get().close();
    }
    assertEquals(0, puller.stats().pinnedBytes());
  }

  @Test
  void twoNamesOfOneContentFetchItOnce() throws Exception {
    Future<Pulled> uri = callers.submit(() -> pull(0));
    Future<Pulled> slash = callers.submit(() -> puller.pull(Fixtures.at("s3://b/m0/")));
    Fixtures.await("second joined", () -> puller.stats().joined() == 1);
    gate.release(1_000_000);
    assertEquals(
        uri.get(60, TimeUnit.SECONDS).directory(), slash.get(60, TimeUnit.SECONDS).directory());
    assertEquals(4, store.gets.get());
    assertEquals(1, puller.stats().cacheEntries());
  }

  @Test
  void aCallerWhoLeavesDoesNotEndThePullForTheOthers() throws Exception {
    Future<Pulled> leaves = callers.submit(() -> pull(0));
    Future<Pulled> stays = callers.submit(() -> pull(0));
    Fixtures.await("both wait", () -> puller.stats().joined() == 1);
    assertTrue(leaves.cancel(true));
    gate.release(1_000_000);
    assertEquals(200_000, stays.get(60, TimeUnit.SECONDS).bytes());
    assertEquals(4, store.gets.get());
  }

  @Test
  void theLastCallerToLeaveEndsThePullAndNothingStaysOnDisk() throws Exception {
    CountDownLatch left = new CountDownLatch(1);
    Thread caller =
        Thread.ofPlatform()
            .start(
                () -> {
                  assertThrows(InterruptedException.class, () -> pull(0));
                  assertEquals(0, partial());
                  left.countDown();
                });
    assertTrue(atGate.await(30, TimeUnit.SECONDS));
    assertEquals(1, partial());
    caller.interrupt();
    assertTrue(left.await(30, TimeUnit.SECONDS), "the caller must leave with nothing behind it");
    assertEquals(0, puller.stats().cacheEntries());
    gate.release(1_000_000);
    try (Pulled pulled = pull(0)) {
      assertEquals(200_000, pulled.bytes(), "and a later pull starts afresh");
    }
  }

  @Test
  void aPullThatTakesTooLongIsTransient() throws Exception {
    puller.close();
    puller = puller(300);
    PullException e = Fixtures.refused(Kind.TRANSIENT, () -> pull(0));
    assertTrue(e.getMessage().contains("did not end within 300 ms"), e.getMessage());
    assertEquals(0, partial());
  }

  @Test
  void noMoreDownloadsAtOnceThanConfigured() throws Exception {
    List<Future<Pulled>> pulls = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      int model = i;
      pulls.add(callers.submit(() -> pull(model)));
    }
    Fixtures.await("all are listed", () -> store.lists.get() == 8);
    Fixtures.await("two are begun", () -> partial() == 2);
    assertEquals(2, puller.stats().misses());
    gate.release(1_000_000);
    for (Future<Pulled> pull : pulls) {
      assertEquals(200_000, pull.get(60, TimeUnit.SECONDS).bytes());
    }
    assertEquals(8, puller.stats().cacheEntries());
  }

  @Test
  void closingEndsRunningPullsAndRefusesNewOnes() throws Exception {
    Future<Pulled> running = callers.submit(() -> pull(0));
    assertTrue(atGate.await(30, TimeUnit.SECONDS));
    puller.close();
    ExecutionException e =
        assertThrows(ExecutionException.class, () -> running.get(30, TimeUnit.SECONDS));
    assertTrue(e.getCause() instanceof PullException, () -> "was " + e.getCause());
    assertEquals(0, partial());
    Fixtures.refused(Kind.TRANSIENT, () -> pull(1));
  }

  @Test
  void oneCacheDirectoryBelongsToOnePuller() {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> puller(1_000));
    assertTrue(String.valueOf(e.getMessage()).contains("another puller uses it"), e.getMessage());
  }
}
