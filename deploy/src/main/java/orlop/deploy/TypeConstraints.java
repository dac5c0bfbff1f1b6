package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.Model;

/**
 * Which labels a pod must or should carry for a model of some type: {@code {"type": {"required":
 * [..], "preferred": [..]}, "_default": {..}}}, ModelMesh's own format.
 *
 * <p>A file is read again when it has changed; one that cannot be read then is worth one warning
 * and what stood before stays. Thread-safe.
 */
final class TypeConstraints {
  private static final System.Logger LOG = System.getLogger(TypeConstraints.class.getName());
  private static final String OTHERS = "_default";
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private record Labels(Set<String> required, Set<String> preferred) {}

  private final @Nullable Path file;
  private Map<String, Labels> byType;
  private @Nullable FileTime changed;

  private TypeConstraints(@Nullable Path file, Map<String, Labels> byType) {
    this.file = file;
    this.byType = byType;
  }

  /**
   * @param text JSON, or empty
   * @param file a file of it, or empty; wins over the text
   * @return null when both are empty
   */
  static @Nullable TypeConstraints of(String text, String file) {
    if (!file.isEmpty()) {
      TypeConstraints constraints = new TypeConstraints(Path.of(file), Map.of());
      try {
        constraints.changed = Files.getLastModifiedTime(Path.of(file));
        constraints.byType = parse(Files.readString(Path.of(file)));
      } catch (IOException | IllegalArgumentException e) {
        throw new CommandException(
            "type constraints file " + file + ": " + ErrorLine.flat(e.getMessage()),
            "expected {\"type\": {\"required\": [\"label\"], \"preferred\": []}}",
            e);
      }
      return constraints;
    }
    if (text.isEmpty()) {
      return null;
    }
    try {
      return new TypeConstraints(null, parse(text));
    } catch (IllegalArgumentException e) {
      throw new CommandException(
          "type constraints: " + ErrorLine.flat(e.getMessage()),
          "expected {\"type\": {\"required\": [\"label\"], \"preferred\": []}}",
          e);
    }
  }

  /** The model with the labels of its type added. */
  Model apply(Model model) {
    Map<String, Labels> now = current();
    Labels labels = now.getOrDefault(model.type(), now.get(OTHERS));
    if (labels == null) {
      return model;
    }
    return new Model(
        model.id(),
        model.type(),
        model.path(),
        model.key(),
        model.sizeHintBytes(),
        model.minCopies(),
        model.maxCopies(),
        union(model.requiredLabels(), labels.required),
        union(model.preferredLabels(), labels.preferred),
        model.registeredMs());
  }

  private static Set<String> union(Set<String> a, Set<String> b) {
    Set<String> all = new HashSet<>(a);
    all.addAll(b);
    return all;
  }

  private synchronized Map<String, Labels> current() {
    Path path = file;
    if (path == null) {
      return byType;
    }
    try {
      FileTime time = Files.getLastModifiedTime(path);
      if (!time.equals(changed)) {
        changed = time;
        byType = parse(Files.readString(path));
        LOG.log(Level.INFO, "type constraints read again from {0}", path);
      }
    } catch (IOException | IllegalArgumentException e) {
      LOG.log(
          Level.WARNING,
          "type constraints file {0} cannot be read, what it said before stays: {1}",
          path,
          ErrorLine.flat(e.getMessage()));
    }
    return byType;
  }

  private static Map<String, Labels> parse(String text) {
    JsonNode json;
    try {
      json = MAPPER.readTree(text);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("not valid JSON: " + e.getOriginalMessage(), e);
    }
    if (json == null || !json.isObject()) {
      throw new IllegalArgumentException("not a JSON object");
    }
    Map<String, Labels> all = new HashMap<>();
    for (Map.Entry<String, JsonNode> type : json.properties()) {
      for (Map.Entry<String, JsonNode> field : type.getValue().properties()) {
        if (!Set.of("required", "preferred").contains(field.getKey())) {
          throw new IllegalArgumentException(
              "type '%s' has the field '%s', known are required and preferred"
                  .formatted(type.getKey(), field.getKey()));
        }
      }
      all.put(type.getKey(), new Labels(labels(type, "required"), labels(type, "preferred")));
    }
    return Map.copyOf(all);
  }

  private static Set<String> labels(Map.Entry<String, JsonNode> type, String field) {
    Set<String> labels = new HashSet<>();
    for (JsonNode label : type.getValue().path(field)) {
      if (!label.isTextual()) {
        throw new IllegalArgumentException(
            "type '%s': %s holds %s, expected text".formatted(type.getKey(), field, label));
      }
      labels.add(label.textValue());
    }
    return Set.copyOf(labels);
  }
}
