package orlop.controller;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * What a registration asks of the mesh beyond being served: the member {@code "orlop"} of the
 * model's key, which is JSON. The rest of the key belongs to the storage.
 *
 * @param minCopies copies to keep loaded
 * @param maxCopies most copies to load; 0 for no bound
 * @param pinned the minimum, one at least, is never evicted
 * @param requiredLabels labels that a pod must carry
 * @param preferredLabels labels that a pod should carry
 * @param sizeBytes memory it is expected to take; 0 when unknown
 */
record Wishes(
    int minCopies,
    int maxCopies,
    boolean pinned,
    Set<String> requiredLabels,
    Set<String> preferredLabels,
    long sizeBytes) {
  static final Wishes NONE = new Wishes(0, 0, false, Set.of(), Set.of(), 0);

  /** Members that tell pods what tensors it has, and how to offer it to OpenAI's clients. */
  private static final Set<String> OF_THE_PODS =
      Set.of(
          "inputs",
          "outputs",
          "task",
          "input",
          "query",
          "document",
          "mask",
          "types",
          "output",
          "pooling",
          "normalize");

  /** Members that tell pods how to run the model: the greatest value, by name. */
  private static final Map<String, Integer> OF_THE_RUNS =
      Map.of("instances", 1_024, "batchRows", 4_096, "batchLatencyMs", 10_000, "warmUp", 1_000);

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String MEMBER = "orlop";
  private static final String EXPECTED =
      "expected minCopies, maxCopies, pinned, requiredLabels, preferredLabels, sizeBytes, task,"
          + " instances, batchRows, batchLatencyMs, warmUp, inputs, outputs";

  /**
   * @param key as registered; one that is no JSON object wishes nothing, and is the storage's
   *     affair
   * @throws IllegalArgumentException naming the member, its value and what was expected
   */
  static Wishes of(String key) {
    if (!key.contains("\"" + MEMBER + "\"")) {
      return NONE;
    }
    JsonNode wishes;
    try {
      wishes = JSON.readTree(key).path(MEMBER);
    } catch (JsonProcessingException e) {
      return NONE;
    }
    if (wishes.isMissingNode()) {
      return NONE;
    }
    if (!wishes.isObject()) {
      throw new IllegalArgumentException(
          "key: \"orlop\" is " + wishes + ", expected an object; " + EXPECTED);
    }
    Wishes found = NONE;
    for (Map.Entry<String, JsonNode> wish : wishes.properties()) {
      Integer most = OF_THE_RUNS.get(wish.getKey());
      if (most != null) {
        requireRuns(wish.getKey(), wish.getValue(), most);
      } else if (!OF_THE_PODS.contains(wish.getKey())) {
        found = found.with(wish.getKey(), wish.getValue());
      }
    }
    return found;
  }

  private Wishes with(String name, JsonNode value) {
    return switch (name) {
      case "minCopies" ->
          new Wishes(
              count(name, value), maxCopies, pinned, requiredLabels, preferredLabels, sizeBytes);
      case "maxCopies" ->
          new Wishes(
              minCopies, count(name, value), pinned, requiredLabels, preferredLabels, sizeBytes);
      case "pinned" -> {
        if (!value.isBoolean()) {
          throw wrong(name, value, "true or false");
        }
        yield new Wishes(
            minCopies, maxCopies, value.booleanValue(), requiredLabels, preferredLabels, sizeBytes);
      }
      case "requiredLabels" ->
          new Wishes(minCopies, maxCopies, pinned, labels(name, value), preferredLabels, sizeBytes);
      case "preferredLabels" ->
          new Wishes(minCopies, maxCopies, pinned, requiredLabels, labels(name, value), sizeBytes);
      case "sizeBytes" -> {
        if (!value.canConvertToLong() || value.longValue() < 0) {
          throw wrong(name, value, "a number of bytes, at least 0");
        }
        yield new Wishes(
            minCopies, maxCopies, pinned, requiredLabels, preferredLabels, value.longValue());
      }
      default ->
          throw new IllegalArgumentException(
              "key: unknown \"orlop.%s\"; ".formatted(name) + EXPECTED);
    };
  }

  private static int count(String name, JsonNode value) {
    if (!value.isInt() || value.intValue() < 0 || value.intValue() > 10_000) {
      throw wrong(name, value, "a number from 0 to 10000");
    }
    return value.intValue();
  }

  private static void requireRuns(String name, JsonNode value, int most) {
    int least = name.equals("instances") || name.equals("batchLatencyMs") ? 1 : 0;
    if (!value.isInt() || value.intValue() < least || value.intValue() > most) {
      throw wrong(name, value, "a number from " + least + " to " + most);
    }
  }

  private static Set<String> labels(String name, JsonNode value) {
    Set<String> labels = new TreeSet<>();
    for (JsonNode label : value) {
      if (!label.isTextual() || label.asText().isEmpty()) {
        throw wrong(name, value, "a list of texts");
      }
      labels.add(label.asText());
    }
    if (!value.isArray()) {
      throw wrong(name, value, "a list of texts");
    }
    return Set.copyOf(labels);
  }

  private static IllegalArgumentException wrong(String name, JsonNode value, String expected) {
    return new IllegalArgumentException(
        "key: \"orlop.%s\" is %s, expected %s".formatted(name, value, expected));
  }
}
