package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
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

  @Test
  void followsWhatOperatorsSetInEtcd() throws Exception {
    RegistryConfig config = RegistryConfig.of(etcd.endpoint(), mesh);
    ByteSequence key =
        EtcdStore.bytes(new Keyspace(config.root(), mesh).setting("log_each_invocation"));
    try (Client client = Client.builder().endpoints(etcd.endpoint()).build();
        Registry registry = connect()) {
      assertEquals(Map.of(), registry.view().settings());
      client.getKVClient().put(key, EtcdStore.bytes(" true\n")).get(10, TimeUnit.SECONDS);
      Await.until(
          "it is seen",
          () -> registry.view().settings().equals(Map.of("log_each_invocation", "true")));
      try (Registry later = connect()) {
        assertEquals(Map.of("log_each_invocation", "true"), later.view().settings());
      }
      client.getKVClient().delete(key).get(10, TimeUnit.SECONDS);
      Await.until("it is gone", () -> registry.view().settings().isEmpty());
    }
  }
}
