package orlop.puller;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * One named storage, as a value of KServe's {@code storage-config} secret holds it.
 *
 * <p>Type {@code s3} knows {@code endpoint_url}, {@code region}, {@code access_key_id}, {@code
 * secret_access_key}, {@code session_token}, {@code bucket}, {@code default_bucket}, {@code
 * certificate} (PEM, the authorities that the endpoint is trusted by), {@code anonymous} ({@code
 * true}: unsigned requests) and {@code etag_is_md5} ({@code false} for stores whose ETags look like
 * an MD5 and are not). Type {@code pvc} knows {@code name}. Other types are kept, and refused only
 * when a model asks for them.
 *
 * @param type of store, in lower case
 * @param parameters by name; secrets among them, so they are never printed
 */
public record StorageConfig(String type, Map<String, String> parameters) {
  private static final ObjectMapper JSON = new ObjectMapper();

  public StorageConfig {
    if (type == null || type.isBlank()) {
      throw new IllegalArgumentException("storage type is empty; expected for example 's3'");
    }
    type = type.toLowerCase(Locale.ROOT);
    parameters = parameters == null ? Map.of() : Map.copyOf(parameters);
  }

  /**
   * One value of the secret.
   *
   * @throws IllegalArgumentException naming the storage, where the text is not a JSON object with a
   *     {@code type}; the text itself is not repeated, it holds secrets
   */
  public static StorageConfig parse(String name, String json) {
    JsonNode node;
    try {
      node = JSON.readTree(json);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          "storage '" + name + "' is not JSON at line " + e.getLocation().getLineNr());
    }
    Map<String, String> parameters = new HashMap<>(texts(node));
    String type = parameters.remove("type");
    if (type == null || type.isBlank()) {
      throw new IllegalArgumentException(
          "storage '" + name + "' has no \"type\"; expected an object such as {\"type\":\"s3\",…}");
    }
    return new StorageConfig(type, parameters);
  }

  /**
   * A mounted secret: one storage per file, named by the file. Names that start with a dot (the
   * kubelet's own) are passed over.
   *
   * @throws IOException where the directory cannot be read
   * @throws IllegalArgumentException where a file is no storage
   */
  public static Map<String, StorageConfig> readDirectory(Path directory) throws IOException {
    Map<String, StorageConfig> storages = new TreeMap<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(directory, Files::isRegularFile)) {
      for (Path file : files) {
        String name = String.valueOf(file.getFileName());
        if (!name.startsWith(".")) {
          storages.put(name, parse(name, Files.readString(file)));
        }
      }
    }
    return storages;
  }

  /** The scalar members of a JSON object; members of inner objects by their dotted path. */
  static Map<String, String> texts(JsonNode object) {
    Map<String, String> texts = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> member : object.properties()) {
      JsonNode value = member.getValue();
      if (value.isObject()) {
        texts(value).forEach((name, text) -> texts.put(member.getKey() + "." + name, text));
      } else if (value.isValueNode() && !value.isNull()) {
        texts.put(member.getKey(), value.asText());
      }
    }
    return texts;
  }

  /** This storage with some parameters replaced, as a model's own parameters may do. */
  StorageConfig with(Map<String, String> overrides) {
    if (overrides.isEmpty()) {
      return this;
    }
    Map<String, String> merged = new HashMap<>(parameters);
    merged.putAll(overrides);
    merged.remove("type");
    return new StorageConfig(type, merged);
  }

  /** A parameter, or null where it is absent or empty. */
  @Nullable String parameter(String name) {
    String value = parameters.get(name);
    return value == null || value.isEmpty() ? null : value;
  }

  @Override
  public String toString() {
    return "StorageConfig[" + type + ", " + new TreeMap<>(parameters).keySet() + "]";
  }
}
