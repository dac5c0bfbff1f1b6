package orlop.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import inference.ModelInferResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import orlop.api.TestBroker;

/** A broker with three fresh topics for each test, and eyes that see committed records only. */
final class KafkaLab implements AutoCloseable {
  private static final AtomicInteger NAMES = new AtomicInteger();

  final TestBroker broker = TestBroker.start();

  /** The topics of one test. */
  record Topics(String name, String in, String out, String dead, int partitions) {}

  Topics topics(int partitions) {
    return topics(partitions, Map.of(), Map.of());
  }

  Topics topics(int partitions, Map<String, String> out, Map<String, String> dead) {
    String name = "s" + NAMES.incrementAndGet();
    Topics topics = new Topics(name, name + ".in", name + ".out", name + ".dead", partitions);
    broker.createTopic(topics.in, partitions);
    broker.createTopic(topics.out, partitions, out);
    broker.createTopic(topics.dead, partitions, dead);
    return topics;
  }

  /** Binds as the command line does: from keys and values, unknown keys refused. */
  StreamConfig stream(Topics topics, Map<String, Object> more) {
    Map<String, Object> keys = new LinkedHashMap<>();
    keys.put("name", topics.name);
    keys.put("inputTopic", topics.in);
    keys.put("outputTopic", topics.out);
    keys.put("deadLetterTopic", topics.dead);
    keys.put("model", "doubler");
    keys.putAll(more);
    return new ObjectMapper().convertValue(keys, StreamConfig.class);
  }

  BridgeServer bridge(StreamConfig stream, MeshClient mesh, String instance) {
    BridgeConfig config =
        new BridgeConfig(
            broker.bootstrap(), "", instance, List.of("unused.example:1"), 5_000, Map.of());
    return BridgeServer.start(config, stream, mesh);
  }

  KafkaProducer<byte[], byte[]> producer() {
    return new KafkaProducer<>(
        Map.of(
            "bootstrap.servers",
            broker.bootstrap(),
            "linger.ms",
            "5",
            // The leader of a new topic may not be ready for the first batch but for the second:
            // then the first is out of sequence for ever.
            "max.in.flight.requests.per.connection",
            "1"),
        new ByteArraySerializer(),
        new ByteArraySerializer());
  }

  void write(List<ProducerRecord<byte[], byte[]>> records) {
    try (KafkaProducer<byte[], byte[]> producer = producer()) {
      records.forEach(producer::send);
      producer.flush();
    }
  }

  /** Records number {@code from} to {@code to}, each with its number as key and as input x. */
  static List<ProducerRecord<byte[], byte[]>> numbered(Topics topics, int from, int to) {
    List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
    for (int i = from; i < to; i++) {
      records.add(numbered(topics, i));
    }
    return records;
  }

