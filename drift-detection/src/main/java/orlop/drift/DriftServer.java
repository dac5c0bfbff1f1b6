package orlop.drift;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.function.LongSupplier;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.AutoOffsetReset;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.UsePartitionTimeOnInvalidTimestamp;
import org.apache.kafka.streams.state.Stores;

/**
 * Drift detection as a server: a Kafka Streams application from the payload topic to the verdict
 * topic.
 *
 * <p>At least once, with the offset of the last value inside each feature's state: a payload that
 * is delivered again after a crash changes nothing, a verdict that is written again has the same
 * id. Thread-safe.
 */
public final class DriftServer implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(DriftServer.class.getName());
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(20);
  private static final int MOST_REPLACEMENTS = 20;
  private static final int SESSION_TIMEOUT_MS = 10_000;

  private final DriftConfig config;
  private final SharedState shared;
  private final KafkaStreams streams;

  public DriftServer(DriftConfig config) {
    this(config, System::nanoTime);
  }

  DriftServer(DriftConfig config, LongSupplier clockNs) {
    this.config = config;
    this.shared = new SharedState(new BudgetClock(config.falseAlarmsPerDay(), clockNs));
    this.streams = new KafkaStreams(topology(config, shared), properties(config));
    streams.setUncaughtExceptionHandler(this::replaceThread);
  }

  /**
   * Waits for the broker, makes the topics that do not exist yet and starts. Returns before the
   * state is restored; {@link #running} tells when it is.
   *
   * @throws IllegalStateException when no broker answers within {@code startTimeoutMs}
   */
  public void start() {
    Topics.await(config);
    streams.start();
  }

  /** Whether payloads are being read. */
  public boolean running() {
    return streams.state() == KafkaStreams.State.RUNNING;
  }

  /** Records read by this process, of whatever kind. */
  public long recordsSeen() {
    return shared.seen.sum();
  }

  public DriftCounters counters() {
    return shared.counters();
  }

  /** Makes every feature of a model learn a new baseline, from its next payload on. */
  public void rebaseline(String model) {
    shared.relearnRequests.merge(model, 1, Integer::sum);
  }

  /**
   * What is known of each model, about a second old: {@code {"running":…, "counters":{…},
   * "models":[{"model":…,"rows":…,"features":[{"tensor":…,"index":…,"phase":…,"baselineRows":…,
   * "rows":…,"evidenceLog10":…,"furtherLog10":…}]}]}}.
   */
  public String statusJson() {
    ObjectNode json = JSON.createObjectNode();
    json.put("running", running());
    json.set("counters", JSON.valueToTree(counters()));
    ArrayNode models = json.putArray("models");
    new TreeMap<>(shared.statuses).values().forEach(one -> models.add(JSON.valueToTree(one)));
    try {
      return JSON.writeValueAsString(json);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("drift status", e);
    }
  }

  /** Stops reading, writes the state and leaves the group, within 20 s. */
  @Override
  public void close() {
    boolean done =
        streams.close(
            CloseOptions.timeout(CLOSE_TIMEOUT)
                .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
    if (!done) {
      LOG.log(Level.WARNING, "drift detection did not stop within {0}", CLOSE_TIMEOUT);
    }
  }

  static Topology topology(DriftConfig config, SharedState shared) {
    return new Topology()
        .addSource(
            AutoOffsetReset.earliest(),
            "payloads",
            new UsePartitionTimeOnInvalidTimestamp(),
            Serdes.ByteArray().deserializer(),
            Serdes.ByteArray().deserializer(),
            config.payloadTopic())
        .addProcessor("detect", () -> new DriftProcessor(config, shared), "payloads")
        .addStateStore(
            Stores.keyValueStoreBuilder(
                    Stores.inMemoryKeyValueStore(DriftProcessor.STORE),
                    Serdes.String(),
                    Serdes.ByteArray())
                .withCachingDisabled()
                .withLoggingEnabled(Map.of()),
            "detect")
        .addSink(
            "verdicts",
            config.verdictTopic(),
            Serdes.ByteArray().serializer(),
            Serdes.ByteArray().serializer(),
            "detect");
  }

  static Properties properties(DriftConfig config) {
    Map<String, Object> p = new HashMap<>();
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, config.applicationId());
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, config.bootstrapServers());
    p.put(StreamsConfig.STATE_DIR_CONFIG, config.stateDirectory());
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, config.threads());
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
    // The processor asks for a commit after each flush; this is only the fall-back.
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 10 * config.flushIntervalMs());
    p.put(
        StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), SESSION_TIMEOUT_MS);
    // The leader of a new topic may not be ready for the first batch but for the second: with
    // several in flight the first is then out of sequence until its delivery times out.
    p.put(StreamsConfig.producerPrefix(ProducerConfig.MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION), 1);
    Properties properties = new Properties();
    properties.putAll(p);
    return properties;
  }

  private StreamThreadExceptionResponse replaceThread(Throwable failure) {
    int replaced = shared.threadsReplaced.incrementAndGet();
    if (replaced > MOST_REPLACEMENTS) {
      LOG.log(
          Level.ERROR,
          "drift detection stops: {0} stream threads died, the last of {1}",
          replaced,
          failure);
      return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    }
    LOG.log(Level.WARNING, "a drift stream thread died and is replaced: {0}", failure.toString());
    return StreamThreadExceptionResponse.REPLACE_THREAD;
  }
}
