package orlop.registry;

import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;

/** The registry in etcd keeps the contract: each client has a connection of its own. */
@Tag("slow")
class EtcdRegistryTest extends RegistryContract {
  private static final AtomicInteger MESHES = new AtomicInteger();
  @TempDir static Path dir;
  private static EtcdProcess etcd;
  private String mesh = "";

  @BeforeAll
  static void start() throws Exception {
    etcd = EtcdProcess.start(dir);
  }

  @AfterAll
  static void stop() {
    if (etcd != null) {
      etcd.close();
    }
  }

  @BeforeEach
  void takeAnEmptyMesh() {
    mesh = "mesh/" + MESHES.incrementAndGet();
  }

  @Override
  Registry connect() throws RegistryException {
    return EtcdRegistry.connect(RegistryConfig.of(etcd.endpoint(), mesh).withTimes(10_000, 30_000));
  }
}
