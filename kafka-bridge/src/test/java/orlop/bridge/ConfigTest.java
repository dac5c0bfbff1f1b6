package orlop.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Configuration is complete with four keys, and a wrong one is refused by name. */
class ConfigTest {
  @Test
  void needsNoMoreThanANameAndTheTopics() {
    StreamConfig stream = bind(Map.of());
    assertEquals(StreamConfig.of("s", "in", "out", "out.dlq"), stream);
    assertEquals("orlop-bridge.s", stream.group());
    assertEquals(256, stream.maxInFlight());
    assertEquals(20_000, stream.window().records());
    assertEquals(10, stream.retry().maxAttempts());
  }

  @Test
  void namesTheKeyTheValueAndTheRangeOfAWrongSetting() {
    assertEquals("maxInFlight is -1, expected 1 to 100000", refusal(Map.of("maxInFlight", -1)));
    assertEquals(
        "startAt is middle, expected earliest or latest", refusal(Map.of("startAt", "middle")));
    assertEquals("purpose is later, expected online or batch", refusal(Map.of("purpose", "later")));
    assertEquals(
        "guarantee is at-most-once, expected exactly-once",
        refusal(Map.of("guarantee", "at-most-once")));
    assertEquals(
        "outputTopic is in, expected not the inputTopic", refusal(Map.of("outputTopic", "in")));
    assertEquals(
        "retry.maxMs is 5, expected at least retry.initialMs 200",
        refusal(Map.of("retry", Map.of("maxMs", 5))));
    assertTrue(refusal(Map.of("maxInflight", 3)).contains("maxInflight"));
  }

  @Test
  void refusesKafkaPropertiesThatCarryTheGuarantee() {
    IllegalArgumentException refusal =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                new BridgeConfig("b:1", "", "", List.of("p:1"), 0, Map.of("isolation.level", "x")));
    assertEquals(
        "kafkaProperties is isolation.level, expected a property that the bridge does not set"
            + " itself",
        refusal.getMessage());
    assertThrows(IllegalArgumentException.class, () -> BridgeConfig.of("b:1", List.of()));
    assertThrows(IllegalArgumentException.class, () -> BridgeConfig.of("b:1", List.of("p")));
    assertEquals("0", BridgeConfig.of("b:1", List.of("p:1")).instance());
  }

  private static StreamConfig bind(Map<String, Object> more) {
    Map<String, Object> keys = new LinkedHashMap<>();
    keys.put("name", "s");
    keys.put("inputTopic", "in");
    keys.put("outputTopic", "out");
    keys.putAll(more);
    return new ObjectMapper().convertValue(keys, StreamConfig.class);
  }

  private static String refusal(Map<String, Object> more) {
    IllegalArgumentException refusal =
        assertThrows(IllegalArgumentException.class, () -> bind(more));
    Throwable cause = refusal;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    return String.valueOf(cause.getMessage());
  }
}
