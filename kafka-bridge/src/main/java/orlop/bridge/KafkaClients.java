package orlop.bridge;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Kafka clients of one stream, with the settings that the guarantee rests on. */
final class KafkaClients {
  /** Most records that one poll returns. */
  static final int MAX_POLL_RECORDS = 500;

  private static final int MAX_FETCH_BYTES = 16 << 20;
  private static final long CALL_TIMEOUT_MS = 10_000;

  private final BridgeConfig config;
  private final StreamConfig stream;

  KafkaClients(BridgeConfig config, StreamConfig stream) {
    this.config = config;
    this.stream = stream;
  }

  String transactionalId() {
    return config.transactionalIdPrefix() + "." + stream.name() + "." + config.instance();
  }

  /**
   * A consumer of the server-side group protocol (KIP-848), without static membership: a killed
   * static member cannot return until its session has ended.
   */
  KafkaConsumer<byte[], byte[]> consumer() {
    Map<String, Object> properties = common();
    properties.put("group.id", stream.group());
    properties.put("group.protocol", "consumer");
    properties.put("client.id", transactionalId() + ".in");
    properties.put("enable.auto.commit", "false");
    properties.put("isolation.level", "read_committed");
    properties.put("auto.offset.reset", stream.startAt());
    properties.put("allow.auto.create.topics", "false");
    properties.put("max.poll.records", Math.min(MAX_POLL_RECORDS, stream.window().records()));
    properties.put("fetch.max.bytes", MAX_FETCH_BYTES);
    return new KafkaConsumer<>(
        properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  /** A transactional producer, not yet initialised. A transaction left alone ends after 15 s. */
  KafkaProducer<byte[], byte[]> producer() {
    Map<String, Object> properties = common();
    properties.put("transactional.id", transactionalId());
    properties.put("client.id", transactionalId() + ".out");
    properties.put("transaction.timeout.ms", 15_000);
    properties.put("delivery.timeout.ms", 10_000);
    properties.put("request.timeout.ms", 5_000);
    properties.put("max.block.ms", CALL_TIMEOUT_MS);
    properties.put("enable.idempotence", "true");
    // With more, the broker refuses the later ones of a transaction's first batches whenever the
    // first is retried; they would come again in order, but each refusal is an ERROR in its log.
    properties.put("max.in.flight.requests.per.connection", 1);
    properties.put("acks", "all");
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }

  /**
   * The session timeout that the broker applies to this group, in milliseconds; -1 where it does
   * not tell. Blocks for up to ten seconds.
   */
  long sessionTimeoutMs() {
    ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, stream.group());
    Admin admin = Admin.create(common());
    try {
      Config settings =
          admin
              .describeConfigs(List.of(group))
              .all()
              .get(CALL_TIMEOUT_MS, TimeUnit.MILLISECONDS)
              .get(group);
      ConfigEntry entry = settings == null ? null : settings.get("consumer.session.timeout.ms");
      return entry == null ? -1 : Long.parseLong(entry.value());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return -1;
    } catch (Exception e) {
      return -1;
    } finally {
      admin.close(Duration.ZERO);
    }
  }

  private Map<String, Object> common() {
    Map<String, Object> properties = new HashMap<>(config.kafkaProperties());
    properties.put("bootstrap.servers", config.bootstrapServers());
    return properties;
  }
}
