package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/**
 * The key of a registration: a storage reference, and under {@code "orlop"} what is asked of us.
 */
final class ModelKey {
  private static final ObjectMapper JSON = new ObjectMapper();

  private ModelKey() {}

  /** The key with the wishes in it; the key as it is where there are none. */
  static String with(
      String key,
      int minCopies,
      int maxCopies,
      long sizeBytes,
      boolean pinned,
      List<String> labels,
      List<String> preferred) {
    if (minCopies == 0
        && maxCopies == 0
        && sizeBytes == 0
        && !pinned
        && labels.isEmpty()
        && preferred.isEmpty()) {
      return key;
    }
    ObjectNode whole = parse(key);
    ObjectNode wishes = whole.withObject("/orlop");
    if (minCopies != 0) {
      wishes.put("minCopies", minCopies);
    }
    if (maxCopies != 0) {
      wishes.put("maxCopies", maxCopies);
    }
    if (sizeBytes != 0) {
      wishes.put("sizeBytes", sizeBytes);
    }
    if (pinned) {
      wishes.put("pinned", true);
    }
    if (!labels.isEmpty()) {
      wishes.set("requiredLabels", JSON.valueToTree(labels));
    }
    if (!preferred.isEmpty()) {
      wishes.set("preferredLabels", JSON.valueToTree(preferred));
    }
    return whole.toString();
  }

  private static ObjectNode parse(String key) {
    if (key.isBlank()) {
      return JSON.createObjectNode();
    }
    try {
      JsonNode parsed = JSON.readTree(key);
      if (parsed instanceof ObjectNode object) {
        return object;
      }
      throw new CommandException(
          "--key '" + key + "' is no JSON object",
          "for example --key '{\"storage_key\":\"models\"}'");
    } catch (JsonProcessingException e) {
      throw new CommandException(
          "--key '" + key + "' is no JSON", "for example --key '{\"storage_key\":\"models\"}'", e);
    }
  }
}
