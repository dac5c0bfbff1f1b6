package orlop.bridge;

import static orlop.bridge.BridgeConfig.orDefault;
import static orlop.bridge.BridgeConfig.require;

import java.util.regex.Pattern;

/**
 * One stream: an input topic, scored record by record into an output topic. Absent components
 * ({@code null}, empty or 0) take the defaults named below; sizes are in bytes, times in
 * milliseconds.
 *
 * <p>The model of a record is named by its header {@code mm-model-id}, else by its header {@code
 * mm-vmodel-id}, else by the message itself, else by {@code model}, else by {@code vmodel}.
 *
 * @param name names the stream in the transactional id, in dead letters and in the log; required
 * @param inputTopic required
 * @param outputTopic required
 * @param deadLetterTopic records that cannot be scored; default {@code <outputTopic>.dlq}
 * @param group consumer group; default {@code orlop-bridge.<name>}
 * @param model the model of records that name none; default none
 * @param vmodel the alias of records that name no model; default none
 * @param guarantee {@code exactly-once}, the default and the only one
 * @param startAt where a group without offsets starts: {@code earliest} (default) or {@code latest}
 * @param purpose {@code online} (default), or {@code batch} for work that can wait: a model that
 *     only such work uses displaces nothing that other calls used lately
 * @param maxInFlight records in the mesh at once; default 256
 * @param maxBatchRows rows of one model that may travel as one request, along the first dimension;
 *     default 1, which is off. Only for models whose first dimension is free
 * @param deadlineMs of one call to the mesh; default 30000
 * @param commitIntervalMs longest time that a result waits for its transaction to end; default 100
 * @param window records read and not yet committed
 * @param retry what happens to a record that failed for reasons that may pass
 */
public record StreamConfig(
    String name,
    String inputTopic,
    String outputTopic,
    String deadLetterTopic,
    String group,
    String model,
    String vmodel,
    String guarantee,
    String startAt,
    String purpose,
    int maxInFlight,
    int maxBatchRows,
    long deadlineMs,
    long commitIntervalMs,
    Window window,
    Retry retry) {

  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,200}");

  public StreamConfig {
    requireName("name", name);
    requireName("inputTopic", inputTopic);
    requireName("outputTopic", outputTopic);
    deadLetterTopic = orDefault(deadLetterTopic, outputTopic + ".dlq");
    requireName("deadLetterTopic", deadLetterTopic);
    require(!outputTopic.equals(inputTopic), "outputTopic", outputTopic, "not the inputTopic");
    require(
        !deadLetterTopic.equals(inputTopic),
        "deadLetterTopic",
        deadLetterTopic,
        "not the inputTopic");
    group = orDefault(group, "orlop-bridge." + name);
    model = orDefault(model, "");
    vmodel = orDefault(vmodel, "");
    require(model.isEmpty() || vmodel.isEmpty(), "vmodel", vmodel, "none where model is set");
    guarantee = orDefault(guarantee, "exactly-once");
    require(guarantee.equals("exactly-once"), "guarantee", guarantee, "exactly-once");
    startAt = orDefault(startAt, "earliest");
    require(
        startAt.equals("earliest") || startAt.equals("latest"),
        "startAt",
        startAt,
        "earliest or latest");
    purpose = orDefault(purpose, "online");
    require(
        purpose.equals("online") || purpose.equals("batch"), "purpose", purpose, "online or batch");
    maxInFlight = (int) inRange("maxInFlight", maxInFlight, 256, 1, 100_000);
    maxBatchRows = (int) inRange("maxBatchRows", maxBatchRows, 1, 1, 4096);
    deadlineMs = inRange("deadlineMs", deadlineMs, 30_000, 1, 3_600_000);
    commitIntervalMs = inRange("commitIntervalMs", commitIntervalMs, 100, 1, 5_000);
    window = window == null ? new Window(0, 0) : window;
    retry = retry == null ? new Retry(0, 0, 0, 0) : retry;
  }

  /** A stream of these three topics with every default. */
  public static StreamConfig of(
      String name, String inputTopic, String outputTopic, String deadLetterTopic) {
    return new StreamConfig(
        name,
        inputTopic,
        outputTopic,
        deadLetterTopic,
        "",
        "",
        "",
        "",
        "",
        "",
        0,
        0,
        0,
        0,
        new Window(0, 0),
        new Retry(0, 0, 0, 0));
  }

  /**
   * Bounds of what one bridge holds in memory. Reading stops when either is reached and goes on at
   * 70 % of it; it can be passed by what one poll returns (500 records).
   *
   * @param records default 20000
   * @param bytes keys, values and results; default 64 MiB
   */
  public record Window(int records, long bytes) {
    public Window {
      records = (int) inRange("window.records", records, 20_000, 1, 1_000_000);
      bytes = inRange("window.bytes", bytes, 64L << 20, 1, 64L << 30);
    }
  }

  /**
   * Retries with exponential back-off and jitter. While no pod of the mesh answers at all, nothing
   * is counted and nothing is given up.
   *
   * @param maxAttempts calls before a record is dead-lettered; default 10
   * @param initialMs first back-off; default 200
   * @param maxMs longest back-off; default 10000
   * @param modelGraceMs how long a model may be unknown to the mesh before its records are
   *     dead-lettered; default 30000
   */
  public record Retry(int maxAttempts, long initialMs, long maxMs, long modelGraceMs) {
    public Retry {
      maxAttempts = (int) inRange("retry.maxAttempts", maxAttempts, 10, 1, 1000);
      initialMs = inRange("retry.initialMs", initialMs, 200, 1, 60_000);
      maxMs = inRange("retry.maxMs", maxMs, 10_000, 1, 600_000);
      require(maxMs >= initialMs, "retry.maxMs", maxMs, "at least retry.initialMs " + initialMs);
      modelGraceMs = inRange("retry.modelGraceMs", modelGraceMs, 30_000, 1, 3_600_000);
    }
  }

  private static void requireName(String key, String value) {
    require(value != null && NAME.matcher(value).matches(), key, value, NAME.pattern());
  }

  private static long inRange(String key, long value, long byDefault, long least, long most) {
    long chosen = value == 0 ? byDefault : value;
    require(chosen >= least && chosen <= most, key, value, least + " to " + most);
    return chosen;
  }
}
