package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.deser.std.FromStringDeserializer;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.StringJoiner;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of one process: the defaults of {@code defaults.yaml}, a YAML file and {@code
 * key=value} overrides, laid over one another. Every key must stand in the defaults, except below a
 * key of {@link #FREE}, whose entries the user names. Immutable; each section becomes the config
 * record of its server when that server is started.
 */
final class Settings {
  /** Keys whose children are the user's own: maps by name, and lists. */
  private static final Set<String> FREE = Set.of("puller.storages", "bridge.kafkaProperties");

  private static final ObjectMapper MAPPER =
      YAMLMapper.builder()
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_ENUMS)
          .addModule(
              new SimpleModule()
                  .addDeserializer(
                      Path.class,
                      new FromStringDeserializer<Path>(Path.class) {
                        @Override
                        protected Path _deserialize(String value, DeserializationContext context) {
                          return Path.of(value);
                        }
                      }))
          .build();

  private final ObjectNode tree;
  private final String source;

  private Settings(ObjectNode tree, String source) {
    this.tree = tree;
    this.source = source;
  }

  /** The defaults alone. */
  static Settings defaults() {
    try (InputStream in = Settings.class.getResourceAsStream("defaults.yaml")) {
      if (in == null) {
        throw new IllegalStateException("defaults.yaml is not on the class path");
      }
      return new Settings((ObjectNode) MAPPER.readTree(in), "defaults");
    } catch (IOException e) {
      throw new IllegalStateException("defaults.yaml cannot be read", e);
    }
  }

  /**
   * @param file null: only the defaults and the overrides
   * @param overrides {@code a.b.c=value}, later ones win
   * @throws CommandException naming file, key, value and remedy
   */
  static Settings read(@Nullable Path file, List<String> overrides) {
    Settings settings = defaults();
    if (file != null) {
      merge(settings.tree, parse(file), "", file.toString());
    }
    return new Settings(settings.tree, file == null ? "defaults" : file.toString()).with(overrides);
  }

  /** These settings with {@code key=value} laid over them. */
  Settings with(List<String> overrides) {
    ObjectNode copy = tree.deepCopy();
    for (String override : overrides) {
      merge(copy, override(override), "", "--set " + override);
    }
    return new Settings(copy, source);
  }

  /** These settings less one key, which is ours and not the server's. */
  Settings without(String section, String key) {
    ObjectNode copy = tree.deepCopy();
    if (copy.get(section) instanceof ObjectNode object) {
      object.remove(key);
    }
    return new Settings(copy, source);
  }

  /** The section as its server's config record. */
  <T> T section(String name, Class<T> type) {
    return bind(tree.path(name), name, type);
  }

  /** A list of records. */
  <T> List<T> list(String name, Class<T> type) {
    List<T> all = new ArrayList<>();
    JsonNode list = tree.path(name);
    for (int i = 0; i < list.size(); i++) {
      all.add(bind(list.get(i), name + "[" + i + "]", type));
    }
    return List.copyOf(all);
  }

  /** A value by its dotted key, as text; empty when it has none. */
  String text(String key) {
    return tree.at("/" + key.replace('.', '/')).asText("");
  }

  /** Dotted key to value, in the order of the defaults. */
  Map<String, JsonNode> flatten() {
    Map<String, JsonNode> flat = new LinkedHashMap<>();
    flatten("", tree, flat);
    return flat;
  }

  /** The settings as YAML, for the configuration file of a child process. */
  String yaml() {
    try {
      return MAPPER.writeValueAsString(tree);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void flatten(String prefix, JsonNode node, Map<String, JsonNode> into) {
    if (!node.isObject() || FREE.contains(prefix)) {
      into.put(prefix, node);
      return;
    }
    String dot = prefix.isEmpty() ? "" : prefix + ".";
    node.properties().forEach(e -> flatten(dot + e.getKey(), e.getValue(), into));
  }

  private static ObjectNode parse(Path file) {
    try {
      JsonNode node = MAPPER.readTree(Files.readString(file));
      if (node == null || node.isMissingNode() || node.isNull()) {
        return MAPPER.createObjectNode();
      }
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw new CommandException(
          file + ": expected a mapping of sections, found " + node.getNodeType(),
          "docs/configuration.md shows an example");
    } catch (NoSuchFileException e) {
      throw new CommandException(
          "configuration file " + file + " does not exist", "check the path after --config", e);
    } catch (JsonProcessingException e) {
      int line = e.getLocation() == null ? 0 : e.getLocation().getLineNr();
      throw new CommandException(
          "%s, line %d: not valid YAML: %s".formatted(file, line, firstLine(e)),
          "correct that line",
          e);
    } catch (IOException e) {
      throw new CommandException(
          "configuration file " + file + " cannot be read: " + e.getMessage(),
          "check that it is a readable file",
          e);
    }
  }

  private static ObjectNode override(String override) {
    int eq = override.indexOf('=');
    if (eq <= 0) {
      throw new CommandException(
          "--set '" + override + "' is not key=value", "for example --set pod.grpcPort=8033");
    }
    try {
      JsonNode value = MAPPER.readTree(override.substring(eq + 1));
      String[] keys = override.substring(0, eq).split("\\.", -1);
      for (int i = keys.length - 1; i >= 0; i--) {
        ObjectNode outer = MAPPER.createObjectNode();
        outer.set(keys[i], value);
        value = outer;
      }
      return (ObjectNode) value;
    } catch (JsonProcessingException e) {
      throw new CommandException(
          "--set '" + override + "': the value is not valid YAML", "quote it", e);
    }
  }

  private static void merge(ObjectNode base, ObjectNode over, String prefix, String source) {
    for (Map.Entry<String, JsonNode> field : over.properties()) {
      String key = prefix.isEmpty() ? field.getKey() : prefix + "." + field.getKey();
      JsonNode old = base.get(field.getKey());
      if (old == null && !FREE.contains(prefix)) {
        throw new CommandException(unknown(source, key, base), "remove or correct it");
      }
      if (old instanceof ObjectNode object && !FREE.contains(key)) {
        if (!(field.getValue() instanceof ObjectNode inner)) {
          throw new CommandException(
              "%s: key '%s' is a section, found the value '%s'"
                  .formatted(source, key, field.getValue().asText()),
              "indent its keys below it");
        }
        merge(object, inner, key, source);
      } else {
        base.set(field.getKey(), field.getValue());
      }
    }
  }

  private static String unknown(String source, String key, ObjectNode siblings) {
    String name = key.substring(key.lastIndexOf('.') + 1);
    List<String> known = new ArrayList<>();
    siblings.fieldNames().forEachRemaining(known::add);
    String nearest = known.stream().min(Comparator.comparingInt(k -> distance(k, name))).orElse("");
    StringJoiner all = new StringJoiner(", ");
    known.forEach(all::add);
    String hint = distance(nearest, name) <= 3 ? "; did you mean '" + nearest + "'?" : "";
    return "%s: unknown key '%s'%s (known here: %s)".formatted(source, key, hint, all);
  }

  private <T> T bind(JsonNode node, String name, Class<T> type) {
    try {
      return MAPPER.treeToValue(node, type);
    } catch (JsonProcessingException e) {
      String key = e instanceof JsonMappingException m ? path(name, m) : name;
      Throwable cause = e.getCause() == null ? e : e.getCause();
      String what =
          cause instanceof IllegalArgumentException
              ? ErrorLine.flat(cause.getMessage())
              : firstLine(e);
      throw new CommandException(
          "%s: key '%s': %s".formatted(source, key, what),
          "docs/configuration.md lists every key with its bounds",
          e);
    }
  }

  private static String path(String section, JsonMappingException e) {
    StringJoiner path = new StringJoiner(".").add(section);
    e.getPath()
        .forEach(
            r -> path.add(r.getFieldName() == null ? "[" + r.getIndex() + "]" : r.getFieldName()));
    return path.toString();
  }

  private static String firstLine(JsonProcessingException e) {
    return e.getOriginalMessage().lines().findFirst().orElse("");
  }

  /** Levenshtein's distance. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int change = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(change, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[b.length()];
  }
}
