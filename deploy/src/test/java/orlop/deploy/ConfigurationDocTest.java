package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.reflect.RecordComponent;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import orlop.bridge.BridgeConfig;
import orlop.bridge.StreamConfig;
import orlop.controller.ControllerConfig;
import orlop.drift.DriftConfig;
import orlop.payload.PayloadLogConfig;
import orlop.payload.ProcessorsConfig;
import orlop.placement.Planner;
import orlop.pod.PodConfig;
import orlop.puller.PullerConfig;
import orlop.registry.RegistryConfig;
import orlop.runtime.RuntimeConfig;
import orlop.runtime.SidecarConfig;

/**
 * Goal: docs/configuration.md and defaults.yaml say what the config records do. Method: the tables
 * are parsed and held against the defaults, the records' components and the records' own refusals.
 */
class ConfigurationDocTest {
  private static final Path DOC = Path.of("..", "docs", "configuration.md");
  private static final Pattern ROW =
      Pattern.compile("\\| `([^`]+)` \\| (required|`[^`]*`) \\| (.*?) ?\\| (.+) \\|");
  private static final Pattern BETWEEN =
      Pattern.compile("(?:^|, )([0-9][0-9.,]*[0-9]|[0-9]) to ([0-9][0-9.,]*[0-9]|[0-9])(?:;|$)");
  private static final Pattern AT_LEAST = Pattern.compile("(?:^|, )at least ([0-9,]+)(?:;|$)");
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Keys that deploy reads itself; no record has a component of that name. */
  private static final Set<String> OURS =
      Set.of(
          "registry.kind",
          "puller.storageDirectory",
          "kafka.bootstrapServers",
          "registration.models",
          "registration.modelsFile",
          "registration.typeConstraints",
          "registration.typeConstraintsFile",
          "streams");

  private static final Map<String, Class<?>> RECORDS = records();

  @TempDir Path dir;

  /** One line of a table. */
  private record Row(String key, String byDefault, String bounds) {}

  private static Map<String, Class<?>> records() {
    Map<String, Class<?>> records = new LinkedHashMap<>();
    records.put("registry", RegistryConfig.class);
    records.put("pod", PodConfig.class);
    records.put("tls", TlsConfig.class);
    records.put("runtime", RuntimeConfig.class);
    records.put("sidecar", SidecarConfig.class);
    records.put("puller", PullerConfig.class);
    records.put("payload", PayloadLogConfig.class);
    records.put("processors", ProcessorsConfig.class);
    records.put("controller", ControllerConfig.class);
    records.put("planner", Planner.Config.class);
    records.put("drift", DriftConfig.class);
    records.put("bridge", BridgeConfig.class);
    return records;
  }

  private static List<Row> rows() throws IOException {
    List<Row> rows = new ArrayList<>();
    for (String line : Files.readAllLines(DOC)) {
      if (line.startsWith("| `")) {
        Matcher row = ROW.matcher(line);
        assertTrue(row.matches(), "not key, default, bounds, meaning: " + line);
        String byDefault = row.group(2).replace("`", "").replaceAll("[<>]", "");
        rows.add(new Row(row.group(1), byDefault, row.group(3)));
      }
    }
    return rows;
  }

  private static Map<String, String> documented(boolean streams) throws IOException {
    Map<String, String> documented = new LinkedHashMap<>();
    for (Row row : rows()) {
      if (row.key.startsWith("streams[].") == streams) {
        String before = documented.put(row.key, row.byDefault);
        assertEquals(null, before, row.key + " stands twice");
      }
    }
    return documented;
  }

  @Test
  void everyKeyIsDocumentedOnceWithTheDefaultThatHolds() throws IOException {
    Map<String, String> real = new LinkedHashMap<>();
    Settings.defaults().flatten().forEach((key, value) -> real.put(key, value.toString()));
    assertEquals(lines(real), lines(documented(false)));
  }

  @Test
  void everyKeyOfAStreamIsDocumentedOnceWithTheDefaultThatHolds() throws Exception {
    Map<String, String> real = new LinkedHashMap<>();
    defaults("streams[]", StreamConfig.of("name", "inputTopic", "outputTopic", ""), real);
    for (String required : List.of("name", "inputTopic", "outputTopic")) {
      real.put("streams[]." + required, "required");
    }
    assertEquals(lines(real), lines(documented(true)));
  }

  private static void defaults(String prefix, Object record, Map<String, String> into)
      throws ReflectiveOperationException, IOException {
    for (RecordComponent component : record.getClass().getRecordComponents()) {
      String key = prefix + "." + component.getName();
      Object value = component.getAccessor().invoke(record);
      if (component.getType().isRecord()) {
        defaults(key, value, into);
      } else {
        into.put(key, JSON.writeValueAsString(value));
      }
    }
  }

  /** One line a key, so that a difference is easy to read. */
  private static String lines(Map<String, String> map) {
    StringBuilder lines = new StringBuilder();
    new TreeMap<>(map).forEach((key, value) -> lines.append(key + " = " + value + "\n"));
    return lines.toString();
  }

  @Test
  void everyComponentOfEveryConfigRecordIsAKeyAndNoKeyIsLeftOver() {
    Set<String> components = new TreeSet<>(OURS);
    RECORDS.forEach((section, type) -> components(section, type, components));
    Set<String> keys = new TreeSet<>(Settings.defaults().flatten().keySet());
    assertEquals(String.join("\n", components), String.join("\n", keys));
  }

