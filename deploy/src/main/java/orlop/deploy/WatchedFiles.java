package orlop.deploy;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Reads files again when what they hold has changed: by looking at their bytes, since a mounted
 * secret or ConfigMap is replaced by a change of links, of which not every file system tells; those
 * of a file too long for that stay unread, and its length and time stand for them. What could not
 * be read is read again at each look until it can, with one warning for each reason. Runs on a
 * thread of its own until closed.
 */
final class WatchedFiles implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(WatchedFiles.class.getName());

  /** Takes over what the files hold; a throw leaves what stood before. */
  interface Reader {
    void read() throws IOException;
  }

  /** No secret or ConfigMap is longer. */
  private static final long MAX_READ_BYTES = 1 << 20;

  private final List<Path> files;
  private final long everyMs;
  private final Reader reader;
  private final CountDownLatch closed = new CountDownLatch(1);
  private Map<Path, Integer> seen;
  // Written under this object's lock.
  private volatile @Nullable String failed;

  /**
   * @param files a directory stands for the files that lie in it, how ever many they come to be
   * @param reader called after a change, by one thread at a time
   */
  WatchedFiles(List<Path> files, long everyMs, Reader reader) {
    this.files = List.copyOf(files);
    this.everyMs = everyMs;
    this.reader = reader;
    this.seen = look();
    Thread.ofVirtual().name("orlop-files").start(this::watch);
  }

  private void watch() {
    try {
      while (!closed.await(everyMs, TimeUnit.MILLISECONDS)) {
        Map<Path, Integer> now = look();
        if (failed != null || !now.equals(seen)) {
          seen = now;
          read();
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Reads now, as after a change. */
  synchronized void read() {
    try {
      reader.read();
      failed = null;
    } catch (IOException | RuntimeException e) {
      String why = ErrorLine.of(e);
      if (!why.equals(failed)) {
        LOG.log(Level.WARNING, "{0} changed, and what stood before stays: {1}", files, why);
      }
      failed = why;
    }
  }

  /** The hash of each file's content, without those that cannot be read. */
  private Map<Path, Integer> look() {
    Map<Path, Integer> all = new HashMap<>();
    for (Path file : files) {
      if (!Files.isDirectory(file)) {
        look(file, all);
        continue;
      }
      try (DirectoryStream<Path> inside = Files.newDirectoryStream(file, Files::isRegularFile)) {
        inside.forEach(one -> look(one, all));
      } catch (IOException | DirectoryIteratorException e) {
        // It holds nothing then, until it can be read again.
      }
    }
    return all;
  }

  private static void look(Path file, Map<Path, Integer> all) {
    try {
      long bytes = Files.size(file);
      all.put(
          file,
          bytes > MAX_READ_BYTES
              ? Objects.hash(bytes, Files.getLastModifiedTime(file))
              : Arrays.hashCode(Files.readAllBytes(file)));
    } catch (IOException e) {
      // As if it were not there, until it can be read again.
    }
  }

  @Override
  public void close() {
    closed.countDown();
  }
}
