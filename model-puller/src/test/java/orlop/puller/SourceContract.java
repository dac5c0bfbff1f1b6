package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** What a model's owner may rely on whatever the store: run against each store through the door. */
abstract class SourceContract {
  abstract ModelPuller puller();

  /** Puts one file below the test's own root. */
  abstract void put(String name, byte[] bytes) throws Exception;

  /** The location of a name below that root. */
  abstract ModelLocation location(String name);

  @Test
  void namesWhatLiesDirectlyBelowALocation() throws Exception {
    put("shelf/a/model.onnx", Fixtures.bytes(1, 10));
    put("shelf/a/deep/weights.bin", Fixtures.bytes(2, 10));
    put("shelf/b.onnx", Fixtures.bytes(3, 10));
    assertEquals(List.of("a", "b.onnx"), puller().children(location("shelf")));
  }

  @Test
  void bringsEveryFileOfADirectoryByteForByte() throws Exception {
    byte[] large = Fixtures.bytes(1, 300_001);
    put("net/1/model.onnx", large);
    put("net/config.json", "{}".getBytes());
    put("net/empty", new byte[0]);
    put("net/with space/ü+%41.txt", "x".getBytes());
    try (Pulled pulled = puller().pull(location("net"))) {
      Map<String, byte[]> files = Fixtures.files(pulled.directory());
      assertEquals(
          Set.of("1/model.onnx", "config.json", "empty", "with space/ü+%41.txt"), files.keySet());
      assertArrayEquals(large, files.get("1/model.onnx"));
      assertArrayEquals("{}".getBytes(), files.get("config.json"));
      assertEquals(300_001 + 2 + 1, pulled.bytes());
      assertEquals(pulled.directory(), pulled.path());
    }
  }

  @Test
  void bringsASingleFileUnderItsOwnName() throws Exception {
    byte[] bytes = Fixtures.bytes(2, 70_000);
    put("alone/model.onnx", bytes);
    try (Pulled pulled = puller().pull(location("alone/model.onnx"))) {
      assertEquals("model.onnx", pulled.path().getFileName().toString());
      assertEquals(pulled.directory(), pulled.path().getParent());
      assertArrayEquals(bytes, Files.readAllBytes(pulled.path()));
      assertEquals(70_000, pulled.bytes());
    }
  }

  @Test
  void takesNothingFromANeighbourWhoseNameOnlyBeginsTheSame() throws Exception {
    put("twin/a", "a".getBytes());
    put("twin-2/b", "b".getBytes());
    put("twin.txt", "c".getBytes());
    try (Pulled pulled = puller().pull(location("twin"))) {
      assertEquals(Set.of("a"), Fixtures.files(pulled.directory()).keySet());
    }
  }

  @Test
  void tellsTheSizeBeforeAnythingIsPulled() throws Exception {
    put("sized/a", new byte[1000]);
    put("sized/b/c", new byte[234]);
    long before = puller().stats().bytesPulled();
    assertEquals(1234, puller().sizeBytes(location("sized")));
    assertEquals(before, puller().stats().bytesPulled());
  }

  @Test
  void showsTheNewContentAfterAnOverwrite() throws Exception {
    put("changing/a", "old".getBytes());
    puller().pull(location("changing")).close();
    put("changing/a", "newer".getBytes());
    try (Pulled pulled = puller().pull(location("changing"))) {
      assertEquals("newer", Files.readString(pulled.path().resolve("a")));
    }
  }

  @Test
  void bringsMoreThanAThousandFiles() throws Exception {
    List<Future<?>> puts = new ArrayList<>();
    try (ExecutorService threads = Executors.newFixedThreadPool(8)) {
      for (int i = 0; i < 1_050; i++) {
        int number = i;
        puts.add(
            threads.submit(
                () -> {
                  put("many/" + number, new byte[] {(byte) number});
                  return null;
                }));
      }
    }
    for (Future<?> put : puts) {
      put.get();
    }
    try (Pulled pulled = puller().pull(location("many"))) {
      assertEquals(1_050, Fixtures.files(pulled.directory()).size());
    }
  }

  @Test
  void saysWhatIsMissing() {
    PullException e =
        Fixtures.refused(
            PullException.Kind.NOT_FOUND, () -> puller().pull(location("no/such/model")));
    assertTrue(e.getMessage().contains(location("no/such/model").path()), e.getMessage());
  }

  @Test
  void refusesAPathThatClimbs() throws Exception {
    put("low/a", "a".getBytes());
    Fixtures.refused(
        PullException.Kind.BAD_LOCATION, () -> puller().pull(location("low/../../../etc")));
  }
}
