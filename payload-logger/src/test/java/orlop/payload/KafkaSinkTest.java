package orlop.payload;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.PayloadEvent;
import orlop.api.PayloadEvent.Kind;
import orlop.api.TestBroker;

/** The log and its Kafka sink against a real broker that comes, goes and comes back. */
@Tag("slow")
class KafkaSinkTest {
  private static final String TOPIC = "payloads";

  @Test
  void writesCloudEventsThatKServesConsumersUnderstand() {
    try (TestBroker broker = TestBroker.start()) {
      broker.createTopic(TOPIC, 1);
      byte[] request = {10, 1, 'm'};
      byte[] response = {18, 2, 'o', 'k'};
      try (PayloadLog log = start(broker.bootstrap())) {
        log.offer(
            Kind.REQUEST,
            "call-1",
            "fraud-7",
            "fraud",
            0,
            PayloadEvent.PROTOBUF,
            ByteString.copyFrom(request),
            Map.of("x-\"quoted\"", "a\nb"));
        log.offer(
            Kind.RESPONSE, "call-1", "fraud-7", "", 5, "application/json", response, Map.of());
      }
      List<ConsumerRecord<byte[], byte[]>> records = read(broker, 2);

      Map<String, String> first = headers(records.get(0));
      assertEquals("fraud-7", new String(records.get(0).key(), UTF_8));
      assertArrayEquals(request, records.get(0).value());
      assertEquals("1.0", first.get("ce_specversion"));
      assertEquals("call-1", first.get("ce_id"));
      assertEquals("org.kubeflow.serving.inference.request", first.get("ce_type"));
      assertEquals("urn:pod:1", first.get("ce_source"));
      assertEquals("fraud", first.get("ce_inferenceservicename"));
      assertEquals("fraud-7", first.get("ce_modelid"));
      assertEquals("models", first.get("ce_namespace"));
      assertEquals("1", first.get("ce_sequence"));
      assertEquals("{\"x-\\\"quoted\\\"\":\"a\\nb\"}", first.get("ce_metadata"));
      assertEquals("application/x-protobuf", first.get("content-type"));
      assertNull(first.get("ce_statuscode"));
      assertEquals(records.get(0).timestamp(), Instant.parse(first.get("ce_time")).toEpochMilli());

      Map<String, String> second = headers(records.get(1));
      assertEquals("call-1", second.get("ce_id"));
      assertEquals("org.kubeflow.serving.inference.response", second.get("ce_type"));
      assertEquals("fraud-7", second.get("ce_inferenceservicename"));
      assertEquals("5", second.get("ce_statuscode"));
      assertEquals("application/json", second.get("content-type"));
      assertNull(second.get("ce_metadata"));
    }
  }

  @Test
  void losesNothingOfEightThreads() throws Exception {
    try (TestBroker broker = TestBroker.start()) {
      broker.createTopic(TOPIC, 4);
      PayloadLog log = start(broker.bootstrap(), 32L << 20);
      List<Thread> threads = new ArrayList<>();
      for (int t = 0; t < 8; t++) {
        String model = "m" + t;
        threads.add(Thread.ofPlatform().start(() -> offerMany(log, model, 2_000)));
      }
      for (Thread thread : threads) {
        thread.join();
      }
      log.close();
      assertEquals(16_000, log.counters().sent());
      assertEquals(0, log.counters().droppedTotal());
      assertEquals(allUpTo(16_000), sequences(read(broker, 16_000)));
    }
  }

  @Test
  void waitsForABrokerThatIsNotThereYet() {
    int port = TestBroker.freePort();
    PayloadLog log = start("127.0.0.1:" + port);
    offerMany(log, "m", 100);
    assertEquals(100, log.counters().captured());
    try (TestBroker broker = TestBroker.startOn(port)) {
      broker.createTopic(TOPIC, 1);
      await("all events", () -> log.counters().sent() == 100);
      log.close();
      assertEquals(allUpTo(100), sequences(read(broker, 100)));
    }
  }

