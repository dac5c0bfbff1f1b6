package orlop.drift;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.test.TestRecord;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.api.PayloadEvent.Kind;

/** The stream application without a broker: events in, verdicts out, in the test's own time. */
class DriftProcessorTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path directory;

  private final AtomicLong nowNs = new AtomicLong();
  private final SplittableRandom random = new SplittableRandom(11);
  private final SharedState shared = new SharedState(new BudgetClock(0.1, nowNs::get));
  private long sent;
  private @Nullable TopologyTestDriver driver;

  @AfterEach
  void closeDriver() {
    if (driver != null) {
      driver.close();
    }
  }

  @Test
  void reportsTheShiftedFeatureOfTheShiftedModelAndNoOther() throws Exception {
    Harness harness = start(config(200, null));
    for (int i = 0; i < 600; i++) {
      harness.send("a", row(0));
      harness.send("b", row(0));
    }
    assertTrue(harness.verdicts.isEmpty());
    long before = sent;
    int delay = 0;
    while (harness.verdicts.isEmpty() && delay < 200) {
      delay++;
      harness.send("a", row(2));
      harness.send("b", row(0));
    }
    assertTrue(delay <= 40, "found after " + delay + " payloads");

    TestRecord<byte[], byte[]> record = harness.verdicts.readRecord();
    assertEquals("a/x/1", new String(record.key(), UTF_8));
    JsonNode verdict = JSON.readTree(record.value());
    assertEquals("a", verdict.at("/model").asText());
    assertEquals("x", verdict.at("/feature/tensor").asText());
    assertEquals(1, verdict.at("/feature/index").asInt());
    assertEquals("up", verdict.at("/direction").asText());
    assertEquals(2, verdict.at("/effect/shiftSd").asDouble(), 0.8);
    assertTrue(verdict.at("/effect/ks").asDouble() > 0.5);
    assertTrue(verdict.at("/effect/psi").asDouble() > verdict.at("/effect/psiNull95").asDouble());
    assertEquals(400 + delay, verdict.at("/recordsSinceBaseline").asInt());
    assertEquals(delay, verdict.at("/recordsSinceChange").asInt(), 15);
    assertTrue(verdict.at("/evidence").asDouble() > 6);
    assertEquals(0.1, verdict.at("/budget/falseAlarmsPerDay").asDouble());
    assertEquals("polya-e-detector", verdict.at("/detector/name").asText());
    assertFalse(Instant.parse(verdict.at("/firstSeen").asText()).isBefore(atMs(before - 40)));
    assertEquals(atMs(sent - 2), Instant.parse(verdict.at("/at").asText()));
    assertEquals(
        "orlop.drift.verdict", new String(record.headers().lastHeader("ce_type").value(), UTF_8));
    assertEquals("1.0", new String(record.headers().lastHeader("ce_specversion").value(), UTF_8));

    for (int i = 0; i < 300; i++) {
      harness.send("a", row(2));
      harness.send("b", row(0));
    }
    assertTrue(harness.verdicts.isEmpty(), "one change, one verdict");
    assertEquals(1, shared.counters().alarms());
  }

  @Test
  void skipsWhatItCannotReadAndGoesOn() {
    Harness harness = start(config(200, null));
    harness.sendEvent("a", Kind.REQUEST, new byte[] {(byte) 0xFF, 1, 2, 3});
    harness.sendEvent("a", Kind.REQUEST, null);
    harness.sendEvent("", Kind.REQUEST, row(0));
    harness.sendEvent("a", Kind.RESPONSE, row(0));
    harness.input.pipeInput(new TestRecord<>(new byte[0], row(0), new RecordHeaders()));
    harness.send("a", row(0));
    DriftCounters counters = shared.counters();
    assertEquals(6, counters.seen());
    assertEquals(3, counters.poison());
    assertEquals(2, counters.ignored());
    assertEquals(1, counters.scored());
  }

  @Test
  void takesItsBaselineFromAFileWhereThereIsOne() throws Exception {
    StringBuilder values = new StringBuilder();
    for (int i = 0; i < 500; i++) {
      values.append(i == 0 ? "" : ",").append(random.nextGaussian());
    }
    Files.writeString(
        directory.resolve("team%2Fa.json"),
        "{\"features\":[{\"tensor\":\"x\",\"index\":1,\"values\":[" + values + "]}]}");
    Files.writeString(
        directory.resolve("b.json"), "{\"features\":[{\"tensor\":\"x\",\"values\":[]}]}");
    Harness harness = start(config(200, directory));
    for (int i = 0; i < 100; i++) {
      harness.send("team/a", row(2));
      harness.send("b", row(2));
    }
    assertEquals("team/a/x/1", new String(harness.verdicts.readRecord().key(), UTF_8));
    assertTrue(harness.verdicts.isEmpty());
  }

  @Test
  void writesStateOnlyAtAFlushAndThenAllOfIt() {
    Harness harness = start(config(200, null));
    for (int i = 0; i < 50; i++) {
      harness.send("a", row(0));
    }
    assertEquals(0, harness.stored().size());
    harness.driver.advanceWallClockTime(Duration.ofSeconds(10));
    Map<String, byte[]> stored = harness.stored();
    assertEquals(3, stored.size());
    harness.send("a", row(0));
    assertArrayEquals(stored.get("a\0x\0000"), harness.stored().get("a\0x\0000"));
    harness.driver.advanceWallClockTime(Duration.ofSeconds(10));
    assertFalse(Arrays.equals(stored.get("a\0x\0000"), harness.stored().get("a\0x\0000")));
  }

  @Test
  void learnsAnewWhenToldAndShowsItsStatus() {
    Harness harness = start(config(200, null));
    for (int i = 0; i < 250; i++) {
      harness.send("a", row(0));
    }
    harness.driver.advanceWallClockTime(Duration.ofSeconds(1));
    assertEquals("WATCHING", status("a").features().get(0).phase());
    shared.relearnRequests.merge("a", 1, Integer::sum);
    for (int i = 0; i < 250; i++) {
      harness.send("a", row(3));
    }
    harness.driver.advanceWallClockTime(Duration.ofSeconds(1));
    assertTrue(harness.verdicts.isEmpty());
    assertEquals("WATCHING", status("a").features().get(1).phase());
    assertEquals(50, status("a").features().get(1).rows());
    assertEquals(500, status("a").rows());
  }

  @Test
  void aPayloadThatIsDeliveredAgainChangesNothing() throws Exception {
    DetectorSettings settings = config(200, null).detectorSettings();
    ModelMonitor once = new ModelMonitor("a", settings, new AtomicInteger(), key -> null);
    ModelMonitor twice = new ModelMonitor("a", settings, new AtomicInteger(), key -> null);
    for (int offset = 0; offset < 400; offset++) {
      Row row = RowReader.read(row(0), Hash.seed("id", 0, offset));
      once.observe(row, 1e-9, offset, 0);
      twice.observe(row, 1e-9, offset, 0);
      twice.observe(row, 1e-9, Math.max(0, offset - 20), 0);
      twice.observe(row, 1e-9, offset, 0);
    }
    Map<FeatureKey, FeatureMonitor> copies = new HashMap<>();
    twice.forEachFeature(copies::put);
    once.forEachFeature(
        (key, one) ->
            assertArrayEquals(one.toBytes(), Objects.requireNonNull(copies.get(key)).toBytes()));
    assertEquals(3, copies.size());
  }

  @Test
  void watchesNoMoreFeaturesThanItsLimit() throws Exception {
    AtomicInteger count = new AtomicInteger();
    DetectorSettings settings = new DetectorSettings(200, 100, 4);
    ModelMonitor a = new ModelMonitor("a", settings, count, key -> null);
    ModelMonitor b = new ModelMonitor("b", settings, count, key -> null);
    Row row = RowReader.read(row(0), 1);
    a.observe(row, 1e-9, 0, 0);
    b.observe(row, 1e-9, 1, 0);
    assertEquals(3, a.status().features().size());
    assertEquals(1, b.status().features().size());
    assertEquals(2, b.status().unwatchedValues());
    a.release();
    b.observe(row, 1e-9, 2, 0);
    assertEquals(3, b.status().features().size());
  }

  @Test
  void handsOutNoMoreBudgetThanTheTimeThatPassed() {
    AtomicLong clockNs = new AtomicLong(Long.MAX_VALUE - 10);
    BudgetClock budget = new BudgetClock(24, clockNs::get);
    assertEquals(0, budget.take());
    double sum = 0;
    for (int i = 0; i < 1_000; i++) {
      clockNs.addAndGet(Duration.ofMillis(3600).toNanos());
      sum += budget.take();
      sum += budget.take();
    }
    assertEquals(1, sum, 1e-9);
    clockNs.addAndGet(-Duration.ofHours(1).toNanos());
    assertEquals(0, budget.take());
    clockNs.addAndGet(Duration.ofHours(10).toNanos());
    assertEquals(24.0 / 144, budget.take(), 1e-9, "a long silence counts for ten minutes");
  }

  private ModelStatus status(String model) {
    return Objects.requireNonNull(shared.statuses.get(model));
  }

  /** Three features: normal, normal and shifted as told, one of three values. */
  private byte[] row(double shift) {
    double[] row = {
      random.nextGaussian(), random.nextGaussian() + shift, random.nextInt(3),
    };
    return random.nextBoolean() ? Payloads.raw(row) : Payloads.typed(row);
  }

  private Instant atMs(long index) {
    return Instant.ofEpochMilli(1_700_000_000_000L + index);
  }

  private DriftConfig config(int baselineRows, @Nullable Path baselines) {
    return new DriftConfig(
        "none:9",
        "test",
        "in",
        "out",
        baselineRows,
        0.1,
        1_000,
        1_000,
        10_000,
        1,
        1,
        directory.resolve("state").toString(),
        baselines,
        1_000);
  }

  private Harness start(DriftConfig config) {
    TopologyTestDriver started =
        new TopologyTestDriver(
            DriftServer.topology(config, shared), DriftServer.properties(config));
    driver = started;
    return new Harness(
        started,
        started.createInputTopic("in", new ByteArraySerializer(), new ByteArraySerializer()),
        started.createOutputTopic("out", new ByteArrayDeserializer(), new ByteArrayDeserializer()));
  }

  private final class Harness {
    final TopologyTestDriver driver;
    final TestInputTopic<byte[], byte[]> input;
    final TestOutputTopic<byte[], byte[]> verdicts;

    Harness(
        TopologyTestDriver driver,
        TestInputTopic<byte[], byte[]> input,
        TestOutputTopic<byte[], byte[]> verdicts) {
      this.driver = driver;
      this.input = input;
      this.verdicts = verdicts;
    }

    void send(String model, byte[] value) {
      sendEvent(model, Kind.REQUEST, value);
    }

    void sendEvent(String model, Kind kind, byte @Nullable [] value) {
      // A thousand payloads a second.
      nowNs.addAndGet(1_000_000);
      input.pipeInput(
          new TestRecord<>(
              model.getBytes(UTF_8),
              value,
              Payloads.headers(kind, model, "id-" + sent),
              atMs(sent++)));
    }

    Map<String, byte[]> stored() {
      Map<String, byte[]> stored = new HashMap<>();
      var store = driver.<String, byte[]>getKeyValueStore(DriftProcessor.STORE);
      try (var all = store.all()) {
        List<KeyValue<String, byte[]>> entries = new ArrayList<>();
        all.forEachRemaining(entries::add);
        entries.forEach(entry -> stored.put(entry.key, entry.value));
      }
      return stored;
    }
  }
}
