package orlop.payload;

/**
 * Everything that a {@link PayloadLog} and its {@link KafkaSink} can be told. Immutable.
 *
 * @param enabled whether payloads are captured at all; default false
 * @param bootstrapServers Kafka brokers, {@code host:port} separated by commas; required when
 *     enabled
 * @param topic the payload topic; default {@code orlop.payloads}
 * @param sampleRate share of the inferences to capture, 0 to 1, chosen by a hash of the correlation
 *     id so that request and response agree; default 1
 * @param maxEventsPerSecond events captured per second before the rest is dropped, 0 for no limit;
 *     default 0
 * @param queueBytes memory that waiting events may hold, 64 KiB to 16 GiB; default 64 MiB
 * @param maxPayloadBytes the largest message that is captured, 1 KiB to 512 MiB and at most {@code
 *     queueBytes}; default 1,000,000, which fits a broker's default limit with its headers
 * @param source CloudEvents source, a URI that names this pod; sequence numbers count per source
 * @param namespace the mesh's namespace, may be empty
 * @param lingerMs how long a batch waits for more events, 0 to 10,000; default 30
 * @param deliveryTimeoutMs how long an event is retried before it is dropped, 1,000 to 3,600,000;
 *     default 30,000
 * @param closeTimeoutMs how long close waits for what is queued, 0 to 600,000; default 5,000
 */
public record PayloadLogConfig(
    boolean enabled,
    String bootstrapServers,
    String topic,
    double sampleRate,
    int maxEventsPerSecond,
    long queueBytes,
    int maxPayloadBytes,
    String source,
    String namespace,
    int lingerMs,
    int deliveryTimeoutMs,
    long closeTimeoutMs) {

  public PayloadLogConfig {
    if (!(sampleRate >= 0 && sampleRate <= 1)) {
      throw new IllegalArgumentException(
          "payload sampleRate is " + sampleRate + ", allowed is 0 to 1");
    }
    within("maxEventsPerSecond", maxEventsPerSecond, 0, Integer.MAX_VALUE);
    within("queueBytes", queueBytes, 64L << 10, 16L << 30);
    within("maxPayloadBytes", maxPayloadBytes, 1 << 10, Math.min(512L << 20, queueBytes));
    within("lingerMs", lingerMs, 0, 10_000);
    within("deliveryTimeoutMs", deliveryTimeoutMs, 1_000, 3_600_000);
    within("closeTimeoutMs", closeTimeoutMs, 0, 600_000);
    if (enabled) {
      present("bootstrapServers", bootstrapServers, "host:port of a Kafka broker");
      present("topic", topic, "the name of a Kafka topic");
      present("source", source, "a URI that names this pod");
    }
  }

  /** Capture switched off; the other values are the defaults. */
  public static PayloadLogConfig defaults() {
    return new PayloadLogConfig(
        false, "", "orlop.payloads", 1, 0, 64L << 20, 1_000_000, "", "", 30, 30_000, 5_000);
  }

  /** Every inference of one pod to the default topic of one cluster. */
  public static PayloadLogConfig to(String bootstrapServers, String source) {
    PayloadLogConfig d = defaults();
    return new PayloadLogConfig(
        true,
        bootstrapServers,
        d.topic,
        d.sampleRate,
        d.maxEventsPerSecond,
        d.queueBytes,
        d.maxPayloadBytes,
        source,
        d.namespace,
        d.lingerMs,
        d.deliveryTimeoutMs,
        d.closeTimeoutMs);
  }

  private static void within(String key, long value, long least, long most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "payload " + key + " is " + value + ", allowed is " + least + " to " + most);
    }
  }

  private static void present(String key, String value, String expected) {
    if (value.isBlank()) {
      throw new IllegalArgumentException(
          "payload " + key + " is empty, expected " + expected + " when payload logging is on");
    }
  }
}
