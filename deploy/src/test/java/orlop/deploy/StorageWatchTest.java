package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.puller.StorageConfig;

/** The storage secret is followed while a pod runs, as Kubernetes changes it. */
final class StorageWatchTest {
  @TempDir Path dir;

  @Test
  void tellsOfOtherStoragesWhenKubernetesSwapsTheSecret() throws Exception {
    // A mounted secret is links into a directory that one rename replaces.
    Path mount = Files.createDirectory(dir.resolve("mount"));
    Path first = version("v1", "old");
    Files.createSymbolicLink(mount.resolve("..data"), first);
    Files.createSymbolicLink(mount.resolve("store"), Path.of("..data", "store"));
    StorageConfig own = StorageConfig.readDirectory(mount).get("store");
    assertNotNull(own);
    Map<String, StorageConfig> named = Map.of("named", own);
    BlockingQueue<Map<String, StorageConfig>> heard = new LinkedBlockingQueue<>();
    try (StorageWatch watch =
        new StorageWatch(mount, named, StorageWatch.read(mount, named), heard::add)) {
      assertNotNull(watch);
      Path next = version("v2", "new");
      Files.createSymbolicLink(mount.resolve("..next"), next);
      Files.move(
          mount.resolve("..next"), mount.resolve("..data"), StandardCopyOption.REPLACE_EXISTING);
      Map<String, StorageConfig> now = heard.poll(30, TimeUnit.SECONDS);
      assertNotNull(now, "the change was not noticed");
      assertEquals(Set.of("store", "named"), now.keySet());
      assertEquals("new", keyId(now, "store"));
    }
  }

  @Test
  void tellsOfWhatChangedBeforeItLookedAndOfNewFiles() throws Exception {
    Path mount = version("mount", "old");
    Map<String, StorageConfig> before = StorageWatch.read(mount, Map.of());
    Files.writeString(mount.resolve("store"), storage("new"));
    BlockingQueue<Map<String, StorageConfig>> heard = new LinkedBlockingQueue<>();
    try (StorageWatch watch = new StorageWatch(mount, Map.of(), before, heard::add)) {
      assertNotNull(watch);
      assertEquals("new", keyId(heard.poll(), "store"));
      Path other = Files.writeString(dir.resolve("other"), storage("other"));
      Files.move(other, mount.resolve("added"));
      assertEquals("other", keyId(heard.poll(30, TimeUnit.SECONDS), "added"));
      assertEquals(0, heard.size());
    }
  }

  private static String keyId(@Nullable Map<String, StorageConfig> storages, String name) {
    assertNotNull(storages, "the change was not noticed");
    StorageConfig storage = storages.get(name);
    assertNotNull(storage);
    return String.valueOf(storage.parameters().get("access_key_id"));
  }

  private Path version(String name, String keyId) throws Exception {
    Path version = Files.createDirectory(dir.resolve(name));
    Files.writeString(version.resolve("store"), storage(keyId));
    return version;
  }

  private static String storage(String keyId) {
    return "{\"type\":\"s3\",\"access_key_id\":\"%s\",\"secret_access_key\":\"s\"}"
        .formatted(keyId);
  }
}
