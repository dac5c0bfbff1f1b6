package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is made of pulled files is kept beside them, within bounds and as it was made. */
final class MadeFilesTest {
  private static final byte[] MODEL = Fixtures.bytes(3, 100_000);
  private static final byte[] COPY = Fixtures.bytes(4, 60_000);
  private static final ModelLocation PLACE = Fixtures.at("s3://b/m");

  @TempDir Path temp;
  private FakeS3 store;
  private ModelPuller puller;

  @BeforeEach
  void open() throws IOException {
    store = new FakeS3();
    store.objects.put("m/model.onnx", MODEL);
    puller = puller(1 << 20);
  }

  @AfterEach
  void close() {
    puller.close();
    store.close();
  }

  private ModelPuller puller(long capacityBytes) {
    return new ModelPuller(
        Fixtures.config(temp.resolve("cache"), capacityBytes, Map.of("default", store.storage())));
  }

  private void make(Pulled model) throws Exception {
    puller.keep(model, "copy", COPY.length, file -> Files.write(file, COPY));
    Fixtures.await("it is made", () -> puller.stats().cacheBytes() > MODEL.length);
  }

  @Test
  void isFoundAgainAlsoAfterARestart() throws Exception {
    try (Pulled model = puller.pull(PLACE)) {
      assertNull(puller.made(model, "copy"));
      make(model);
      assertNull(puller.made(model, "another"));
    }
    puller.close();
    puller = puller(1 << 20);
    try (Pulled model = puller.pull(PLACE);
        Pulled copy = puller.made(model, "copy")) {
      assertNotNull(copy);
      assertArrayEquals(COPY, Files.readAllBytes(copy.path()));
      assertArrayEquals(MODEL, Files.readAllBytes(model.path().resolve("model.onnx")));
    }
  }

  @Test
  void isNotTrustedAfterARestartWhenItChanged() throws Exception {
    Path file;
    try (Pulled model = puller.pull(PLACE)) {
      make(model);
      try (Pulled copy = puller.made(model, "copy")) {
        assertNotNull(copy);
        file = copy.path();
      }
    }
    puller.close();
    byte[] changed = COPY.clone();
    changed[30_000] ^= 1;
    Files.write(file, changed);
    puller = puller(1 << 20);
    try (Pulled model = puller.pull(PLACE)) {
      assertNull(puller.made(model, "copy"));
      assertEquals(MODEL.length, puller.stats().cacheBytes());
    }
  }

  @Test
  void goesWithItsModel() throws Exception {
    try (Pulled model = puller.pull(PLACE)) {
      make(model);
    }
    assertEquals(MODEL.length + COPY.length, puller.purge(PLACE));
    assertEquals(0, puller.stats().cacheBytes());
  }

  @Test
  void isPurgedBeforeAnythingThatWasPulled() throws Exception {
    puller.close();
    puller = puller(250_000);
    store.objects.put("n/model.onnx", Fixtures.bytes(5, 100_000));
    try (Pulled model = puller.pull(PLACE)) {
      make(model);
    }
    puller.pull(Fixtures.at("s3://b/n")).close();
    assertEquals(2L * MODEL.length, puller.stats().cacheBytes());
    try (Pulled model = puller.pull(PLACE)) {
      assertTrue(model.fromDisk());
      assertNull(puller.made(model, "copy"));
    }
  }

  @Test
  void isNotKeptWhereThereIsNoRoomOrItGrowsTooLarge() throws Exception {
    CountDownLatch tried = new CountDownLatch(1);
    AtomicInteger made = new AtomicInteger();
    try (Pulled model = puller.pull(PLACE)) {
      puller.keep(model, "huge", 2 << 20, file -> made.incrementAndGet());
      puller.keep(model, "long", 10, file -> Files.write(file, COPY));
      puller.keep(
          model,
          "failing",
          10,
          file -> {
            tried.countDown();
            throw new IOException("no");
          });
      tried.await();
      assertEquals(0, made.get());
      Fixtures.await(
          "nothing is left",
          () -> {
            try {
              return Fixtures.children(temp.resolve("cache/partial")) == 0;
            } catch (IOException e) {
              return false;
            }
          });
      assertEquals(MODEL.length, puller.stats().cacheBytes());
    }
  }
}
