package orlop.api;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The fixture itself, so that a broken broker is not mistaken for a broken client. */
@Tag("slow")
class TestBrokerTest {

  @Test
  void keepsWhatWasWrittenOverARestart() throws Exception {
    try (TestBroker broker = TestBroker.start()) {
      broker.createTopic("kept", 1);
      write(broker, "before");
      broker.stop();
      broker.restart();
      write(broker, "after");
      assertEquals(List.of("before", "after"), read(broker, 2));
    }
  }

  private static void write(TestBroker broker, String text) throws Exception {
    Map<String, Object> config = Map.of("bootstrap.servers", broker.bootstrap());
    try (var producer =
        new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
      producer.send(new ProducerRecord<>("kept", text.getBytes(UTF_8))).get(60, TimeUnit.SECONDS);
    }
  }

  private static List<String> read(TestBroker broker, int count) {
    Map<String, Object> config =
        Map.of("bootstrap.servers", broker.bootstrap(), "auto.offset.reset", "earliest");
    List<String> texts = new ArrayList<>();
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    try (var consumer =
        new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.assign(List.of(new TopicPartition("kept", 0)));
      while (texts.size() < count && System.nanoTime() < deadlineNs) {
        for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofMillis(200))) {
          texts.add(new String(one.value(), UTF_8));
        }
      }
    }
    return texts;
  }
}
