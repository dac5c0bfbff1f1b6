package orlop.bridge;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.bridge.KafkaLab.assertHeader;
import static orlop.bridge.KafkaLab.assertInInputOrder;
import static orlop.bridge.KafkaLab.awaitStatus;
import static orlop.bridge.KafkaLab.bytes;
import static orlop.bridge.KafkaLab.numbered;

import io.grpc.Status;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.Headers;

/**
 * Promises of one stream towards its records, against a real broker and a pod on a real socket:
 * each record has one result or one dead letter, in order, whatever the mesh does.
 */
@Tag("slow")
class StreamTest {
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
  void givesEachRecordOneResultInInputOrderThoughAnswersComeInAnyOrder() {
    KafkaLab.Topics topics = lab.topics(4);
    Random random = new Random(7);
    mesh.answering(call -> new FakeMesh.Reply(random.nextInt(30), Status.OK));
    lab.write(numbered(topics, 0, 2_000));
    try (BridgeServer bridge = lab.bridge(lab.stream(topics, Map.of()), client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 2_000);
      assertEquals(2_000, results.size());
      assertInInputOrder(results);
      for (ConsumerRecord<byte[], byte[]> result : results) {
        int number =
            Integer.parseInt(new String(result.key(), StandardCharsets.UTF_8).substring(1));
        assertEquals(2f * number, KafkaLab.y(result));
        assertHeader("doubler", result, "orlop-model-id");
        assertHeader(topics.in(), result, "orlop-source-topic");
      }
      awaitStatus(bridge, status -> status.out() == 2_000 && status.lag() == 0);
      assertEquals(0, lab.readAll(topics.dead()).size());
    }
  }

