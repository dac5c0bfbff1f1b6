package orlop.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import orlop.deploy.ModelMeshVariables.Use;
import orlop.deploy.ModelMeshVariables.Variable;

/**
 * ModelMesh's environment variables as settings: laid over the defaults, and under the
 * configuration file and {@code --set}.
 */
final class ModelMeshEnvironment {
  /** ModelMesh's own when nobody names one. */
  private static final String DEFAULT_PREFIX = "tas-runtime";

  /** Keeps our keys apart from those of a ModelMesh that uses the same etcd. */
  private static final String OUR_SEGMENT = "orlop";

  private static final String DATAPLANE_FORM =
      "expected for example {\"rpcConfigs\": {\"pkg.Service/Method\": {\"idExtractionPath\": [1]}},"
          + " \"allowOtherRpcs\": true}";

  private static final int MAX_SHOWN = 60;
  private static final String DEFAULT_PRESTOP_PORT = "8090";

  /** How many models have labels of their own where all were asked for. */
  private static final int MODELS_WITH_LABELS = 500;

  private static final long DEFAULT_BUFFER_BYTES = 128L << 20;
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
  private static final ObjectMapper MAPPER = new ObjectMapper();

  /** All, the empty ones too. */
  private final Map<String, String> given;

  private final Map<String, String> environment;
  private final List<String> warnings = new ArrayList<>();
  private Settings settings;

  private ModelMeshEnvironment(Map<String, String> given, Settings settings) {
    this.given = given;
    this.environment = new TreeMap<>(given);
    environment.values().removeIf(String::isBlank);
    this.settings = settings;
  }

  /**
   * @param settings the settings with what the environment says laid over them
   * @param warnings one line for each variable that is set and changes nothing here
   */
  record Reading(Settings settings, List<String> warnings) {}

  /**
   * @throws CommandException naming the variable, its value and the remedy
   */
  static Reading read(Map<String, String> environment, Settings defaults) {
    ModelMeshEnvironment it = new ModelMeshEnvironment(environment, defaults);
    it.readAll();
    return new Reading(it.settings, List.copyOf(it.warnings));
  }

  private void readAll() {
    for (Variable variable : ModelMeshVariables.ALL) {
      String name = nameInUse(variable);
      String value = name == null ? null : environment.get(name);
      if (name != null && value != null) {
        take(variable, name, value);
      }
    }
    registry();
    identity();
    metrics();
    info();
    address();
    capacity();
    podTrust();
    json("MM_TYPE_CONSTRAINTS", "registration.typeConstraints");
    json("MM_AUTO_REGISTER_MODELS", "registration.models");
    dataplane();
    ModelMeshVariables.unknown(environment)
        .forEach(
            (name, nearest) ->
                warnings.add(
                    "%s is no variable of ModelMesh and is ignored; the nearest is %s"
                        .formatted(name, nearest)));
  }

  /** Of a variable that is read together with others, under whichever of its names. */
  private @Nullable String value(String name) {
    return ModelMeshVariables.ALL.stream()
        .filter(variable -> variable.name().equals(name))
        .map(this::nameInUse)
        .filter(Objects::nonNull)
        .map(environment::get)
        .findFirst()
        .orElse(null);
  }

  private @Nullable String nameInUse(Variable variable) {
    if (environment.containsKey(variable.name())) {
      return variable.name();
    }
    return variable.aliases().stream().filter(environment::containsKey).findFirst().orElse(null);
  }

  private void take(Variable variable, String name, String value) {
    switch (variable.use()) {
      case Use.Sets(String key, var toNode) -> {
        JsonNode node;
        try {
          node = toNode.apply(value);
        } catch (IllegalArgumentException e) {
          throw new CommandException(
              name + " is '" + value + "', " + e.getMessage(), "correct or unset it", e);
        }
        set(name, key, node);
      }
      case Use.Nothing(String why, List<String> harmless) -> {
        if (!harmless.contains(value)) {
          warnings.add("%s=%s changes nothing here: %s".formatted(name, brief(value), why));
        }
      }
      case Use.Combined c -> {}
      case Use.Launcher l -> {}
    }
  }

  private static String brief(String value) {
    String line = ErrorLine.flat(value);
    return line.length() <= MAX_SHOWN ? line : line.substring(0, MAX_SHOWN) + "…";
  }

  private void set(String source, String key, JsonNode value) {
    settings = settings.with(source, key, value);
  }

  private void set(String source, String key, String value) {
    set(source, key, JSON.textNode(value));
  }

  // ---- the registry ----

