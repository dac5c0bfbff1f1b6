package orlop.puller;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Files made of pulled ones, one by one on a thread of their own, and kept in the disk cache beside
 * them: within its bounds, and the first to be purged. Thread-safe.
 */
final class MadeFiles implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(MadeFiles.class.getName());
  private static final int MOST_WAITING = 64;
  private static final int KEEP_THREAD_S = 10;

  private final DiskCache cache;
  private final ThreadPoolExecutor thread =
      new ThreadPoolExecutor(
          1,
          1,
          KEEP_THREAD_S,
          TimeUnit.SECONDS,
          new LinkedBlockingQueue<>(MOST_WAITING),
          Thread.ofPlatform().daemon().name("puller-made-", 0).factory());

  MadeFiles(DiskCache cache) {
    this.cache = cache;
    thread.allowCoreThreadTimeOut(true);
  }

  /** A pinned claim on what was made of that content under that name, or null. */
  @Nullable Pulled find(Pulled of, String name) {
    if (!(of.hold() instanceof DiskCache.Entry content)) {
      return null;
    }
    DiskCache.Entry made = cache.pin(digest(content, name), content.source());
    return made == null ? null : made.pulled(true);
  }

  void keep(Pulled of, String name, long mostBytes, ModelPuller.Maker maker) {
    if (!(of.hold() instanceof DiskCache.Entry content)) {
      return;
    }
    Pulled held = of.again();
    try {
      thread.execute(
          () -> {
            try (held) {
              make(content, name, mostBytes, maker);
            } catch (IOException | PullException | RuntimeException e) {
              LOG.log(Level.INFO, "''{0}'' of {1} is not kept: {2}", name, content.source(), e);
            }
          });
    } catch (RejectedExecutionException e) {
      // Too many wait: it is made at a later load.
      held.close();
    }
  }

  private void make(DiskCache.Entry content, String name, long mostBytes, ModelPuller.Maker maker)
      throws IOException, PullException {
    String digest = digest(content, name);
    DiskCache.Entry already = cache.pin(digest, content.source());
    if (already != null) {
      already.release();
      return;
    }
    Place place = new Place(content.source(), "what was pulled of it");
    try (DiskCache.Reservation space = cache.reserve(digest, mostBytes, place)) {
      Path file = space.content().resolve(name);
      maker.make(file);
      long bytes = Files.size(file);
      if (bytes > mostBytes) {
        throw new IOException("it has " + bytes + " bytes, expected at most " + mostBytes);
      }
      Manifest.Stored stored =
          new Manifest.Stored(name, bytes, Checksum.crc32c(file), Checksum.Algorithm.CRC32C.name());
      space
          .publish(
              new Manifest(Manifest.VERSION, content.source(), digest, true, List.of(stored), true))
          .release();
    }
  }

  private static String digest(DiskCache.Entry content, String name) {
    try {
      MessageDigest sha = MessageDigest.getInstance("SHA-256");
      sha.update(content.digest().getBytes(StandardCharsets.UTF_8));
      sha.update((byte) 0);
      return HexFormat.of().formatHex(sha.digest(name.getBytes(StandardCharsets.UTF_8)));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  @Override
  public void close() {
    thread.shutdownNow();
  }
}
