package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.LabelRules;
import orlop.placement.LabelRules.Labels;

/**
 * Which labels a pod must or should carry for a model of some type: {@code {"type": {"required":
 * [..], "preferred": [..]}, "_default": {..}}}, ModelMesh's own format.
 *
 * <p>A file is watched until this is closed; one that cannot be read after a change is worth one
 * warning and what stood before stays. Thread-safe.
 */
final class TypeConstraints implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(TypeConstraints.class.getName());
  private static final String OTHERS = "_default";
  private static final String EXPECTED =
      "expected {\"type\": {\"required\": [\"label\"], \"preferred\": []}}";
  private static final long LOOK_MS = 1_000;
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private volatile LabelRules rules;
  private @Nullable WatchedFiles watched;

  private TypeConstraints(LabelRules rules) {
    this.rules = rules;
  }

  /**
   * @param text JSON, or empty
   * @param file a file of it, or empty; wins over the text
   * @return null when both are empty
   */
  static @Nullable TypeConstraints of(String text, String file) {
    return of(text, file, LOOK_MS);
  }

  /**
   * @param lookMs how often the file is looked at
   */
  static @Nullable TypeConstraints of(String text, String file, long lookMs) {
    if (file.isEmpty()) {
      return text.isEmpty() ? null : new TypeConstraints(parse("type constraints", text));
    }
    Path path = Path.of(file);
    TypeConstraints constraints = new TypeConstraints(read(path));
    constraints.watched =
        new WatchedFiles(List.of(path), lookMs, () -> constraints.readAgain(path));
    return constraints;
  }

  private static LabelRules read(Path file) {
    String from = "type constraints file " + file;
    try {
      return parse(from, Files.readString(file));
    } catch (IOException e) {
      throw new CommandException(from + ": " + ErrorLine.flat(e.toString()), EXPECTED, e);
    }
  }

  private void readAgain(Path file) {
    rules = read(file);
    LOG.log(Level.INFO, "type constraints read again from {0}", file);
  }

  LabelRules rules() {
    return rules;
  }

  @Override
  public void close() {
    if (watched != null) {
      watched.close();
    }
  }

  private static LabelRules parse(String from, String text) {
    try {
      Map<String, Labels> all = new HashMap<>(parse(text));
      Labels others = all.remove(OTHERS);
      return new LabelRules(all, others);
    } catch (IllegalArgumentException e) {
      throw new CommandException(from + ": " + ErrorLine.flat(e.getMessage()), EXPECTED, e);
    }
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
      if (!type.getValue().isObject()) {
        throw new IllegalArgumentException(
            "type '%s' is %s, expected an object".formatted(type.getKey(), type.getValue()));
      }
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
    JsonNode list = type.getValue().path(field);
    if (!list.isArray() && !list.isMissingNode() && !list.isNull()) {
      throw new IllegalArgumentException(
          "type '%s': %s is %s, expected a list".formatted(type.getKey(), field, list));
    }
    for (JsonNode label : list) {
      if (!label.isTextual()) {
        throw new IllegalArgumentException(
            "type '%s': %s holds %s, expected text".formatted(type.getKey(), field, label));
      }
      labels.add(label.textValue());
    }
    return Set.copyOf(labels);
  }
}