  private void registry() {
    String prefix = strip(environment.getOrDefault("MM_KVSTORE_PREFIX", DEFAULT_PREFIX));
    String store = environment.get("KV_STORE");
    if (store == null) {
      warnings.add("KV_STORE is not set: unless registry.kind is, this pod is a mesh of its own");
      return;
    }
    KvStore etcd = KvStore.parse(store);
    etcd.unused()
        .forEach(field -> warnings.add("KV_STORE: %s changes nothing here".formatted(field)));
    set("KV_STORE", "registry.kind", "etcd");
    ArrayNode endpoints = JSON.arrayNode();
    etcd.endpoints().forEach(endpoints::add);
    set("KV_STORE", "registry.endpoints", endpoints);
    String root = strip(etcd.rootPrefix());
    set(
        "KV_STORE",
        "registry.root",
        (root.isEmpty() ? "" : root + "/") + (prefix.isEmpty() ? "" : prefix + "/") + OUR_SEGMENT);
    setUnlessEmpty("registry.user", etcd.user());
    setUnlessEmpty("registry.password", etcd.password());
    setUnlessEmpty("registry.tls.trust", etcd.trust());
    setUnlessEmpty("registry.tls.certificate", etcd.certificate());
    setUnlessEmpty("registry.tls.privateKey", etcd.privateKey());
    setUnlessEmpty("registry.tls.serverName", etcd.serverName());
  }

  private void setUnlessEmpty(String key, String value) {
    if (!value.isEmpty()) {
      set("KV_STORE", key, value);
    }
  }

  private static String strip(String path) {
    return path.replaceAll("^/+|/+$", "");
  }

  // ---- the rest that takes more than one step ----

  private void identity() {
    String location = value("MM_LOCATION");
    if (location != null && environment.get("MM_ZONE") == null) {
      // Without zones, copies of a model go to different nodes.
      set("MM_LOCATION", "pod.zone", location);
    }
    String pod = environment.get("WKUBE_POD_NAME");
    if (pod != null) {
      // A container may start again in the same pod, and is another one for the mesh then.
      set("WKUBE_POD_NAME", "pod.id", Roles.uniqueName(pod));
    }
    String preStop = environment.getOrDefault("MM_PRESTOP_WAIT_PORT", DEFAULT_PRESTOP_PORT);
    set(
        "MM_PRESTOP_WAIT_PORT",
        "pod.preStopPort",
        JSON.numberNode(port("port=" + preStop, "MM_PRESTOP_WAIT_PORT", preStop)));
  }

  /**
   * {@code name;label=VARIABLE,label=VARIABLE}: labels have the values of those variables, which
   * may be empty.
   */
  private void info() {
    String text = environment.get("MM_INFO_METRICS");
    if (text == null) {
      return;
    }
    String form = "expected name;label=VARIABLE,label=VARIABLE";
    int end = text.indexOf(';');
    if (end <= 0) {
      throw new CommandException("MM_INFO_METRICS is '" + text + "'", form);
    }
    ObjectNode labels = JSON.objectNode();
    for (String part : text.substring(end + 1).split(",", -1)) {
      String[] pair = part.strip().split("=", -1);
      if (pair.length != 2 || pair[0].isEmpty()) {
        throw new CommandException("MM_INFO_METRICS is '" + text + "'", form);
      }
      String value = given.get(pair[1]);
      if (value == null) {
        throw new CommandException(
            "MM_INFO_METRICS is '%s' and %s is not set".formatted(text, pair[1]), form);
      }
      labels.put(pair[0], value);
    }
    set("MM_INFO_METRICS", "pod.metrics.infoName", text.substring(0, end));
    set("MM_INFO_METRICS", "pod.metrics.info", labels);
  }

  private void metrics() {
    String metrics = environment.get("MM_METRICS");
    if (metrics == null) {
      return;
    }
    String kind = metrics.split(":", 2)[0];
    if (kind.equals("disabled")) {
      set("MM_METRICS", "pod.metrics.enabled", JSON.booleanNode(false));
      return;
    }
    if (!kind.equals("prometheus")) {
      warnings.add(
          "MM_METRICS=%s changes nothing here: metrics are served by HTTP for Prometheus"
              .formatted(metrics));
      return;
    }
    String options = metrics.contains(":") ? metrics.substring(metrics.indexOf(':') + 1) : "";
    // As in ModelMesh, unless it says otherwise.
    set("MM_METRICS", "pod.metrics.https", JSON.booleanNode(true));
    for (String option : options.split(";", -1)) {
      String value = option.substring(option.indexOf('=') + 1);
      switch (option.split("=", 2)[0]) {
        case "port" ->
            set(
                "MM_METRICS",
                "pod.metricsPort",
                JSON.numberNode(port(option, "MM_METRICS", metrics)));
        case "scheme" -> scheme(value, metrics);
        case "per_model_metrics" ->
            set(
                "MM_METRICS",
                "pod.metrics.perModel",
                JSON.numberNode(Boolean.parseBoolean(value) ? MODELS_WITH_LABELS : 0));
        case "fq_names" ->
            set(
                "MM_METRICS",
                "pod.metrics.fullMethodNames",
                JSON.booleanNode(Boolean.parseBoolean(value)));
        case "" -> {}
        default -> warnings.add("MM_METRICS: %s changes nothing here".formatted(option));
      }
    }
  }

