package orlop.deploy;

import com.google.protobuf.InvalidProtocolBufferException;
import inference.ModelInferResponse;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.function.LongConsumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import orlop.api.Headers;
import orlop.api.PayloadEvent;

/** The Kafka side of the demo: writes records that name models, reads every result back once. */
final class DemoKafka {
  static final String INPUT = "demo.rows";
  static final String OUTPUT = "demo.scores";
  static final String DEAD_LETTERS = "demo.rows.dead";
  private static final int PARTITIONS = 4;

  private final String bootstrap;

  DemoKafka(String bootstrap) {
    this.bootstrap = bootstrap;
  }

  /**
   * One row for one model.
   *
   * @param expected the label that the model's trainer predicts
   */
  record Job(String key, DemoModel model, float[] row, int expected) {}

  /**
   * @param results records on the output topic
   * @param missing jobs without a result
   * @param duplicates results beyond the first of a job
   * @param wrong results that differ from the trainer's label
   */
  record Audit(int results, int missing, int duplicates, int wrong, long deadLetters) {}

  void createTopics(String... names) {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      for (String name : names) {
        try {
          admin.createTopics(List.of(new NewTopic(name, PARTITIONS, (short) 1))).all().get();
        } catch (ExecutionException e) {
          if (!(e.getCause() instanceof TopicExistsException)) {
            throw new IllegalStateException("topic " + name + " could not be made", e.getCause());
          }
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          return;
        }
      }
    }
  }

  void send(List<Job> jobs) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("linger.ms", "20");
    // The leader of a new topic may not be ready for the first batch but for the second: then the
    // first is out of sequence for ever.
    settings.put("max.in.flight.requests.per.connection", "1");
    try (var producer =
        new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
      for (Job job : jobs) {
        var record =
            new ProducerRecord<>(
                INPUT,
                job.key(),
                DemoClient.request(job.model(), new float[][] {job.row()}).toByteArray());
        record.headers().add(Headers.MODEL_ID, utf8(job.model().id()));
        record.headers().add(PayloadEvent.CONTENT_TYPE, utf8(PayloadEvent.PROTOBUF));
        producer.send(record);
      }
    }
  }

  /** Reads committed results until every job has one or {@code timeout} has passed. */
  Audit audit(List<Job> jobs, Duration timeout, LongConsumer progress) {
    Map<String, Integer> seen = new HashMap<>();
    Map<String, Job> byKey = new HashMap<>();
    jobs.forEach(job -> byKey.put(job.key(), job));
    int wrong = 0;
    int results = 0;
    long deadlineNs = System.nanoTime() + timeout.toNanos();
    long quietNs = 0;
    try (KafkaConsumer<String, byte[]> consumer = consumer(OUTPUT)) {
      // After the last result a little longer: a duplicate would come late.
      while (System.nanoTime() < (quietNs == 0 ? deadlineNs : quietNs)) {
        for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofMillis(100))) {
          results++;
          Job job = byKey.get(record.key());
          if (job == null || label(record.value()) != job.expected()) {
            wrong++;
          }
          seen.merge(record.key(), 1, Integer::sum);
        }
        progress.accept(results);
        if (quietNs == 0 && seen.size() == jobs.size()) {
          quietNs = System.nanoTime() + Duration.ofSeconds(1).toNanos();
        }
      }
    }
    int duplicates = seen.values().stream().mapToInt(n -> n - 1).sum();
    return new Audit(results, jobs.size() - seen.size(), duplicates, wrong, end(DEAD_LETTERS));
  }

  /** All records that stand on a topic now, uncommitted ones left out. */
  List<ConsumerRecord<String, byte[]>> readAll(String topic) {
    List<ConsumerRecord<String, byte[]>> all = new ArrayList<>();
    try (KafkaConsumer<String, byte[]> consumer = consumer(topic)) {
      Map<TopicPartition, Long> ends = consumer.endOffsets(consumer.assignment());
      while (ends.entrySet().stream().anyMatch(e -> consumer.position(e.getKey()) < e.getValue())) {
        consumer.poll(Duration.ofMillis(100)).forEach(all::add);
      }
    }
    return all;
  }

  private long end(String topic) {
    return readAll(topic).size();
  }

  private KafkaConsumer<String, byte[]> consumer(String topic) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("isolation.level", "read_committed");
    settings.put("enable.auto.commit", "false");
    var consumer =
        new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer());
    List<TopicPartition> partitions =
        consumer.partitionsFor(topic).stream()
            .map(p -> new TopicPartition(p.topic(), p.partition()))
            .toList();
    consumer.assign(partitions);
    consumer.seekToBeginning(partitions);
    return consumer;
  }

  private static int label(byte[] value) {
    try {
      FloatBuffer scores =
          ModelInferResponse.parseFrom(value)
              .getRawOutputContents(0)
              .asReadOnlyByteBuffer()
              .order(ByteOrder.LITTLE_ENDIAN)
              .asFloatBuffer();
      float[] row = new float[scores.remaining()];
      scores.get(row);
      return DemoModel.best(row);
    } catch (InvalidProtocolBufferException | IndexOutOfBoundsException e) {
      return -1;
    }
  }

  private static byte[] utf8(String text) {
    return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
  }
}