  @Test
  void neverFindsABrokerAndStillClosesInTimeWithEveryEventCounted() {
    PayloadLog log = start("127.0.0.1:" + TestBroker.freePort());
    offerMany(log, "m", 5_000);
    long startNs = System.nanoTime();
    log.close();
    // The close timeout of 5 s, and what the machine needs to notice.
    assertTrue(System.nanoTime() - startNs < TimeUnit.SECONDS.toNanos(30));
    PayloadCounters end = log.counters();
    assertEquals(5_000, end.captured());
    assertEquals(0, end.sent());
    assertEquals(5_000, end.droppedTotal());
    assertTrue(end.dropped(DropReason.QUEUE_FULL) > 0, "the budget was never spent");
    assertEquals(0, end.queuedBytes());
  }

  @Test
  void recoversFromARestartOfTheBrokerAndCountsExactlyWhatWasLost() {
    try (TestBroker broker = TestBroker.start()) {
      broker.createTopic(TOPIC, 1);
      PayloadLog log = start(broker.bootstrap());
      offerMany(log, "m", 200);
      await("the first events", () -> log.counters().sent() == 200);
      broker.stop();
      offerMany(log, "m", 300);
      broker.restart();
      offerMany(log, "m", 200);
      await("every outcome", () -> log.counters().sent() + log.counters().droppedTotal() == 700);
      offerMany(log, "m", 50);
      log.close();

      PayloadCounters end = log.counters();
      assertEquals(750, end.captured());
      assertEquals(750, end.sent() + end.droppedTotal());
      // A confirmed event is there; a lost one may be, when only its confirmation was lost.
      Set<Long> read = sequences(read(broker, (int) end.sent()));
      assertTrue(read.size() >= end.sent(), read.size() + " read, " + end.sent() + " confirmed");
      assertTrue(read.containsAll(List.of(701L, 750L)), "no events after the restart");
    }
  }

  private static PayloadLog start(String bootstrap) {
    return start(bootstrap, 4L << 20);
  }

  private static PayloadLog start(String bootstrap, long queueBytes) {
    PayloadLogConfig config =
        new PayloadLogConfig(
            true,
            bootstrap,
            TOPIC,
            1,
            0,
            queueBytes,
            100_000,
            "urn:pod:1",
            "models",
            20,
            60_000,
            5_000);
    return PayloadLog.start(config, KafkaSink.open(config));
  }

  private static void offerMany(PayloadLog log, String model, int count) {
    byte[] value = new byte[64 + model.length()];
    if (count == 5_000) {
      value = new byte[1024];
    }
    for (int i = 0; i < count; i++) {
      log.offer(Kind.REQUEST, model + i, model, "", 0, PayloadEvent.PROTOBUF, value, Map.of());
      if (count == 2_000 && i % 100 == 0) {
        Thread.yield();
      }
    }
  }

  private static Set<Long> allUpTo(long last) {
    Set<Long> all = new HashSet<>();
    for (long i = 1; i <= last; i++) {
      all.add(i);
    }
    return all;
  }

  private static Set<Long> sequences(List<ConsumerRecord<byte[], byte[]>> records) {
    Set<Long> sequences = new HashSet<>();
    records.forEach(one -> sequences.add(Long.parseLong(headers(one).get("ce_sequence"))));
    return sequences;
  }

  private static Map<String, String> headers(ConsumerRecord<byte[], byte[]> one) {
    Map<String, String> headers = new HashMap<>();
    one.headers().forEach(h -> headers.put(h.key(), new String(h.value(), UTF_8)));
    return headers;
  }

  /** Everything in the topic; waits until there are at least {@code count} records. */
  private static List<ConsumerRecord<byte[], byte[]>> read(TestBroker broker, int count) {
    Map<String, Object> config =
        Map.of("bootstrap.servers", broker.bootstrap(), "auto.offset.reset", "earliest");
    List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    try (var consumer =
        new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(TOPIC).stream()
              .map(one -> new TopicPartition(TOPIC, one.partition()))
              .toList();
      consumer.assign(partitions);
      while (records.size() < count && System.nanoTime() < deadlineNs) {
        consumer.poll(Duration.ofMillis(200)).forEach(records::add);
      }
    }
    return records;
  }

  private static void await(String what, BooleanSupplier condition) {
    PayloadLogTest.await(what, condition);
  }
}