  private static void components(String prefix, Class<?> type, Set<String> into) {
    for (RecordComponent component : type.getRecordComponents()) {
      String key = prefix + "." + component.getName();
      if (component.getType().isRecord()) {
        components(key, component.getType(), into);
      } else {
        into.add(key);
      }
    }
  }

  @Test
  void everySectionBindsWithTheDefaults() {
    RECORDS
        .keySet()
        .forEach(section -> assertDoesNotThrow(() -> bind(section, List.of()), section));
  }

  @Test
  void theExampleIsAConfigurationThatBinds() throws IOException {
    String doc = Files.readString(DOC);
    int begin = doc.indexOf("```yaml\n") + "```yaml\n".length();
    Path file =
        Files.writeString(
            dir.resolve("mesh.yaml"), doc.substring(begin, doc.indexOf("```", begin)));
    Settings settings = Roles.filledIn(Settings.read(file, List.of()));
    for (Map.Entry<String, Class<?>> record : RECORDS.entrySet()) {
      assertDoesNotThrow(() -> ours(settings).section(record.getKey(), record.getValue()));
    }
    assertEquals("payments", settings.list("streams", StreamConfig.class).getFirst().name());
  }

  @Test
  void theBoundsThatAreDocumentedAreTheBoundsThatAreKept() throws IOException {
    List<Executable> checks = new ArrayList<>();
    for (Row row : rows()) {
      Matcher between = BETWEEN.matcher(row.bounds);
      Matcher atLeast = AT_LEAST.matcher(row.bounds);
      boolean zero = row.bounds.contains("; 0: ");
      if (between.find()) {
        BigDecimal most = number(between.group(2));
        checks.add(() -> takes(row.key, number(between.group(1)).toPlainString()));
        checks.add(() -> takes(row.key, most.toPlainString()));
        checks.add(() -> refuses(row.key, below(number(between.group(1)), zero)));
        checks.add(() -> refuses(row.key, most.add(BigDecimal.ONE).toPlainString()));
      } else if (row.bounds.startsWith("above 0")) {
        checks.add(() -> refuses(row.key, "0"));
      } else if (atLeast.find()) {
        checks.add(() -> takes(row.key, number(atLeast.group(1)).toPlainString()));
        checks.add(() -> refuses(row.key, below(number(atLeast.group(1)), zero)));
      }
    }
    assertTrue(checks.size() >= 240, "only " + checks.size() + " bounds were found");
    assertAll(checks);
  }

  private static BigDecimal number(String text) {
    return new BigDecimal(text.replace(",", ""));
  }

  /** Where 0 takes the default, the next below is −1. */
  private static String below(BigDecimal least, boolean zero) {
    BigDecimal below = least.subtract(BigDecimal.ONE);
    return zero && below.signum() == 0 ? "-1" : below.toPlainString();
  }

  private static void takes(String key, String value) {
    assertDoesNotThrow(() -> set(key, value), key + "=" + value);
  }

  private static void refuses(String key, String value) {
    String name = key.substring(key.lastIndexOf('.') + 1);
    CommandException refused =
        assertThrows(CommandException.class, () -> set(key, value), key + "=" + value);
    String said = String.valueOf(refused.getMessage());
    boolean named =
        said.contains(name)
            || (key.startsWith("pod.capacity.") && said.contains("capacity"))
            || (key.startsWith("pod.headroom.") && said.contains("headroom"));
    assertTrue(named || said.contains("out of range of int"), key + "=" + value + ": " + said);
    assertFalse(said.contains("\n"), said);
  }

  /** Binds the key's section with this value, and with room for it where keys depend on another. */
  private static void set(String key, String value) {
    if (key.startsWith("streams[].")) {
      String[] path = key.substring("streams[].".length()).split("\\.");
      String inner = "%s: %s".formatted(path[path.length - 1], value);
      String item = path.length == 1 ? inner : path[0] + ": {" + inner + peer(key) + "}";
      Settings.read(
              null, List.of("streams=[{name: a, inputTopic: b, outputTopic: c, " + item + "}]"))
          .list("streams", StreamConfig.class);
      return;
    }
    List<String> overrides = new ArrayList<>();
    switch (key) {
      case "pod.maxMessageBytes" -> overrides.add("pod.maxInFlightBytes=9000000000");
      case "payload.maxPayloadBytes" -> overrides.add("payload.queueBytes=9000000000");
      case "payload.queueBytes" -> overrides.add("payload.maxPayloadBytes=1024");
      case "processors.maxPayloadBytes" -> overrides.add("processors.queueBytes=1073741824");
      case "processors.queueBytes" -> overrides.add("processors.maxPayloadBytes=1024");
      default -> {}
    }
    overrides.add(key + "=" + value);
    bind(key.substring(0, key.indexOf('.')), overrides);
  }

  /** What keeps back-offs in their order. */
  private static String peer(String key) {
    return switch (key) {
      case "streams[].retry.initialMs" -> ", maxMs: 600000";
      case "streams[].retry.maxMs" -> ", initialMs: 1";
      default -> "";
    };
  }

  private static Object bind(String section, List<String> overrides) {
    List<String> all = new ArrayList<>(List.of("kafka.bootstrapServers='broker:9092'"));
    all.addAll(overrides);
    Settings settings = ours(Roles.filledIn(Settings.read(null, all)));
    return settings.section(section, Objects.requireNonNull(RECORDS.get(section)));
  }

  private static Settings ours(Settings settings) {
    return settings.without("registry", "kind").without("puller", "storageDirectory");
  }
}
