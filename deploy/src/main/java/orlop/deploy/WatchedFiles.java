package orlop.deploy;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Says when what some files hold has changed: by looking at their bytes, since a mounted secret or
 * ConfigMap is replaced by a change of links, of which not every file system tells. Runs on a
 * thread of its own until closed.
 */
final class WatchedFiles implements AutoCloseable {
  private final List<Path> files;
  private final long everyMs;
  private final Runnable changed;
  private final CountDownLatch closed = new CountDownLatch(1);
  private int seen;

  /**
   * @param files a directory stands for the files that lie in it, how ever many they come to be
   * @param changed told after a change, on the watching thread; whether the files make sense is its
   *     affair
   */
  WatchedFiles(List<Path> files, long everyMs, Runnable changed) {
    this.files = List.copyOf(files);
    this.everyMs = everyMs;
    this.changed = changed;
    this.seen = look();
    Thread.ofVirtual().name("orlop-files").start(this::watch);
  }

  private void watch() {
    try {
      while (!closed.await(everyMs, TimeUnit.MILLISECONDS)) {
        int now = look();
        if (now != seen) {
          seen = now;
          changed.run();
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private int look() {
    int all = 1;
    for (Path file : files) {
      all = 31 * all + look(file);
    }
    return all;
  }

  /** 0 when it cannot be read. */
  private static int look(Path file) {
    try {
      if (!Files.isDirectory(file)) {
        return Arrays.hashCode(Files.readAllBytes(file));
      }
      int all = 1;
      try (DirectoryStream<Path> inside = Files.newDirectoryStream(file, Files::isRegularFile)) {
        // A sum, because they come in any order.
        for (Path one : inside) {
          all += 31 * one.hashCode() + look(one);
        }
      }
      return all;
    } catch (IOException | DirectoryIteratorException e) {
      return 0;
    }
  }

  @Override
  public void close() {
    closed.countDown();
  }
}
