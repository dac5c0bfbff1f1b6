package orlop.deploy;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import orlop.puller.StorageConfig;

/**
 * Follows the directory of the storage secret: tells of other storages when its content changed.
 * What cannot be read keeps the last storages.
 */
final class StorageWatch implements AutoCloseable {
  private static final Logger LOG = System.getLogger(StorageWatch.class.getName());
  private static final long LOOK_MS = 2_000;

  private final Path directory;
  private final Map<String, StorageConfig> named;
  private final Consumer<Map<String, StorageConfig>> changed;
  private final WatchedFiles files;
  private Map<String, StorageConfig> last;

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
    this.files = new WatchedFiles(List.of(directory), LOOK_MS, this::look);
    // It may have changed since it was read.
    files.read();
  }

  /** All storages: those of the directory, and over them the named ones. */
  static Map<String, StorageConfig> read(Path directory, Map<String, StorageConfig> named)
      throws IOException {
    Map<String, StorageConfig> all = new HashMap<>(StorageConfig.readDirectory(directory));
    all.putAll(named);
    return all;
  }

  private void look() throws IOException {
    Map<String, StorageConfig> now = read(directory, named);
    if (!now.equals(last)) {
      LOG.log(Level.INFO, "{0} changed: storages {1}", directory, now.keySet());
      changed.accept(now);
      last = now;
    }
  }

  @Override
  public void close() {
    files.close();
  }
}
