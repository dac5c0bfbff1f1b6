package orlop.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.bridge.KafkaLab.awaitStatus;

import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * No duplicate, no loss, no inversion per key while instances join, leave, die and lose the broker.
 * Writes numbered records of a few keys while it happens, then audits all committed output.
 */
@Tag("slow")
class ExactlyOnceTest {
  private static final int PARTITIONS = 6;
  private static final int KEYS = 40;

  private final KafkaLab lab = new KafkaLab();
  private final FakeMesh mesh = FakeMesh.start();
  private final MeshClient client = MeshClient.connect(List.of(mesh.address()));
  private KafkaLab.Topics topics;
  private int written;

  @BeforeEach
  void slowMesh() {
    topics = lab.topics(PARTITIONS);
    Random random = new Random(11);
    mesh.answering(call -> new FakeMesh.Reply(1 + random.nextInt(40), Status.OK));
  }

  @AfterEach
  void stop() {
    client.close();
    mesh.close();
    lab.close();
  }

  @Test
  void survivesInstancesThatJoinAndLeave() {
    StreamConfig stream = ChildBridge.config(topics.name());
    write(6_000);
    try (BridgeServer first = lab.bridge(stream, client, "0")) {
      awaitStatus(first, status -> status.out() > 200);
      for (int round = 0; round < 3; round++) {
        try (BridgeServer second = lab.bridge(stream, client, "1")) {
          awaitStatus(second, status -> status.partitions() == PARTITIONS / 2);
          write(1_000);
          awaitStatus(second, status -> status.out() > 200);
          awaitStatus(first, status -> status.partitions() == PARTITIONS / 2);
        }
        awaitStatus(first, status -> status.partitions() == PARTITIONS);
        write(1_000);
      }
      assertAudit("three joins and leaves");
    }
  }

  @Test
  void survivesTheKillOfAnInstanceThatReturnsToItsSlot() {
    Process process = null;
    try {
      write(3_000);
      for (int kill = 0; kill < 3; kill++) {
        int before = lab.readAll(topics.out()).size();
        process = ChildBridge.start(lab.broker.bootstrap(), mesh.address(), topics.name(), "0");
        int target = before + 400;
        KafkaLab.awaitTrue(
            Duration.ofSeconds(90),
            () -> "no output after a restart",
            () -> lab.readAll(topics.out()).size() >= target);
        ChildBridge.kill(process);
        write(1_000);
      }
      process = ChildBridge.start(lab.broker.bootstrap(), mesh.address(), topics.name(), "0");
      assertAudit("three kills");
    } finally {
      ChildBridge.kill(process);
    }
  }

  @Test
  void handsTheWorkOfAKilledInstanceToAnother() {
    Process process = null;
    StreamConfig stream = ChildBridge.config(topics.name());
    write(3_000);
    try (BridgeServer staying = lab.bridge(stream, client, "0")) {
      process = ChildBridge.start(lab.broker.bootstrap(), mesh.address(), topics.name(), "1");
      awaitStatus(staying, status -> status.partitions() == PARTITIONS / 2);
      write(3_000);
      int before = lab.readAll(topics.out()).size();
      KafkaLab.awaitTrue(
          Duration.ofSeconds(60),
          () -> "no output",
          () -> lab.readAll(topics.out()).size() > before + 300);
      ChildBridge.kill(process);
      assertAudit("fail-over");
      awaitStatus(staying, status -> status.partitions() == PARTITIONS);
    } finally {
      ChildBridge.kill(process);
    }
  }

  @Test
  void survivesAnInstanceThatStandsStillUntilItsPartitionsAreGone() throws Exception {
    Process process = null;
    StreamConfig stream = ChildBridge.config(topics.name());
    write(3_000);
    try (BridgeServer staying = lab.bridge(stream, client, "0")) {
      process = ChildBridge.start(lab.broker.bootstrap(), mesh.address(), topics.name(), "1");
      awaitStatus(staying, status -> status.partitions() == PARTITIONS / 2);
      write(6_000);
      int before = lab.readAll(topics.out()).size();
      KafkaLab.awaitTrue(
          Duration.ofSeconds(60),
          () -> "no output",
          () -> lab.readAll(topics.out()).size() > before + 300);
      signal(process, "-STOP");
      awaitStatus(staying, status -> status.partitions() == PARTITIONS);
      signal(process, "-CONT");
      write(1_000);
      awaitStatus(staying, status -> status.partitions() == PARTITIONS / 2);
      write(1_000);
      assertAudit("a pause");
    } finally {
      ChildBridge.kill(process);
    }
  }

  private static void signal(Process process, String signal) throws Exception {
    Process kill = new ProcessBuilder("kill", signal, Long.toString(process.pid())).start();
    assertEquals(0, kill.waitFor());
  }

  @Test
  void survivesABrokerThatGoesAndComes() {
    StreamConfig stream = ChildBridge.config(topics.name());
    write(4_000);
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      awaitStatus(bridge, status -> status.out() > 500);
      lab.broker.stop();
      AtomicBoolean noticed = new AtomicBoolean();
      KafkaLab.awaitTrue(
          Duration.ofSeconds(60),
          () -> bridge.status().toString(),
          () -> {
            noticed.compareAndSet(false, bridge.status().state() == BridgeStatus.State.DEGRADED);
            return noticed.get();
          });
      lab.broker.restart();
      assertAudit("broker restart");
      awaitStatus(bridge, status -> status.state() == BridgeStatus.State.RUNNING);
    }
  }

  private void write(int count) {
    try (KafkaProducer<byte[], byte[]> producer = lab.producer()) {
      for (int i = 0; i < count; i++) {
        producer.send(KafkaLab.keyed(topics, written++, KEYS));
      }
      producer.flush();
    }
  }

  private void assertAudit(String after) {
    List<ConsumerRecord<byte[], byte[]>> results =
        new ArrayList<>(lab.await(topics.out(), written));
    assertEquals(KafkaLab.Audit.clean(written), KafkaLab.audit(results, written), after);
    KafkaLab.assertInInputOrder(results);
    assertTrue(lab.readAll(topics.dead()).isEmpty());
  }
}
