package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.ModelInferResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.bridge.BridgeServer;
import orlop.bridge.BridgeStatus;

/** A bridge between a real broker and a pod that speaks TLS alone and asks for certificates. */
@Tag("slow")
final class BridgeTlsTest {
  private static final int RECORDS = 20;

  @TempDir Path dir;
  private final Teardown teardown = new Teardown();
  private TlsMesh mesh;
  private String address;
  private EmbeddedKafka kafka;

  @BeforeEach
  void start() throws Exception {
    Logging.start(false);
    mesh = new TlsMesh(dir);
    address =
        mesh.start("pod", "tls.clientAuth=require", "tls.clientTrust='" + mesh.callers.file() + "'")
            .grpc();
    kafka = EmbeddedKafka.start(dir.resolve("kafka"));
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", kafka.bootstrap()))) {
      admin
          .createTopics(
              List.of(new NewTopic("in", 1, (short) 1), new NewTopic("out", 1, (short) 1)))
          .all()
          .get(60, TimeUnit.SECONDS);
    }
  }

  @AfterEach
  void close() {
    teardown.close();
    mesh.close();
    if (kafka != null) {
      kafka.close();
    }
  }

  private BridgeServer bridge(Teardown by, Path trust, Authority.Written own) {
    return Roles.bridge(
            Settings.read(
                null,
                List.of(
                    "kafka.bootstrapServers='" + kafka.bootstrap() + "'",
                    "bridge.meshAddresses=['" + address + "']",
                    "bridge.drainTimeoutMs=1000",
                    "streams=[{name: s, inputTopic: in, outputTopic: out, model: m}]",
                    "tls.certificate='" + own.certificate() + "'",
                    "tls.privateKey='" + own.key() + "'",
                    "tls.serverTrust='" + trust + "'")),
            by)
        .getFirst();
  }

  @Test
  void aBridgeScoresOverTlsAndGivesNothingUpWhileThereIsNoTrust() throws Exception {
    Authority.Written caller = mesh.callers.write("caller", mesh.callers.sign("bridge"));
    send();
    Path strangers = new Authority(dir, "strangers").file();
    Teardown deaf = new Teardown();
    try {
      BridgeServer bridge = bridge(deaf, strangers, caller);
      await(() -> bridge.status().state() == BridgeStatus.State.MESH_UNREACHABLE);
      assertEquals(0, bridge.status().deadLettered());
    } finally {
      deaf.close();
    }
    BridgeServer bridge = bridge(teardown, mesh.pods.file(), caller);
    List<byte[]> results = results();
    assertEquals(RECORDS, results.size());
    for (byte[] result : results) {
      assertEquals("m", ModelInferResponse.parseFrom(result).getModelName());
    }
    assertEquals(0, bridge.status().deadLettered());
  }

  private void send() throws Exception {
    byte[] request = TlsMesh.request("").toByteArray();
    try (var producer =
        new KafkaProducer<>(
            Map.of("bootstrap.servers", kafka.bootstrap()),
            new ByteArraySerializer(),
            new ByteArraySerializer())) {
      for (int i = 0; i < RECORDS; i++) {
        producer.send(new ProducerRecord<>("in", request)).get(60, TimeUnit.SECONDS);
      }
    }
  }

  private List<byte[]> results() {
    List<byte[]> values = new ArrayList<>();
    try (var consumer =
        new KafkaConsumer<>(
            Map.of(
                "bootstrap.servers", kafka.bootstrap(),
                "group.id", "reader",
                "auto.offset.reset", "earliest",
                "isolation.level", "read_committed"),
            new ByteArrayDeserializer(),
            new ByteArrayDeserializer())) {
      consumer.subscribe(List.of("out"));
      await(
          () -> {
            consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
            return values.size() >= RECORDS;
          });
    }
    return values;
  }

  private static void await(BooleanSupplier condition) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
    while (!condition.getAsBoolean()) {
      assertTrue(System.nanoTime() < deadline, "waited 90 s in vain");
      LockSupport.parkNanos(5_000_000);
    }
  }
}
