package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What changes in a file is read, and read again when that failed. */
final class WatchedFilesTest {
  private static final long LOOK_MS = 10;
  @TempDir Path dir;
  private final BlockingQueue<String> reads = new LinkedBlockingQueue<>();

  @Test
  void seesTwoFilesExchangeTheirContents() throws Exception {
    Path mount = Files.createDirectory(dir.resolve("mount"));
    Files.createSymbolicLink(mount.resolve("..data"), version("v1", "x", "y"));
    for (String name : List.of("a", "b")) {
      Files.createSymbolicLink(mount.resolve(name), Path.of("..data", name));
    }
    try (WatchedFiles watched = new WatchedFiles(List.of(mount), LOOK_MS, () -> reads.add("now"))) {
      assertNotNull(watched);
      Files.createSymbolicLink(mount.resolve("..next"), version("v2", "y", "x"));
      Files.move(
          mount.resolve("..next"), mount.resolve("..data"), StandardCopyOption.REPLACE_EXISTING);
      assertEquals("now", reads.poll(30, TimeUnit.SECONDS));
    }
  }

  @Test
  void readsAgainUntilItCanAndThenNoMore() throws Exception {
    Path file = Files.writeString(dir.resolve("file"), "old");
    try (WatchedFiles watched = new WatchedFiles(List.of(file), LOOK_MS, this::failTwice)) {
      assertNotNull(watched);
      Path next = Files.writeString(dir.resolve("next"), "new");
      Files.move(next, file, StandardCopyOption.ATOMIC_MOVE);
      for (int i = 0; i < 3; i++) {
        assertEquals("read " + i, reads.poll(30, TimeUnit.SECONDS));
      }
      assertNull(reads.poll(20 * LOOK_MS, TimeUnit.MILLISECONDS));
    }
  }

  @Test
  void doesNotReadAFileThatIsTooLongToBeMeant() throws Exception {
    Path small = Files.writeString(dir.resolve("small"), "old");
    try (RandomAccessFile large = new RandomAccessFile(dir.resolve("large").toFile(), "rw")) {
      large.setLength(3L << 30);
    }
    try (WatchedFiles watched = new WatchedFiles(List.of(dir), LOOK_MS, () -> reads.add("now"))) {
      assertNotNull(watched);
      Files.writeString(small, "new");
      assertEquals("now", reads.poll(30, TimeUnit.SECONDS));
    }
  }

  private int failures;

  private void failTwice() throws IOException {
    reads.add("read " + failures);
    if (failures++ < 2) {
      throw new IOException("not now");
    }
  }

  private Path version(String name, String a, String b) throws IOException {
    Path version = Files.createDirectory(dir.resolve(name));
    Files.writeString(version.resolve("a"), a);
    Files.writeString(version.resolve("b"), b);
    return version;
  }
}
