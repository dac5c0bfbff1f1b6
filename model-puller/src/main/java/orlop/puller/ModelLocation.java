package orlop.puller;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Where a model lies: a URI, or a path inside a named storage.
 *
 * @param path {@code s3://bucket/prefix}, {@code file:/absolute}, {@code pvc://claim/path}, or a
 *     path inside the storage that {@code key} names
 * @param key empty, or ModelMesh's ModelKey: a JSON object of which {@code storage_key}, {@code
 *     storage_params} and {@code bucket} are read and the rest is left to others
 */
public record ModelLocation(String path, String key) {
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * Checks that the path is not blank and that the key is empty or a JSON object. Whether its
   * storage exists is known only to a puller.
   *
   * @throws PullException {@code BAD_LOCATION}
   */
  public static ModelLocation parse(String path, String key) throws PullException {
    ModelLocation location = new ModelLocation(path, key);
    if (path.isBlank()) {
      throw PullException.badLocation(
          path, "the path is empty; expected s3://…, file:/…, pvc://… or a path in a storage");
    }
    location.parsedKey();
    return location;
  }

  /** What the puller reads of the key. */
  record Key(@Nullable String storage, Map<String, String> parameters) {}

  Key parsedKey() throws PullException {
    if (key.isBlank()) {
      return new Key(null, Map.of());
    }
    JsonNode json;
    try {
      json = JSON.readTree(key);
    } catch (JsonProcessingException e) {
      throw PullException.badLocation(
          path, "its key is not JSON (" + e.getOriginalMessage() + "): " + shortened(key));
    }
    if (!json.isObject()) {
      throw PullException.badLocation(path, "its key is not a JSON object: " + shortened(key));
    }
    Map<String, String> parameters = new LinkedHashMap<>();
    if (json.path("bucket").isTextual()) {
      parameters.put("bucket", json.path("bucket").asText());
    }
    parameters.putAll(StorageConfig.texts(json.path("storage_params")));
    String storage = json.path("storage_key").asText("");
    return new Key(storage.isEmpty() ? null : storage, Map.copyOf(parameters));
  }

  private static String shortened(String text) {
    return text.length() <= 100 ? text : text.substring(0, 100) + "…";
  }
}
