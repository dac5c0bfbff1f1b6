package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.deser.std.FromStringDeserializer;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of one process: the defaults of {@code defaults.yaml}, a YAML file and {@code
 * key=value} overrides, laid over one another. Every key must stand in the defaults, except below a
 * key of {@link #FREE}, whose entries the user names. An empty value takes the default. Immutable;
 * each section becomes the config record of its server when that server is started.
 */
final class Settings {
  /** Maps whose keys are the user's own. */
  private static final Set<String> FREE =
      Set.of("puller.storages", "bridge.kafkaProperties", "pod.dataplane.rpcs", "pod.metrics.info");

  /** A free map whose keys have dots of their own. */
  private static final String DOTTED = "bridge.kafkaProperties.";

  private static final YAMLMapper MAPPER =
      YAMLMapper.builder()
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.ACCEPT_SINGLE_VALUE_AS_ARRAY)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_ENUMS)
          // A section written twice would otherwise lose its first half without a word.
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
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

  /** Dotted key, of a value and not of a section, to what set it last, in that order. */
  private final Map<String, String> origins;

  private Settings(ObjectNode tree, Map<String, String> origins) {
    this.tree = tree;
    this.origins = origins;
  }

  /** The defaults alone. */
  static Settings defaults() {
    return new Settings(defaultTree(), Map.of());
  }

  private static ObjectNode defaultTree() {
    try (InputStream in = Settings.class.getResourceAsStream("defaults.yaml")) {
      if (in == null) {
        throw new IllegalStateException("defaults.yaml is not on the class path");
      }
      return (ObjectNode) MAPPER.readTree(in);
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
    return read(defaults(), file, overrides);
  }

  /** As {@link #read(Path, List)}, over these instead of the defaults. */
  static Settings read(Settings settings, @Nullable Path file, List<String> overrides) {
    return (file == null ? settings : settings.over(parse(file), file.toString())).with(overrides);
  }

  /** These settings with {@code key=value} laid over them. */
  Settings with(List<String> overrides) {
    Settings settings = this;
    for (String override : overrides) {
      settings = settings.over(override(override), "--set");
    }
    return settings;
  }

  /** These settings with one key set by {@code source}, which errors about it name. */
  Settings with(String source, String key, JsonNode value) {
    return over(nested(key, value), source);
  }

  private Settings over(ObjectNode layer, String source) {
    ObjectNode copy = tree.deepCopy();
    Map<String, String> known = new LinkedHashMap<>(origins);
    new Layer(source, known).merge(copy, layer, defaultTree(), "");
    return new Settings(copy, known);
  }

  /** These settings less one key, which is ours and not the server's. */
  Settings without(String section, String key) {
    ObjectNode copy = tree.deepCopy();
    if (copy.get(section) instanceof ObjectNode object) {
      object.remove(key);
    }
    return new Settings(copy, origins);
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
      return nested(
          override.substring(0, eq),
          value == null || value.isMissingNode() ? NullNode.instance : value);
    } catch (JsonProcessingException e) {
      throw new CommandException(
          "--set '" + override + "': the value is not valid YAML", "quote it", e);
    }
  }

  private static ObjectNode nested(String key, JsonNode value) {
    JsonNode inner = value;
    for (String segment : segments(key).reversed()) {
      ObjectNode outer = MAPPER.createObjectNode();
      outer.set(segment, inner);
      inner = outer;
    }
    return (ObjectNode) inner;
  }

  private static List<String> segments(String key) {
    return key.startsWith(DOTTED)
        ? List.of("bridge", "kafkaProperties", key.substring(DOTTED.length()))
        : List.of(key.split("\\.", -1));
  }

  /** A file or an option on its way onto what stands. */
  private record Layer(String source, Map<String, String> origins) {
    void merge(ObjectNode base, ObjectNode over, JsonNode byDefault, String prefix) {
      boolean free = FREE.stream().anyMatch(f -> prefix.equals(f) || prefix.startsWith(f + "."));
      for (Map.Entry<String, JsonNode> field : over.properties()) {
        String name = field.getKey();
        String key = prefix.isEmpty() ? name : prefix + "." + name;
        JsonNode old = base.get(name);
        if (old == null && !free) {
          throw new CommandException(unknown(source, key, names(base)), "remove or correct it");
        }
        put(base, name, key, field.getValue(), byDefault.path(name));
      }
    }

    private void put(ObjectNode base, String name, String key, JsonNode value, JsonNode byDefault) {
      if (!(base.get(name) instanceof ObjectNode)) {
        origins.remove(key); // set last, stands last
        origins.put(key, source);
      }
      if (value.isNull()) {
        if (byDefault.isMissingNode()) {
          base.remove(name);
        } else {
          base.set(name, byDefault);
        }
      } else if (base.get(name) instanceof ObjectNode section) {
        if (!(value instanceof ObjectNode inner)) {
          throw new CommandException(
              "%s: key '%s' is a section, found the value '%s'"
                  .formatted(source, key, value.asText()),
              "indent its keys below it");
        }
        merge(section, inner, byDefault, key);
      } else {
        base.set(name, value);
      }
    }
  }

  private static List<String> names(ObjectNode object) {
    List<String> names = new ArrayList<>();
    object.fieldNames().forEachRemaining(names::add);
    return names;
  }

  private static String unknown(String source, String key, List<String> known) {
    String name = key.substring(key.lastIndexOf('.') + 1);
    String nearest = nearest(known, name);
    String hint = distance(nearest, name) <= 3 ? "; did you mean '" + nearest + "'?" : "";
    return "%s: unknown key '%s'%s (known here: %s)"
        .formatted(source, key, hint, String.join(", ", known));
  }

  private <T> T bind(JsonNode node, String name, Class<T> type) {
    try {
      checkNames(node, name, type);
      return MAPPER.treeToValue(node, type);
    } catch (JsonProcessingException e) {
      List<JsonMappingException.Reference> path =
          e instanceof JsonMappingException m ? m.getPath() : List.of();
      String key = path(name, path);
      String what = BindingError.of(e, node, path);
      String origin = origin(key, what);
      throw new CommandException(
          "%s: key '%s': %s"
              .formatted(
                  origins.getOrDefault(origin, "defaults"),
                  origin.startsWith(key) ? origin : key,
                  what),
          "docs/configuration.md lists every key with its bounds",
          e);
    }
  }

  /** Refuses what no component of the record is called; what is missing is the record's affair. */
  private void checkNames(JsonNode node, String name, Type type) {
    if (!(node instanceof ObjectNode object)) {
      return;
    }
    if (type instanceof ParameterizedType map && map.getRawType() == Map.class) {
      Type value = map.getActualTypeArguments()[1];
      object.properties().forEach(e -> checkNames(e.getValue(), name + "." + e.getKey(), value));
    } else if (type instanceof Class<?> record && record.isRecord()) {
      Map<String, Type> components = new LinkedHashMap<>();
      for (RecordComponent component : record.getRecordComponents()) {
        components.put(component.getName(), component.getGenericType());
      }
      for (Map.Entry<String, JsonNode> field : object.properties()) {
        String key = name + "." + field.getKey();
        Type inner = components.get(field.getKey());
        if (inner == null) {
          throw new CommandException(
              unknown(
                  origins.getOrDefault(origin(key, ""), "defaults"),
                  key,
                  List.copyOf(components.keySet())),
              "remove or correct it");
        }
        checkNames(field.getValue(), key, inner);
      }
    }
  }

  /** The key that was set and that an error about {@code key} is most likely about. */
  private String origin(String key, String error) {
    String found = key;
    for (String set : origins.keySet()) {
      boolean above = key.equals(set) || key.startsWith(set + ".") || key.startsWith(set + "[");
      boolean below = set.startsWith(key + ".");
      boolean named = error.contains(set.substring(set.lastIndexOf('.') + 1));
      if (above || (below && named)) {
        found = set;
      }
    }
    return found;
  }

  private static String path(String section, List<JsonMappingException.Reference> references) {
    StringBuilder path = new StringBuilder(section);
    for (JsonMappingException.Reference r : references) {
      path.append(r.getFieldName() == null ? "[" + r.getIndex() + "]" : "." + r.getFieldName());
    }
    return path.toString();
  }

  private static String firstLine(JsonProcessingException e) {
    return e.getOriginalMessage().lines().findFirst().orElse("");
  }

  /** The known name that is most like the given one. */
  static String nearest(List<String> known, String name) {
    return known.stream().min(Comparator.comparingInt(k -> distance(k, name))).orElse("");
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
