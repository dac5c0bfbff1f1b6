package orlop.deploy;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import orlop.puller.StorageConfig;

/**
 * Follows the directory of the storage secret: tells of other storages when its content changed.
 * Looks at the content rather than at the file system's events, because Kubernetes swaps links and
 * not every volume tells. One thread; what cannot be read keeps the last storages.
 */
final class StorageWatch implements AutoCloseable {
  private static final Logger LOG = System.getLogger(StorageWatch.class.getName());
  private static final long LOOK_MS = 2_000;

  private final Path directory;
  private final Map<String, StorageConfig> named;
  private final Consumer<Map<String, StorageConfig>> changed;
  private final ScheduledExecutorService looking =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("orlop-storage-watch").factory());
  // Owned by the thread.
  private Map<String, StorageConfig> last;
  private boolean unreadable;

  /**
   * @param named storages of the configuration itself, which win over files of the same name
   * @param last what the directory held, the named ones with it
   * @param changed hears of each other content, the named ones with it
   */
  StorageWatch(
      Path directory,
      Map<String, StorageConfig> named,
      Map<String, StorageConfig> last,
      Consumer<Map<String, StorageConfig>> changed) {
    this.directory = directory;
    this.named = Map.copyOf(named);
    this.last = Map.copyOf(last);
    this.changed = changed;
    var unused =
        looking.scheduleWithFixedDelay(this::look, LOOK_MS, LOOK_MS, TimeUnit.MILLISECONDS);
  }

  /** All storages: those of the directory, and over them the named ones. */
  static Map<String, StorageConfig> read(Path directory, Map<String, StorageConfig> named)
      throws IOException {
    Map<String, StorageConfig> all = new HashMap<>(StorageConfig.readDirectory(directory));
    all.putAll(named);
    return all;
  }

  private void look() {
    try {
      Map<String, StorageConfig> now = read(directory, named);
      unreadable = false;
      if (!now.equals(last)) {
        last = now;
        LOG.log(Level.INFO, "{0} changed: storages {1}", directory, now.keySet());
        changed.accept(now);
      }
    } catch (IOException | RuntimeException e) {
      if (!unreadable) {
        LOG.log(Level.WARNING, "{0} cannot be read, the storages stay: {1}", directory, e);
      }
      unreadable = true;
    }
  }

  @Override
  public void close() {
    looking.shutdownNow();
  }
}
