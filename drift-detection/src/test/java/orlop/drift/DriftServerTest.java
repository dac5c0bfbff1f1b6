package orlop.drift;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.api.PayloadEvent.Kind;
import orlop.api.TestBroker;

/** The server against a real broker: end to end, over a restart, and with nobody there. */
@Tag("slow")
class DriftServerTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int MODELS = 8;

  @TempDir Path directory;

  private final SplittableRandom random = new SplittableRandom(5);
  private int sent;

  @Test
  void findsDriftEndToEndAndKeepsItsBaselinesOverARestart() throws Exception {
    try (TestBroker broker = TestBroker.start()) {
      DriftConfig config = config(broker.bootstrap(), "a", 300);
      try (DriftServer server = new DriftServer(config)) {
        server.start();
        send(broker, 4_000, -1);
        await("the first payloads", () -> server.recordsSeen() >= 4_000);
        await("their status", () -> watching(server) == 3 * MODELS);
        assertTrue(server.running());
        assertEquals(0, server.counters().alarms());
      }
      // Its state directory is gone too: what it knows is in the changelog.
      DriftConfig elsewhere = config(broker.bootstrap(), "b", 300);
      try (DriftServer server = new DriftServer(elsewhere)) {
        server.start();
        // Too few payloads for a new baseline: only the old one can find this.
        send(broker, 800, 3);
        await("the verdict", () -> server.counters().alarms() == 1);
        await("all payloads", () -> server.recordsSeen() >= 800);
        assertEquals(800, server.recordsSeen(), "payloads were read again after a clean restart");
      }
      List<ConsumerRecord<byte[], byte[]>> verdicts = read(broker, config.verdictTopic());
      assertEquals(1, verdicts.size());
      assertEquals("m3/x/1", new String(verdicts.get(0).key(), UTF_8));
      JsonNode verdict = JSON.readTree(verdicts.get(0).value());
      assertEquals("up", verdict.at("/direction").asText());
      assertTrue(verdict.at("/recordsSinceChange").asInt() <= 40, verdict.toString());
      assertTrue(verdict.at("/recordsSinceBaseline").asInt() >= 200, verdict.toString());
    }
  }

  @Test
  void survivesPoisonAndARestartOfTheBroker() throws Exception {
    try (TestBroker broker = TestBroker.start();
        DriftServer server = new DriftServer(config(broker.bootstrap(), "a", 300))) {
      server.start();
      send(broker, 500, -1);
      await("payloads before", () -> server.recordsSeen() >= 500);
      try (var producer = producer(broker)) {
        producer
            .send(
                new ProducerRecord<>(
                    "orlop.payloads",
                    null,
                    "m1".getBytes(UTF_8),
                    new byte[] {-1, -1},
                    Payloads.headers(Kind.REQUEST, "m1", "poison")))
            .get(60, TimeUnit.SECONDS);
      }
      await("the poison", () -> server.counters().poison() == 1);
      broker.stop();
      broker.restart();
      send(broker, 500, -1);
      await("payloads after", () -> server.counters().scored() >= 1_000);
      assertEquals(1, server.counters().poison());
    }
  }

  @Test
  void saysInOneLineThatNoBrokerAnswers() {
    String nowhere = "127.0.0.1:" + TestBroker.freePort();
    try (DriftServer server = new DriftServer(config(nowhere, "a", 300))) {
      IllegalStateException e = assertThrows(IllegalStateException.class, server::start);
      String message = String.valueOf(e.getMessage());
      assertTrue(message.contains(nowhere) && message.contains("3000 ms"), message);
    }
  }

  @Test
  void startsWhenTheBrokerComesLate() throws Exception {
    int port = TestBroker.freePort();
    DriftConfig d = config("127.0.0.1:" + port, "a", 300);
    DriftConfig patient =
        new DriftConfig(
            d.bootstrapServers(),
            d.applicationId(),
            d.payloadTopic(),
            d.verdictTopic(),
            d.baselineRows(),
            d.falseAlarmsPerDay(),
            d.latchRows(),
            d.maxFeatures(),
            d.flushIntervalMs(),
            d.threads(),
            d.topicPartitions(),
            d.stateDirectory(),
            null,
            120_000);
    try (DriftServer server = new DriftServer(patient)) {
      Thread starter = Thread.ofVirtual().start(server::start);
      try (TestBroker broker = TestBroker.startOn(port)) {
        send(broker, 10, -1);
        await("payloads", () -> server.recordsSeen() == 10);
        starter.join();
        server.close();
      }
    }
  }

  private DriftConfig config(String bootstrap, String place, int baselineRows) {
    return new DriftConfig(
        bootstrap,
        "drift-test",
        "orlop.payloads",
        "orlop.verdicts",
        baselineRows,
        0.1,
        10_000,
        1_000,
        60_000,
        2,
        4,
        directory.resolve(place).toString(),
        null,
        3_000);
  }

  /** Payloads of all models in turn; feature 1 of model m3 is shifted where a shift is given. */
  private void send(TestBroker broker, int count, double shift) throws Exception {
    awaitTopic(broker);
    List<Future<?>> acknowledged = new ArrayList<>();
    try (var producer = producer(broker)) {
      for (int i = 0; i < count; i++) {
        int model = i % MODELS;
        double moved = model == 3 && shift > 0 ? shift : 0;
        byte[] value =
            Payloads.raw(
                new double[] {
                  random.nextGaussian(), random.nextGaussian() + moved, random.nextInt(3)
                });
        String name = "m" + model;
        acknowledged.add(
            producer.send(
                new ProducerRecord<>(
                    "orlop.payloads",
                    null,
                    name.getBytes(UTF_8),
                    value,
                    Payloads.headers(Kind.REQUEST, name, "id-" + sent++))));
      }
      producer.flush();
    }
    for (Future<?> one : acknowledged) {
      one.get(1, TimeUnit.SECONDS);
    }
  }

  private static void awaitTopic(TestBroker broker) {
    try (var consumer =
        new KafkaConsumer<>(
            Map.of("bootstrap.servers", broker.bootstrap()),
            new ByteArrayDeserializer(),
            new ByteArrayDeserializer())) {
      await("the topic", () -> consumer.listTopics().containsKey("orlop.payloads"));
    }
  }

  private static KafkaProducer<byte[], byte[]> producer(TestBroker broker) {
    return new KafkaProducer<>(
        Map.of(
            "bootstrap.servers",
            broker.bootstrap(),
            "linger.ms",
            5,
            // The leader of a new topic may not be ready for the first batch but for the second:
            // then the first is out of sequence for ever.
            "max.in.flight.requests.per.connection",
            1),
        new ByteArraySerializer(),
        new ByteArraySerializer());
  }

  private static int watching(DriftServer server) {
    int watching = 0;
    try {
      for (JsonNode model : JSON.readTree(server.statusJson()).at("/models")) {
        for (JsonNode feature : model.at("/features")) {
          watching += feature.at("/phase").asText().equals("WATCHING") ? 1 : 0;
        }
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    return watching;
  }

  private static List<ConsumerRecord<byte[], byte[]>> read(TestBroker broker, String topic) {
    List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
    try (var consumer =
        new KafkaConsumer<>(
            Map.of("bootstrap.servers", broker.bootstrap(), "auto.offset.reset", "earliest"),
            new ByteArrayDeserializer(),
            new ByteArrayDeserializer())) {
      Set<TopicPartition> partitions = new HashSet<>();
      consumer
          .partitionsFor(topic)
          .forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
      consumer.assign(partitions);
      long end = consumer.endOffsets(partitions).values().stream().mapToLong(Long::longValue).sum();
      await(
          "all verdicts",
          () -> {
            consumer.poll(Duration.ofMillis(100)).forEach(records::add);
            return records.size() >= end;
          });
    }
    return records;
  }

  private static void await(String what, BooleanSupplier condition) {
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(120);
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadlineNs) {
        throw new AssertionError("waited 120 s for " + what);
      }
      LockSupport.parkNanos(2_000_000);
    }
  }
}
