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
    version("v1", "old");
    Files.createSymbolicLink(mount.resolve("..data"), dir.resolve("v1"));
    Files.createSymbolicLink(mount.resolve("store"), Path.of("..data", "store"));
    StorageConfig own = StorageConfig.readDirectory(mount).get("store");
    assertNotNull(own);
    Map<String, StorageConfig> named = Map.of("named", own);
    BlockingQueue<Map<String, StorageConfig>> heard = new LinkedBlockingQueue<>();
    try (StorageWatch watch =
        new StorageWatch(mount, named, StorageWatch.read(mount, named), heard::add)) {
      assertNotNull(watch);
      version("v2", "new");
      Files.createSymbolicLink(mount.resolve("..next"), dir.resolve("v2"));
      Files.move(
          mount.resolve("..next"), mount.resolve("..data"), StandardCopyOption.REPLACE_EXISTING);
      Map<String, StorageConfig> now = heard.poll(30, TimeUnit.SECONDS);
      assertNotNull(now, "the change was not noticed");
      assertEquals(Set.of("store", "named"), now.keySet());
      StorageConfig store = now.get("store");
      assertNotNull(store);
      assertEquals("new", store.parameters().get("access_key_id"));
    }
  }

  private void version(String name, String keyId) throws Exception {
    Path version = Files.createDirectory(dir.resolve(name));
    Files.writeString(
        version.resolve("store"),
        "{\"type\":\"s3\",\"access_key_id\":\"%s\",\"secret_access_key\":\"s\"}".formatted(keyId));
  }
}
