package orlop.deploy;

import java.io.IOException;
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
      int one;
      try {
        one = Arrays.hashCode(Files.readAllBytes(file));
      } catch (IOException e) {
        one = 0;
      }
      all = 31 * all + one;
    }
    return all;
  }

  @Override
  public void close() {
    closed.countDown();
  }
}
