package orlop.drift;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Everything that a {@link DriftServer} can be told. Immutable.
 *
 * @param bootstrapServers Kafka brokers, {@code host:port} separated by commas
 * @param applicationId consumer group and prefix of the changelog topic; default {@code
 *     orlop-drift}
 * @param payloadTopic topic of payload events; default {@code orlop.payloads}
 * @param verdictTopic topic of verdicts; default {@code orlop.verdicts}
 * @param baselineRows payloads that make a feature's baseline, 50 to 100,000; default 1,000
 * @param falseAlarmsPerDay expected false alarms per day over all features of all models that this
 *     server watches, above 0 to 1,000; default 0.1. Of n servers in one group each takes 1/n.
 * @param latchRows payloads for which a feature stays silent after its alarm before it learns its
 *     new normal, 0 to 1,000,000,000; default 10,000
 * @param maxFeatures features watched at most, 1 to 10,000,000, about 5 KB each; default 100,000
 * @param flushIntervalMs how often state is written and offsets are committed, 100 to 600,000;
 *     default 10,000
 * @param threads stream threads, 1 to 64; default 1
 * @param topicPartitions partitions of the payload and verdict topics where they do not exist yet,
 *     1 to 10,000; default 4
 * @param stateDirectory Kafka Streams' directory; the state itself lives in the changelog topic
 * @param baselineDirectory baselines as {@code <model id, URL-encoded>.json}, or null to learn all
 * @param startTimeoutMs how long start waits for the broker, 1,000 to 3,600,000; default 60,000
 */
public record DriftConfig(
    String bootstrapServers,
    String applicationId,
    String payloadTopic,
    String verdictTopic,
    int baselineRows,
    double falseAlarmsPerDay,
    long latchRows,
    int maxFeatures,
    long flushIntervalMs,
    int threads,
    int topicPartitions,
    String stateDirectory,
    @Nullable Path baselineDirectory,
    long startTimeoutMs) {

  public DriftConfig {
    present("bootstrapServers", bootstrapServers, "host:port of a Kafka broker");
    present("applicationId", applicationId, "a name for the consumer group");
    present("payloadTopic", payloadTopic, "the name of a Kafka topic");
    present("verdictTopic", verdictTopic, "the name of a Kafka topic");
    present("stateDirectory", stateDirectory, "a directory");
    within("baselineRows", baselineRows, Baseline.LEAST_ROWS, 100_000);
    if (!(falseAlarmsPerDay > 0 && falseAlarmsPerDay <= 1_000)) {
      throw new IllegalArgumentException(
          "drift falseAlarmsPerDay is " + falseAlarmsPerDay + ", allowed is above 0 to 1000");
    }
    within("latchRows", latchRows, 0, 1_000_000_000);
    within("maxFeatures", maxFeatures, 1, 10_000_000);
    within("flushIntervalMs", flushIntervalMs, 100, 600_000);
    within("threads", threads, 1, 64);
    within("topicPartitions", topicPartitions, 1, 10_000);
    within("startTimeoutMs", startTimeoutMs, 1_000, 3_600_000);
  }

  /** The defaults, against one cluster. */
  public static DriftConfig to(String bootstrapServers, String stateDirectory) {
    return new DriftConfig(
        bootstrapServers,
        "orlop-drift",
        "orlop.payloads",
        "orlop.verdicts",
        1_000,
        0.1,
        10_000,
        100_000,
        10_000,
        1,
        4,
        stateDirectory,
        null,
        60_000);
  }

  DetectorSettings detectorSettings() {
    return new DetectorSettings(baselineRows, latchRows, maxFeatures);
  }

  private static void within(String key, long value, long least, long most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "drift " + key + " is " + value + ", allowed is " + least + " to " + most);
    }
  }

  private static void present(String key, String value, String expected) {
    if (value.isBlank()) {
      throw new IllegalArgumentException("drift " + key + " is empty, expected " + expected);
    }
  }
}
