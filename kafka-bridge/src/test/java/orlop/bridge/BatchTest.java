package orlop.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.bridge.KafkaLab.assertHeader;
import static orlop.bridge.KafkaLab.assertInInputOrder;
import static orlop.bridge.KafkaLab.awaitStatus;
import static orlop.bridge.KafkaLab.numbered;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import io.grpc.Status;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Promises of joined requests: fewer calls, the same results, and one bad row harms itself only.
 */
@Tag("slow")
class BatchTest {
  private static KafkaLab lab;
  private static FakeMesh mesh;
  private static MeshClient client;

  @BeforeAll
  static void start() {
    lab = new KafkaLab();
    mesh = FakeMesh.start();
    client = MeshClient.connect(List.of(mesh.address()));
  }

  @AfterAll
  static void stop() {
    client.close();
    mesh.close();
    lab.close();
  }

  @Test
  void joinsRecordsOfOneModelIntoFewCalls() {
    KafkaLab.Topics topics = lab.topics(2);
    mesh.answering(call -> new FakeMesh.Reply(5, Status.OK));
    lab.write(numbered(topics, 0, 1_000));
    long before = mesh.calls();
    StreamConfig stream = lab.stream(topics, Map.of("maxBatchRows", 32, "maxInFlight", 128));
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 1_000);
      assertEquals(1_000, results.size());
      assertInInputOrder(results);
      for (ConsumerRecord<byte[], byte[]> result : results) {
        String number = new String(result.key(), java.nio.charset.StandardCharsets.UTF_8);
        assertEquals(2f * Integer.parseInt(number.substring(1)), KafkaLab.y(result));
      }
      assertTrue(mesh.calls() - before < 100, "calls: " + (mesh.calls() - before));
      awaitStatus(bridge, status -> status.out() == 1_000);
    }
  }

  @Test
  void findsTheOneBadRowByHalvingAndScoresTheOthers() {
    KafkaLab.Topics topics = lab.topics(1);
    mesh.answering(
        call -> {
          ByteString raw = call.request().getRawInputContents(0);
          for (int i = 0; i < raw.size(); i += 4) {
            if (FakeMesh.floats(raw).getFloat(i) == 37) {
              return FakeMesh.Reply.failed(Status.INVALID_ARGUMENT.withDescription("bad row"));
            }
          }
          return FakeMesh.Reply.NOW;
        });
    lab.write(numbered(topics, 0, 64));
    long before = mesh.calls();
    StreamConfig stream = lab.stream(topics, Map.of("maxBatchRows", 64, "maxInFlight", 64));
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> dead = lab.await(topics.dead(), 1);
      assertEquals(1, dead.size());
      assertHeader("37", dead.getFirst(), "orlop-dlq-offset");
      assertEquals(63, lab.await(topics.out(), 63).size());
      // 2 log2(64) beside the first; a first poll that brings fewer records adds its own calls.
      assertTrue(mesh.calls() - before <= 20, "calls: " + (mesh.calls() - before));
      awaitStatus(bridge, status -> status.lag() == 0);
    }
  }

  @Test
  void stopsJoiningForAModelThatTakesSingleRowsOnly() {
    KafkaLab.Topics topics = lab.topics(1);
    AtomicLong refused = new AtomicLong();
    mesh.answering(
        call -> {
          if (RowBatch.rows(call.request()) > 1) {
            refused.incrementAndGet();
            return FakeMesh.Reply.failed(Status.INVALID_ARGUMENT.withDescription("one row"));
          }
          return FakeMesh.Reply.NOW;
        });
    lab.write(numbered(topics, 0, 500));
    StreamConfig stream = lab.stream(topics, Map.of("maxBatchRows", 16, "maxInFlight", 16));
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 500);
      assertEquals(500, results.size());
      assertInInputOrder(results);
      assertTrue(refused.get() < 40, "joined calls refused: " + refused);
      awaitStatus(bridge, status -> status.lag() == 0);
    }
  }

  @Test
  void joinsOnlyWhatAgreesInAllButRowsAndGivesEachPartItsRowsAndId() {
    ModelName model = new ModelName("m", false);
    ModelInferRequest one = FakeMesh.request("m", 1).toBuilder().setId("a").build();
    ModelInferRequest two = FakeMesh.request("m", 2, 3).toBuilder().setId("b").build();
    assertEquals(RowBatch.signature(model, one), RowBatch.signature(model, two));
    ModelInferRequest renamed =
        one.toBuilder().setInputs(0, one.getInputs(0).toBuilder().setName("z")).build();
    assertTrue(
        !java.util.Objects.equals(
            RowBatch.signature(model, one), RowBatch.signature(model, renamed)));
    ModelInferRequest joined = RowBatch.join(List.of(one, two));
    assertEquals(FakeMesh.request("m", 1, 2, 3), joined);
    var parts = RowBatch.split(FakeMesh.doubled(joined), List.of(one, two));
    assertEquals(List.of(FakeMesh.doubled(one), FakeMesh.doubled(two)), parts);
  }
}