  static ProducerRecord<byte[], byte[]> numbered(Topics topics, int i) {
    return new ProducerRecord<>(
        topics.in, i % topics.partitions, bytes("k" + i), FakeMesh.request("", i).toByteArray());
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static String header(ConsumerRecord<byte[], byte[]> record, String name) {
    return orlop.bridge.Topics.text(record, name);
  }

  void setMaxMessageBytes(String topic, int bytes) throws Exception {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    AlterConfigOp set =
        new AlterConfigOp(
            new ConfigEntry("max.message.bytes", Integer.toString(bytes)),
            AlterConfigOp.OpType.SET);
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker.bootstrap()))) {
      admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
    }
  }

  /** Waits until the topic holds this many committed records, and gives all of them. */
  List<ConsumerRecord<byte[], byte[]>> await(String topic, int count) {
    try (KafkaConsumer<byte[], byte[]> consumer = reader(topic)) {
      List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
      awaitTrue(
          Duration.ofSeconds(120),
          () -> topic + " holds " + seen.size() + " of " + count + " records",
          () -> {
            consumer.poll(Duration.ofMillis(50)).forEach(seen::add);
            return seen.size() >= count;
          });
      readToEnd(consumer, seen);
      return seen;
    }
  }

  List<ConsumerRecord<byte[], byte[]>> readAll(String topic) {
    return await(topic, 0);
  }

  private static void readToEnd(
      KafkaConsumer<byte[], byte[]> consumer, List<ConsumerRecord<byte[], byte[]>> seen) {
    Map<TopicPartition, Long> ends = consumer.endOffsets(consumer.assignment());
    awaitTrue(
        Duration.ofSeconds(30),
        () -> "end of " + ends,
        () -> {
          consumer.poll(Duration.ofMillis(50)).forEach(seen::add);
          return ends.entrySet().stream()
              .allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
        });
  }

  private KafkaConsumer<byte[], byte[]> reader(String topic) {
    KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(
            Map.of("bootstrap.servers", broker.bootstrap(), "isolation.level", "read_committed"),
            new ByteArrayDeserializer(),
            new ByteArrayDeserializer());
    List<TopicPartition> partitions =
        consumer.partitionsFor(topic).stream()
            .map(info -> new TopicPartition(topic, info.partition()))
            .toList();
    consumer.assign(partitions);
    consumer.seekToBeginning(partitions);
    return consumer;
  }

  /** What an audit of the output found. */
  record Audit(int results, int duplicates, int missing, int inversions, int wrong) {
    static final Audit clean(int results) {
      return new Audit(results, 0, 0, 0, 0);
    }
  }

  /**
   * Compares results with the numbered records they should come from. Output keeps the input's key,
   * and equal partition counts keep a key on one partition, so input order per key is offset order.
   */
  static Audit audit(List<ConsumerRecord<byte[], byte[]>> results, int written) {
    Set<String> sources = new HashSet<>();
    Map<String, Long> lastOffsets = new HashMap<>();
    int duplicates = 0;
    int inversions = 0;
    int wrong = 0;
    for (ConsumerRecord<byte[], byte[]> result : results) {
      String partition = header(result, "orlop-source-partition");
      long offset = Long.parseLong(header(result, "orlop-source-offset"));
      if (!sources.add(partition + "/" + offset)) {
        duplicates++;
      }
      String key = new String(result.key(), StandardCharsets.UTF_8);
      Long last = lastOffsets.put(key, offset);
      if (last != null && last > offset) {
        inversions++;
      }
      if (y(result) != 2 * Float.parseFloat(header(result, "x"))) {
        wrong++;
      }
    }
    return new Audit(results.size(), duplicates, written - sources.size(), inversions, wrong);
  }

  /** A numbered record with one of a few keys and its number in a header, for {@link #audit}. */
  static ProducerRecord<byte[], byte[]> keyed(Topics topics, int i, int keys) {
    ProducerRecord<byte[], byte[]> record =
        new ProducerRecord<>(
            topics.in, bytes("k" + i % keys), FakeMesh.request("", i).toByteArray());
    record.headers().add("x", bytes(Integer.toString(i)));
    return record;
  }

  static float y(ConsumerRecord<byte[], byte[]> result) {
    try {
      ModelInferResponse response = ModelInferResponse.parseFrom(result.value());
      return FakeMesh.floats(response.getRawOutputContents(0)).getFloat(0);
    } catch (com.google.protobuf.InvalidProtocolBufferException e) {
      throw new IllegalStateException("output is not a ModelInferResponse", e);
    }
  }

  /** Results lie on the partition of their input, and their offsets never go down. */
  static void assertInInputOrder(List<ConsumerRecord<byte[], byte[]>> results) {
    Map<String, Long> lastOffsets = new HashMap<>();
    for (ConsumerRecord<byte[], byte[]> result : results) {
      String source = header(result, "orlop-source-partition");
      assertEquals(source, Integer.toString(result.partition()));
      long offset = Long.parseLong(header(result, "orlop-source-offset"));
      Long last = lastOffsets.put(source, offset);
      assertTrue(last == null || last < offset, () -> source + ": " + offset + " after " + last);
    }
  }

  static void awaitTrue(Duration atMost, Supplier<String> state, BooleanSupplier condition) {
    long untilNs = System.nanoTime() + atMost.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() - untilNs > 0) {
        throw new AssertionError("after " + atMost + ": " + state.get());
      }
      Thread.onSpinWait();
      java.util.concurrent.locks.LockSupport.parkNanos(5_000_000);
    }
  }

  static void awaitStatus(BridgeServer bridge, java.util.function.Predicate<BridgeStatus> wanted) {
    awaitTrue(
        Duration.ofSeconds(60),
        () -> bridge.status().toString(),
        () -> wanted.test(bridge.status()));
  }

  static void assertHeader(String expected, ConsumerRecord<byte[], byte[]> record, String name) {
    assertEquals(expected, header(record, name), name);
  }

  @Override
  public void close() {
    broker.close();
  }
}