  private void scheme(String value, String metrics) {
    if (!List.of("http", "https").contains(value)) {
      throw new CommandException(
          "MM_METRICS is '" + metrics + "'", "expected scheme=http or https");
    }
    set("MM_METRICS", "pod.metrics.https", JSON.booleanNode(value.equals("https")));
  }

  private static int port(String option, String name, String all) {
    try {
      return Integer.parseInt(option.substring("port=".length()).strip());
    } catch (NumberFormatException e) {
      throw new CommandException(
          name + " is '" + all + "': " + option + " is no port", "for example port=2112", e);
    }
  }

  private void address() {
    String ip = environment.get("WKUBE_POD_IPADDR");
    String port = settings.text("pod.grpcPort");
    if (ip != null && !port.equals("0")) {
      String host = ip.contains(":") ? "[" + ip + "]" : ip;
      set("WKUBE_POD_IPADDR", "pod.advertisedAddress", host + ":" + port);
    }
  }

  private void capacity() {
    if (environment.get("CONTAINER_MEM_REQ_BYTES") == null) {
      return;
    }
    long request = bytes("CONTAINER_MEM_REQ_BYTES", 0);
    long buffer = bytes("MEM_BUFFER_BYTES", DEFAULT_BUFFER_BYTES);
    if (request <= buffer) {
      throw new CommandException(
          "CONTAINER_MEM_REQ_BYTES is %d and MEM_BUFFER_BYTES %d: nothing is left for models"
              .formatted(request, buffer),
          "raise the first or lower the second");
    }
    set("CONTAINER_MEM_REQ_BYTES", "pod.capacity.ramBytes", JSON.numberNode(request - buffer));
  }

  /** Named authorities vouch beside the pod's own certificates, so that keys can be exchanged. */
  private void podTrust() {
    String more = value("MM_INTERNAL_TRUST_CERTS");
    if (more != null) {
      String own = value("MM_TLS_KEY_CERT_PATH");
      set("MM_INTERNAL_TRUST_CERTS", "tls.podTrust", own == null ? more : own + "," + more);
    }
  }

  private long bytes(String name, long byDefault) {
    String value = environment.get(name);
    try {
      return value == null ? byDefault : Long.parseLong(value.strip());
    } catch (NumberFormatException e) {
      throw new CommandException(
          name + " is '" + value + "'", "expected a whole number of bytes", e);
    }
  }

  /** ModelMesh's JSON: {@code rpcConfigs} and {@code allowOtherRpcs}, which it takes for false. */
  private void dataplane() {
    String path = environment.get("MM_DATAPLANE_CONFIG_PATH");
    String name = path == null ? "MM_DATAPLANE_CONFIG" : "MM_DATAPLANE_CONFIG_PATH";
    String text = environment.get("MM_DATAPLANE_CONFIG");
    JsonNode config;
    try {
      String json = path == null ? text : Files.readString(Path.of(path));
      if (json == null) {
        return;
      }
      config = MAPPER.readTree(json);
    } catch (IOException e) {
      throw new CommandException(
          name + " cannot be read: " + ErrorLine.flat(e.getMessage()), DATAPLANE_FORM, e);
    }
    List<String> strange = new ArrayList<>();
    config.fieldNames().forEachRemaining(strange::add);
    strange.removeAll(List.of("rpcConfigs", "allowOtherRpcs"));
    if (!config.isObject() || !strange.isEmpty()) {
      throw new CommandException(
          name + (config.isObject() ? " holds the unknown " + strange : " is no JSON object"),
          DATAPLANE_FORM);
    }
    if (config.has("rpcConfigs")) {
      set(name, "pod.dataplane.rpcs", config.path("rpcConfigs"));
    }
    set(
        name,
        "pod.dataplane.allowOtherRpcs",
        JSON.booleanNode(config.path("allowOtherRpcs").asBoolean(false)));
  }

  private void json(String name, String key) {
    String value = value(name);
    if (value != null) {
      set(name, key, value);
    }
  }
}