  @Test
  void namesTheModelByHeaderThenAliasThenMessageThenStream() {
    KafkaLab.Topics topics = lab.topics(1);
    List<String> seen = new ArrayList<>();
    mesh.answering(
        call -> {
          synchronized (seen) {
            seen.add(
                call.modelHeader()
                    + "|"
                    + call.aliasHeader()
                    + "|"
                    + call.request().getModelName());
          }
          return FakeMesh.Reply.NOW;
        });
    byte[] named = FakeMesh.request("inside", 1).toByteArray();
    byte[] nameless = FakeMesh.request("", 1).toByteArray();
    ProducerRecord<byte[], byte[]> both = new ProducerRecord<>(topics.in(), named);
    both.headers().add(Headers.MODEL_ID, bytes("m1")).add(Headers.VMODEL_ID, bytes("v1"));
    ProducerRecord<byte[], byte[]> alias = new ProducerRecord<>(topics.in(), named);
    alias.headers().add(Headers.VMODEL_ID, bytes("v1"));
    lab.write(
        List.of(
            both,
            alias,
            new ProducerRecord<>(topics.in(), named),
            new ProducerRecord<>(topics.in(), nameless)));
    StreamConfig stream = lab.stream(topics, Map.of("maxInFlight", 1));
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 4);
      assertHeader("m1", results.getFirst(), Headers.MODEL_ID);
      assertEquals(
          Set.of("m1||m1", "|v1|v1", "inside||inside", "doubler||doubler"), Set.copyOf(seen));
      assertEquals(4, bridge.status().in());
    }
  }

  @Test
  void answersInTheFormatOfTheRecord() {
    KafkaLab.Topics topics = lab.topics(1);
    mesh.answering(call -> FakeMesh.Reply.NOW);
    ProducerRecord<byte[], byte[]> json =
        new ProducerRecord<>(
            topics.in(),
            bytes("j"),
            bytes(
                "{\"id\":\"7\",\"inputs\":[{\"name\":\"x\",\"shape\":[2,1],\"datatype\":\"FP32\","
                    + "\"data\":[[1.5],[2]]}]}"));
    json.headers().add("content-type", bytes("application/json; charset=utf-8"));
    lab.write(List.of(json, numbered(topics, 4)));
    try (BridgeServer bridge = lab.bridge(lab.stream(topics, Map.of()), client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 2);
      assertEquals(
          "{\"model_name\":\"doubler\",\"id\":\"7\",\"outputs\":[{\"name\":\"y\",\"datatype\":"
              + "\"FP32\",\"shape\":[2,1],\"data\":[3.0,4.0]}]}",
          new String(results.get(0).value(), StandardCharsets.UTF_8));
      assertHeader("application/json; charset=utf-8", results.get(0), "content-type");
      assertEquals(8f, KafkaLab.y(results.get(1)));
      assertEquals("", bridge.status().lastError());
    }
  }

  @Test
  void writesPoisonAmongGoodRecordsToTheDeadLettersWithItsOriginalBytes() {
    KafkaLab.Topics topics = lab.topics(1);
    mesh.answering(
        call ->
            switch (call.modelHeader()) {
              case "picky" ->
                  FakeMesh.Reply.failed(Status.INVALID_ARGUMENT.withDescription("x is too small"));
              case "broken" ->
                  FakeMesh.Reply.failed(Status.FAILED_PRECONDITION.withDescription("no such file"));
              default -> FakeMesh.Reply.NOW;
            });
    byte[] good = FakeMesh.request("", 3).toByteArray();
    byte[] shape =
        FakeMesh.request("", 3).toBuilder()
            .setInputs(0, FakeMesh.request("", 3).getInputs(0).toBuilder().setShape(0, 9))
            .build()
            .toByteArray();
    List<ProducerRecord<byte[], byte[]>> poison =
        List.of(
            poison(topics, new byte[] {(byte) 0xff, 1, 2}, "", ""),
            poison(topics, shape, "", ""),
            poison(topics, good, "text/csv", ""),
            poison(topics, bytes("{\"inputs\":1}"), "application/json", ""),
            poison(topics, good, "", "picky"),
            poison(topics, good, "", "broken"));
    List<ProducerRecord<byte[], byte[]>> all = new ArrayList<>();
    for (int i = 0; i < poison.size(); i++) {
      all.addAll(numbered(topics, 10 * i, 10 * i + 10));
      all.add(poison.get(i));
    }
    lab.write(all);
    try (BridgeServer bridge = lab.bridge(lab.stream(topics, Map.of()), client, "3")) {
      List<ConsumerRecord<byte[], byte[]>> dead = lab.await(topics.dead(), 6);
      assertEquals(
          List.of("DECODE", "SHAPE", "DECODE", "DECODE", "INVALID_ARGUMENT", "MODEL_LOAD_FAILED"),
          dead.stream().map(letter -> KafkaLab.header(letter, "orlop-dlq-reason")).toList());
      for (int i = 0; i < 6; i++) {
        ConsumerRecord<byte[], byte[]> letter = dead.get(i);
        assertArrayEquals(poison.get(i).key(), letter.key());
        assertArrayEquals(poison.get(i).value(), letter.value());
        assertArrayEquals(
            poison.get(i).headers().toArray(),
            java.util.Arrays.copyOf(
                letter.headers().toArray(), poison.get(i).headers().toArray().length));
        assertHeader(Integer.toString(11 * i + 10), letter, "orlop-dlq-offset");
        assertHeader(topics.in(), letter, "orlop-dlq-topic");
        assertHeader("3", letter, "orlop-dlq-instance");
        assertHeader("1", letter, "orlop-dlq-attempts");
      }
      assertHeader("INVALID_ARGUMENT", dead.get(4), "orlop-dlq-grpc-code");
      assertHeader("picky", dead.get(4), "orlop-dlq-model");
      assertTrue(KafkaLab.header(dead.get(4), "orlop-dlq-message").endsWith("x is too small"));
      List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 60);
      assertEquals(60, results.size());
      assertInInputOrder(results);
      awaitStatus(bridge, status -> status.deadLettered() == 6 && status.out() == 60);
    }
  }

  private static ProducerRecord<byte[], byte[]> poison(
      KafkaLab.Topics topics, byte[] value, String contentType, String model) {
    ProducerRecord<byte[], byte[]> record =
        new ProducerRecord<>(topics.in(), bytes("poison"), value);
    record.headers().add("twice", new byte[] {0, (byte) 0x80}).add("twice", null);
    if (!contentType.isEmpty()) {
      record.headers().add("content-type", bytes(contentType));
    }
    if (!model.isEmpty()) {
      record.headers().add(Headers.MODEL_ID, bytes(model));
    }
    return record;
  }

  @Test
  void triesAgainUntilItSucceeds() {
    KafkaLab.Topics topics = lab.topics(1);
    Map<Float, Integer> tries = new ConcurrentHashMap<>();
    mesh.answering(
        call ->
            switch (tries.merge(call.firstX(), 1, Integer::sum)) {
              case 1 -> FakeMesh.Reply.failed(Status.RESOURCE_EXHAUSTED);
              case 2 -> FakeMesh.Reply.failed(Status.ABORTED);
              default -> FakeMesh.Reply.NOW;
            });
    lab.write(numbered(topics, 0, 20));
    StreamConfig stream = lab.stream(topics, Map.of("retry", Map.of("initialMs", 5, "maxMs", 50)));
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 20);
      assertEquals(20, results.size());
      assertInInputOrder(results);
      awaitStatus(bridge, status -> status.retried() == 40 && status.out() == 20);
      assertEquals(0, lab.readAll(topics.dead()).size());
    }
  }

  @Test
  void givesUpOnARecordThatFailsWhileTheMeshAnswersOthers() {
    KafkaLab.Topics topics = lab.topics(1);
    mesh.answering(
        call ->
            call.firstX() == 5
                ? FakeMesh.Reply.failed(Status.UNAVAILABLE.withDescription("always"))
                : FakeMesh.Reply.NOW);
    lab.write(numbered(topics, 0, 20));
    StreamConfig stream =
        lab.stream(topics, Map.of("retry", Map.of("maxAttempts", 3, "initialMs", 5, "maxMs", 50)));
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      ConsumerRecord<byte[], byte[]> letter = lab.await(topics.dead(), 1).getFirst();
      assertHeader("ATTEMPTS_EXHAUSTED", letter, "orlop-dlq-reason");
      assertHeader("UNAVAILABLE", letter, "orlop-dlq-grpc-code");
      assertEquals("k5", new String(letter.key(), StandardCharsets.UTF_8));
      assertEquals(19, lab.await(topics.out(), 19).size());
      awaitStatus(bridge, status -> status.lag() == 0);
    }
  }

  @Test
  void waitsForAMissingModelOnceAndThenGivesUpItsRecords() {
    KafkaLab.Topics topics = lab.topics(1);
    AtomicBoolean registered = new AtomicBoolean();
    AtomicInteger asked = new AtomicInteger();
    mesh.answering(
        call -> {
          boolean late = call.modelHeader().equals("late");
          if (late && asked.incrementAndGet() == 3) {
            registered.set(true);
          }
          return late && registered.get()
              ? FakeMesh.Reply.NOW
              : FakeMesh.Reply.failed(Status.NOT_FOUND);
        });
    ProducerRecord<byte[], byte[]> late = numbered(topics, 1);
    late.headers().add(Headers.MODEL_ID, bytes("late"));
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>(List.of(late));
    for (int i = 0; i < 30; i++) {
      ProducerRecord<byte[], byte[]> never = numbered(topics, i);
      never.headers().add(Headers.MODEL_ID, bytes("never"));
      records.add(never);
    }
    lab.write(records);
    StreamConfig stream =
        lab.stream(
            topics,
            Map.of("retry", Map.of("initialMs", 5, "modelGraceMs", 1_000), "maxInFlight", 4));
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> dead = lab.await(topics.dead(), 30);
      assertEquals(30, dead.size());
      assertHeader("MODEL_NOT_FOUND", dead.getFirst(), "orlop-dlq-reason");
      assertEquals(1, lab.await(topics.out(), 1).size());
      awaitStatus(bridge, status -> status.lag() == 0);
    }
  }

  @Test
  @Tag("slow")
  void losesAndGivesUpNothingWhileTheMeshIsAway() {
    KafkaLab.Topics topics = lab.topics(2);
    try (FakeMesh flaky = FakeMesh.start();
        MeshClient toFlaky = MeshClient.connect(List.of(flaky.address()))) {
      flaky.answering(call -> new FakeMesh.Reply(2, Status.OK));
      lab.write(numbered(topics, 0, 1_000));
      StreamConfig stream =
          lab.stream(
              topics,
              Map.of(
                  "maxInFlight",
                  20,
                  "retry",
                  Map.of("maxAttempts", 2, "initialMs", 5, "maxMs", 20)));
      try (BridgeServer bridge = lab.bridge(stream, toFlaky, "0")) {
        awaitStatus(bridge, status -> status.out() > 50);
        flaky.down();
        awaitStatus(bridge, status -> status.state() == BridgeStatus.State.MESH_UNREACHABLE);
        lab.write(numbered(topics, 1_000, 1_500));
        long callsBefore = bridge.status().retried();
        KafkaLab.awaitTrue(
            java.time.Duration.ofSeconds(30),
            () -> bridge.status().toString(),
            outlasts(bridge, 2_000));
        assertTrue(bridge.status().retried() - callsBefore <= 1, bridge.status().toString());
        flaky.up();
        List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 1_500);
        assertEquals(1_500, results.size());
        assertInInputOrder(results);
        assertEquals(0, lab.readAll(topics.dead()).size());
      }
    }
  }

  /** True once the mesh has been unreachable for this long without a break. */
  private static java.util.function.BooleanSupplier outlasts(BridgeServer bridge, long ms) {
    long sinceNs = System.nanoTime();
    return () -> {
      assertEquals(BridgeStatus.State.MESH_UNREACHABLE, bridge.status().state());
      return System.nanoTime() - sinceNs > ms * 1_000_000;
    };
  }

  @Test
  void holdsNoMoreThanItsWindow() {
    KafkaLab.Topics topics = lab.topics(1);
    AtomicBoolean held = new AtomicBoolean(true);
    mesh.answering(
        call ->
            held.get() ? new FakeMesh.Reply(50, Status.RESOURCE_EXHAUSTED) : FakeMesh.Reply.NOW);
    lab.write(numbered(topics, 0, 1_000));
    StreamConfig stream =
        lab.stream(
            topics,
            Map.of(
                "window",
                Map.of("records", 60),
                "retry",
                Map.of("maxAttempts", 1000, "initialMs", 10, "maxMs", 20)));
    try (BridgeServer bridge = lab.bridge(stream, client, "0")) {
      awaitStatus(bridge, status -> status.state() == BridgeStatus.State.THROTTLED);
      awaitStatus(bridge, status -> status.retried() > 5);
      assertTrue(bridge.status().retained() < 120, bridge.status().toString());
      awaitStatus(bridge, status -> status.lag() == 1_000);
      held.set(false);
      assertEquals(1_000, lab.await(topics.out(), 1_000).size());
    }
  }

  @Test
  void turnsAResultThatTheTopicRefusesIntoADeadLetter() {
    KafkaLab.Topics topics = lab.topics(1, Map.of("max.message.bytes", "2000"), Map.of());
    mesh.answering(call -> FakeMesh.Reply.NOW);
    float[] large = new float[1_000];
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>(numbered(topics, 0, 10));
    records.add(new ProducerRecord<>(topics.in(), FakeMesh.request("", large).toByteArray()));
    records.addAll(numbered(topics, 10, 20));
    lab.write(records);
    try (BridgeServer bridge = lab.bridge(lab.stream(topics, Map.of()), client, "0")) {
      assertEquals(20, lab.await(topics.out(), 20).size());
      ConsumerRecord<byte[], byte[]> letter = lab.await(topics.dead(), 1).getFirst();
      assertHeader("OUTPUT_TOO_LARGE", letter, "orlop-dlq-reason");
      assertArrayEquals(records.get(10).value(), letter.value());
      awaitStatus(bridge, status -> status.lag() == 0 && status.aborts() > 0);
    }
  }

  @Test
  void goesNoFurtherThanADeadLetterThatCannotBeWritten() throws Exception {
    KafkaLab.Topics topics = lab.topics(1, Map.of(), Map.of("max.message.bytes", "500"));
    mesh.answering(call -> FakeMesh.Reply.NOW);
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>(numbered(topics, 0, 10));
    records.add(new ProducerRecord<>(topics.in(), bytes("no tensor".repeat(200))));
    records.addAll(numbered(topics, 10, 20));
    lab.write(records);
    try (BridgeServer bridge = lab.bridge(lab.stream(topics, Map.of()), client, "0")) {
      awaitStatus(
          bridge, status -> status.state() == BridgeStatus.State.DEGRADED && status.aborts() >= 3);
      assertTrue(
          bridge.status().lastError().startsWith("dead letter for " + topics.dead()),
          bridge.status().lastError());
      assertTrue(lab.readAll(topics.out()).size() <= 10);
      lab.setMaxMessageBytes(topics.dead(), 1_000_000);
      assertEquals(20, lab.await(topics.out(), 20).size());
      assertEquals(1, lab.await(topics.dead(), 1).size());
      awaitStatus(bridge, status -> status.state() == BridgeStatus.State.RUNNING);
    }
  }

  @Test
  @Tag("slow")
  void saysWhichTopicIsMissingAndWaitsForIt() {
    String name = "absent";
    lab.broker.createTopic(name + ".in", 1);
    lab.broker.createTopic(name + ".dead", 1);
    mesh.answering(call -> FakeMesh.Reply.NOW);
    KafkaLab.Topics topics =
        new KafkaLab.Topics(name, name + ".in", name + ".out", name + ".dead", 1);
    lab.write(numbered(topics, 0, 5));
    try (BridgeServer bridge = lab.bridge(lab.stream(topics, Map.of()), client, "0")) {
      awaitStatus(bridge, status -> status.state() == BridgeStatus.State.DEGRADED);
      assertTrue(
          bridge.status().lastError().startsWith("topic absent.out does not exist"),
          bridge.status().lastError());
      lab.broker.createTopic(topics.out(), 1);
      assertEquals(5, lab.await(topics.out(), 5).size());
      assertEquals(6_000, bridge.status().sessionTimeoutMs());
    }
  }

  @Test
  void goesOnWhereItStoppedAfterAClose() {
    KafkaLab.Topics topics = lab.topics(2);
    mesh.answering(call -> new FakeMesh.Reply(1, Status.OK));
    StreamConfig stream = lab.stream(topics, Map.of("maxInFlight", 10));
    lab.write(numbered(topics, 0, 400));
    BridgeServer first = lab.bridge(stream, client, "0");
    awaitStatus(first, status -> status.out() > 20);
    first.close();
    assertEquals(BridgeStatus.State.STOPPED, first.status().state());
    try (BridgeServer second = lab.bridge(stream, client, "0")) {
      List<ConsumerRecord<byte[], byte[]>> results = lab.await(topics.out(), 400);
      assertEquals(400, results.size());
      assertInInputOrder(results);
      awaitStatus(second, status -> status.lag() == 0);
      assertEquals(400, first.status().out() + second.status().out());
    }
  }
}
