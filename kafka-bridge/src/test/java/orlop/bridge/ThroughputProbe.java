package orlop.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.junit.jupiter.api.Test;

/**
 * What a record costs in the bridge, beside a loop that only copies records exactly once. Each side
 * runs in a JVM of its own, broker and mesh in this one; prints records and CPU time between the
 * 30,000th record and the last. Run by name only: its figures depend on the machine.
 */
class ThroughputProbe {
  private static final int WARM_UP = 30_000;
  private static final int RECORDS = 130_000;

  @Test
  void comparesTheBridgeWithARawLoop() throws Exception {
    try (KafkaLab lab = new KafkaLab();
        FakeMesh mesh = FakeMesh.start()) {
      for (int round = 0; round < 2; round++) {
        for (String mode : List.of("raw", "1", "32", "128")) {
          KafkaLab.Topics topics = lab.topics(4);
          fill(lab, topics);
          assertEquals(0, child(lab, mesh, topics, mode));
        }
      }
    }
  }

  private static void fill(KafkaLab lab, KafkaLab.Topics topics) {
    float[] features = new float[250];
    byte[] value =
        FakeMesh.request("", features).toBuilder()
            .setInputs(
                0,
                FakeMesh.request("", features).getInputs(0).toBuilder()
                    .clearShape()
                    .addShape(1)
                    .addShape(250))
            .build()
            .toByteArray();
    try (KafkaProducer<byte[], byte[]> producer = lab.producer()) {
      for (int i = 0; i < RECORDS; i++) {
        producer.send(new ProducerRecord<>(topics.in(), KafkaLab.bytes("k" + i % 1000), value));
      }
      producer.flush();
    }
  }

  private static int child(KafkaLab lab, FakeMesh mesh, KafkaLab.Topics topics, String mode)
      throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(
                System.getProperty("java.home") + "/bin/java",
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-cp",
                System.getProperty("java.class.path"),
                ThroughputProbe.class.getName(),
                lab.broker.bootstrap(),
                mesh.address(),
                topics.name(),
                mode)
            .redirectErrorStream(true)
            .start();
    try (var lines = process.inputReader(StandardCharsets.UTF_8)) {
      lines.lines().filter(line -> line.startsWith("PROBE")).forEach(System.out::println);
    }
    return process.waitFor();
  }

  @SuppressWarnings("unused")
  public static void main(String[] arguments) {
    if (arguments[3].equals("raw")) {
      copy(arguments[0], arguments[2]);
    } else {
      bridge(arguments[0], arguments[1], arguments[2], Integer.parseInt(arguments[3]));
    }
  }

  private static void bridge(String broker, String pod, String name, int rows) {
    StreamConfig defaults = ChildBridge.config(name);
    StreamConfig stream =
        new StreamConfig(
            name,
            name + ".in",
            name + ".out",
            name + ".dead",
            "",
            "doubler",
            "",
            "",
            "",
            "",
            1024,
            rows,
            0,
            100,
            defaults.window(),
            defaults.retry());
    BridgeConfig config = BridgeConfig.of(broker, List.of(pod));
    try (MeshClient mesh = MeshClient.connect(List.of(pod));
        BridgeServer bridge = BridgeServer.start(config, stream, mesh)) {
      KafkaLab.awaitTrue(
          Duration.ofSeconds(240),
          () -> bridge.status().toString(),
          () -> bridge.status().out() >= WARM_UP);
      Mark mark = Mark.now(bridge.status().out());
      KafkaLab.awaitTrue(
          Duration.ofSeconds(240),
          () -> bridge.status().toString(),
          () -> bridge.status().out() >= RECORDS);
      mark.print("bridge, batches of " + rows, bridge.status().out());
    }
  }

  private static void copy(String broker, String name) {
    StreamConfig stream = ChildBridge.config(name);
    KafkaClients clients = new KafkaClients(BridgeConfig.of(broker, List.of("unused:1")), stream);
    try (KafkaConsumer<byte[], byte[]> consumer = clients.consumer();
        KafkaProducer<byte[], byte[]> producer = clients.producer()) {
      producer.initTransactions();
      consumer.subscribe(List.of(stream.inputTopic()));
      int copied = 0;
      Mark mark = null;
      while (copied < RECORDS) {
        copied += copyFor(consumer, producer, stream.outputTopic());
        if (mark == null && copied >= WARM_UP) {
          mark = Mark.now(copied);
        }
      }
      if (mark != null) {
        mark.print("raw loop", copied);
      }
    }
  }

  private static int copyFor(
      KafkaConsumer<byte[], byte[]> consumer, KafkaProducer<byte[], byte[]> producer, String to) {
    int copied = 0;
    long untilNs = System.nanoTime() + 100_000_000;
    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
    producer.beginTransaction();
    while (System.nanoTime() - untilNs < 0) {
      ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(20));
      for (ConsumerRecord<byte[], byte[]> record : records) {
        producer.send(new ProducerRecord<>(to, record.key(), record.value()));
        copied++;
      }
      offsets.putAll(records.nextOffsets());
    }
    producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
    producer.commitTransaction();
    return copied;
  }

  private record Mark(long records, long wallNs, long cpuNs) {
    static Mark now(long records) {
      return new Mark(records, System.nanoTime(), cpu());
    }

    void print(String what, long recordsNow) {
      double done = recordsNow - records;
      System.out.printf(
          "PROBE %s: %.0f records/s, %.1f us CPU per record%n",
          what, done / ((System.nanoTime() - wallNs) / 1e9), (cpu() - cpuNs) / 1e3 / done);
    }

    private static long cpu() {
      return ((com.sun.management.OperatingSystemMXBean)
              ManagementFactory.getOperatingSystemMXBean())
          .getProcessCpuTime();
    }
  }
}
