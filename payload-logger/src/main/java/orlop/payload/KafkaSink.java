package orlop.payload;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.jspecify.annotations.Nullable;
import orlop.api.PayloadEvent;

/**
 * Writes payload events to a Kafka topic, keyed by model id, with a producer of its own.
 *
 * <p>{@code acks=1} without idempotence: a payload log trades a rare loss or repeat, both visible
 * in the sequence numbers, for latency and broker load. Batches linger and are compressed with zstd
 * on the drain thread. Until the topic's metadata has been fetched the sink is not ready, so a
 * broker that is away at start costs no events while the budget lasts. A broker that goes away
 * later costs those that wait longer than {@code deliveryTimeoutMs}.
 *
 * <p>Owned by the drain thread of one {@link PayloadLog}; the producer's own thread reports the
 * outcomes.
 */
public final class KafkaSink implements PayloadSink {
  private static final System.Logger LOG = System.getLogger(KafkaSink.class.getName());
  private static final int BATCH_BYTES = 256 << 10;
  private static final int HEADER_ROOM_BYTES = 48 << 10;
  private static final long BATCH_ROOM_BYTES = 16L << 20;
  private static final int MAX_BLOCK_MS = 250;
  private static final int REQUEST_TIMEOUT_MS = 10_000;
  private static final int METADATA_IDLE_MS = 3_600_000;

  /** A first contact may take a few tries without being worth a line. */
  private static final int QUIET_TRIES = 12;

  private final PayloadLogConfig config;
  private @Nullable KafkaProducer<byte[], byte[]> producer;
  private int failedTries;

  /** Set by the producer's thread too, when it no longer knows the topic. */
  private volatile boolean ready;

  /** One line per outage, not one per event. */
  private volatile boolean complained;

  private KafkaSink(PayloadLogConfig config) {
    this.config = config;
  }

  /** A sink for the topic and brokers of {@code config}. Does no I/O until it is first used. */
  public static KafkaSink open(PayloadLogConfig config) {
    return new KafkaSink(config);
  }

  @Override
  public boolean awaitReady(long timeoutMs) {
    if (ready) {
      return true;
    }
    try {
      producer().partitionsFor(config.topic());
      ready = true;
      failedTries = 0;
      return true;
    } catch (KafkaException e) {
      if (++failedTries > QUIET_TRIES) {
        complain(e);
      }
      return false;
    }
  }

  @Override
  public void send(PayloadEvent event, Outcome outcome) {
    ProducerRecord<byte[], byte[]> record =
        new ProducerRecord<>(
            config.topic(),
            null,
            event.timeMs(),
            event.modelId().getBytes(UTF_8),
            event.value(),
            CloudEventHeaders.of(event));
    producer()
        .send(
            record,
            (metadata, failure) -> {
              outcome.accept(failure == null);
              if (failure == null) {
                recovered();
              } else {
                complain(failure);
                ready = !(failure instanceof TimeoutException);
              }
            });
  }

  @Override
  public void close(long timeoutMs) {
    KafkaProducer<byte[], byte[]> open = producer;
    if (open != null) {
      open.close(Duration.ofMillis(timeoutMs));
    }
  }

  private KafkaProducer<byte[], byte[]> producer() {
    KafkaProducer<byte[], byte[]> open = producer;
    if (open == null) {
      open =
          new KafkaProducer<>(
              properties(config), new ByteArraySerializer(), new ByteArraySerializer());
      producer = open;
    }
    return open;
  }

  private void complain(Exception failure) {
    if (!complained) {
      complained = true;
      LOG.log(
          Level.WARNING,
          "payloads do not reach topic {0} on {1}: {2}; inference goes on, payloads wait in memory"
              + " and are dropped when it is full",
          config.topic(),
          config.bootstrapServers(),
          failure.getMessage());
    }
  }

  private void recovered() {
    if (complained) {
      complained = false;
      LOG.log(Level.INFO, "payloads reach topic {0} again", config.topic());
    }
  }

  private static Map<String, Object> properties(PayloadLogConfig config) {
    Map<String, Object> p = new HashMap<>();
    p.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, config.bootstrapServers());
    p.put(ProducerConfig.CLIENT_ID_CONFIG, "orlop-payload-log");
    p.put(ProducerConfig.ACKS_CONFIG, "1");
    p.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, false);
    p.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, "zstd");
    p.put(ProducerConfig.LINGER_MS_CONFIG, config.lingerMs());
    p.put(ProducerConfig.BATCH_SIZE_CONFIG, BATCH_BYTES);
    p.put(ProducerConfig.MAX_BLOCK_MS_CONFIG, MAX_BLOCK_MS);
    // The log's budget is the bound; the producer's own buffer must never be the tighter one.
    p.put(ProducerConfig.BUFFER_MEMORY_CONFIG, config.queueBytes() + BATCH_ROOM_BYTES);
    p.put(ProducerConfig.MAX_REQUEST_SIZE_CONFIG, config.maxPayloadBytes() + HEADER_ROOM_BYTES);
    int deliveryMs = config.deliveryTimeoutMs();
    p.put(
        ProducerConfig.REQUEST_TIMEOUT_MS_CONFIG,
        Math.min(REQUEST_TIMEOUT_MS, Math.max(1, deliveryMs - config.lingerMs())));
    p.put(ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, Math.max(deliveryMs, config.lingerMs() + 1));
    p.put(ProducerConfig.METADATA_MAX_IDLE_CONFIG, METADATA_IDLE_MS);
    p.put(ProducerConfig.RECONNECT_BACKOFF_MAX_MS_CONFIG, 1_000);
    return p;
  }
}
