package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Goal: the broker behaves as a broker. Method: real clients, a transaction, a restart. */
@Tag("slow")
class EmbeddedKafkaTest {
  private static final int RECORDS = 100;

  @BeforeAll
  static void quiet() {
    Logging.start(false);
  }

  @Test
  void keepsCommittedRecordsOverARestartAndHidesAbortedOnes(@TempDir Path dir) throws Exception {
    List<String> sent = IntStream.range(0, RECORDS).mapToObj(i -> "record-" + i).toList();
    try (var kafka = EmbeddedKafka.start(dir)) {
      try (var admin = Admin.create(Map.of("bootstrap.servers", kafka.bootstrap()))) {
        admin.createTopics(List.of(new NewTopic("stream", 1, (short) 1))).all().get();
      }
      try (var producer = producer(kafka)) {
        producer.initTransactions();
        producer.beginTransaction();
        sent.forEach(value -> producer.send(new ProducerRecord<>("stream", value)));
        producer.commitTransaction();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>("stream", "aborted"));
        producer.flush();
        producer.abortTransaction();
      }
      assertEquals(sent, read(kafka));
    }
    try (var kafka = EmbeddedKafka.start(dir)) {
      assertEquals(sent, read(kafka));
    }
  }

  @Test
  void twoBrokersRunSideBySideAndCloseInTime(@TempDir Path dir) throws Exception {
    long beganNs;
    try (var one = EmbeddedKafka.start(dir.resolve("one"));
        var two = EmbeddedKafka.start(dir.resolve("two"), Map.of("num.partitions", "3"))) {
      assertTrue(!one.bootstrap().equals(two.bootstrap()), one.bootstrap());
      try (var admin = Admin.create(Map.of("bootstrap.servers", two.bootstrap()))) {
        assertEquals(1, admin.describeCluster().nodes().get().size());
      }
      beganNs = System.nanoTime();
    }
    long tookMs = (System.nanoTime() - beganNs) / 1_000_000;
    assertTrue(tookMs < 30_000, "closing took " + tookMs + " ms");
  }

  private static KafkaProducer<String, String> producer(EmbeddedKafka kafka) {
    return new KafkaProducer<>(
        Map.of("bootstrap.servers", kafka.bootstrap(), "transactional.id", "test"),
        new StringSerializer(),
        new StringSerializer());
  }

  /**
   * Reads until all expected records came, or 30 s passed, and then once more for what should not
   * come.
   */
  private static List<String> read(EmbeddedKafka kafka) {
    Map<String, Object> config =
        Map.of(
            "bootstrap.servers",
            kafka.bootstrap(),
            "group.id",
            "reader-" + System.nanoTime(),
            "auto.offset.reset",
            "earliest",
            "isolation.level",
            "read_committed");
    var values = new ArrayList<String>();
    try (var consumer =
        new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      consumer.subscribe(List.of("stream"));
      long deadlineNs = System.nanoTime() + Duration.ofSeconds(30).toNanos();
      while (values.size() < RECORDS && System.nanoTime() < deadlineNs) {
        consumer.poll(Duration.ofMillis(200)).forEach(record -> values.add(record.value()));
      }
      consumer.poll(Duration.ofMillis(200)).forEach(record -> values.add(record.value()));
    }
    return values;
  }
}
