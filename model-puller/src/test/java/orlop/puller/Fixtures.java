package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.function.Executable;

/** What several test classes share. */
final class Fixtures {
  private Fixtures() {}

  /** Small parts and short waits, so that small files are pulled in many parts. */
  static PullerConfig config(Path cache, long capacityBytes, Map<String, StorageConfig> storages) {
    return new PullerConfig(
        cache, capacityBytes, 4, 64 << 10, 2, 4, 1, 60_000, 30_000, 0, storages, null, null);
  }

  static byte[] bytes(long seed, int length) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  static ModelLocation at(String path) {
    return new ModelLocation(path, "");
  }

  /** All files below a directory, by relative name. */
  static Map<String, byte[]> files(Path directory) throws IOException {
    Map<String, byte[]> files = new TreeMap<>();
    try (Stream<Path> walk = Files.walk(directory)) {
      for (Path file : walk.filter(Files::isRegularFile).toList()) {
        files.put(directory.relativize(file).toString(), Files.readAllBytes(file));
      }
    }
    return files;
  }

  static long children(Path directory) throws IOException {
    try (Stream<Path> list = Files.list(directory)) {
      return list.count();
    }
  }

  /** The failure of a pull, checked to be of one kind and one line. */
  static PullException refused(PullException.Kind kind, Executable pull) {
    PullException e = assertThrows(PullException.class, pull);
    assertTrue(e.kind() == kind, () -> "expected " + kind + " but was " + e.kind() + ": " + e);
    String message = String.valueOf(e.getMessage());
    assertTrue(!message.isBlank() && message.lines().count() == 1, message);
    assertTrue(!message.contains("secret-text"), message);
    return e;
  }

  /** Waits until something holds, at most 30 s. */
  static void await(String what, BooleanSupplier holds) throws InterruptedException {
    long deadlineNs = System.nanoTime() + 30_000_000_000L;
    while (!holds.getAsBoolean()) {
      assertTrue(System.nanoTime() < deadlineNs, "not within 30 s: " + what);
      Thread.sleep(5);
    }
  }
}
