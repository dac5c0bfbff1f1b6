package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The environment variables that ModelMesh and its runtime adapters know, and what each one is
 * here. docs/migrate-from-modelmesh.md shows the same table; a test compares them.
 */
final class ModelMeshVariables {
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  /**
   * @param name as in the environment; older names of the same are in {@code aliases}
   * @param use what it does here
   */
  record Variable(String name, List<String> aliases, Use use) {}

  /** What a variable does here. */
  sealed interface Use {
    /** Sets a key of the configuration; the function refuses with IllegalArgumentException. */
    record Sets(String key, Function<String, JsonNode> value) implements Use {}

    /** Read together with others, see {@link ModelMeshEnvironment}. */
    record Combined(String keys) implements Use {}

    /** Read by {@code deploy/bin/orlop-pod} before there is a Java machine. */
    record Launcher(String what) implements Use {}

    /** Set to anything but these harmless values, it is worth one warning. */
    record Nothing(String why, List<String> harmless) implements Use {}
  }

  /** Every known variable. */
  static final List<Variable> ALL =
      List.of(
          of("KV_STORE", new Use.Combined("registry.kind, endpoints, root, user, password, tls")),
          of("MM_KVSTORE_PREFIX", new Use.Combined("registry.root")),
          sets("MM_SERVICE_NAME", "registry.mesh", ModelMeshVariables::text, "TAS_SERVICE_NAME"),
          nothing("KV_READ_ONLY", "the key space of ModelMesh is never written to", "false"),
          sets("MM_SVC_GRPC_PORT", "pod.grpcPort", whole(1), "TAS_SVC_GRPC_PORT"),
          sets("MM_SVC_GRPC_MAX_MSG_SIZE", "pod.maxMessageBytes", whole(1)),
          sets("MM_SVC_GRPC_MAX_HEADERS_SIZE", "pod.maxHeaderBytes", whole(1)),
          sets("MM_SVC_GRPC_MAX_CONNECTION_AGE_SECS", "pod.maxConnectionAgeMs", seconds(1)),
          sets(
              "MM_SVC_GRPC_MAX_CONNECTION_AGE_GRACE_SECS",
              "pod.maxConnectionAgeGraceMs",
              seconds(0)),
          sets("INTERNAL_GRPC_PORT", "sidecar.address", ModelMeshVariables::loopback),
          sets("INTERNAL_GRPC_SOCKET_PATH", "sidecar.address", ModelMeshVariables::socket),
          sets(
              "INTERNAL_SERVING_GRPC_PORT",
              "sidecar.inferenceAddress",
              ModelMeshVariables::loopback),
          sets(
              "INTERNAL_SERVING_GRPC_SOCKET_PATH",
              "sidecar.inferenceAddress",
              ModelMeshVariables::socket),
          of("MM_LOCATION", new Use.Combined("pod.zone"), "WKUBE_NODE_IP"),
          sets("MM_ZONE", "pod.zone", ModelMeshVariables::text),
          sets("MM_LABELS", "pod.labels", ModelMeshVariables::commas),
          of("WKUBE_POD_IPADDR", new Use.Combined("pod.advertisedAddress")),
          of("WKUBE_POD_NAME", new Use.Combined("pod.id")),
          sets("MM_SCALEUP_RPM_THRESHOLD", "planner.callsPerCopyPerMinute", whole(1)),
          sets("MM_MAX_INFLIGHT_PER_MODEL_COPY", "sidecar.maxInFlightPerCopy", whole(1)),
          nothing("MM_CONC_SCALEUP_BANDWIDTH_PCT", "there is no latency mode"),
          sets("MM_LOAD_FAILURE_EXPIRY_TIME_MS", "pod.loadFailureExpiryMs", whole(1)),
          of("MM_METRICS", new Use.Combined("pod.metricsPort, pod.metrics")),
          of("MM_INFO_METRICS", new Use.Combined("pod.metrics.info, infoName")),
          nothing("MM_METRICS_STATSD_PORT", "nor in ModelMesh: MM_METRICS names the port"),
          nothing("MM_METRICS_PROMETHEUS_PORT", "nor in ModelMesh: MM_METRICS names the port"),
          nothing("MM_LOG_PROMETHEUS_REQS", "scrapes are not logged", "false"),
          sets("MM_LOG_EACH_INVOKE", "pod.logCalls", ModelMeshVariables::flag),
          sets("MM_LOG_REQUEST_HEADERS", "pod.logHeaders", ModelMeshVariables::names),
          nothing(
              "MM_SEND_DEST_ID", "a forwarded call reaches the pod that it was sent to", "false"),
          sets("MM_MULTI_PARALLELISM", "pod.multiModelParallelism", whole(1)),
          sets("BOOTSTRAP_CLEARANCE_PERIOD_MS", "pod.bootstrapMs", whole(0)),
          sets("MM_FAILFAST_UPGRADE_ENABLED", "pod.failFast", ModelMeshVariables::flag),
          sets("MM_DEFAULT_VMODEL_OWNER", "controller.defaultAliasOwner", ModelMeshVariables::text),
          of("MM_TYPE_CONSTRAINTS", new Use.Combined("registration.typeConstraints")),
          sets(
              "MM_TYPE_CONSTRAINTS_PATH",
              "registration.typeConstraintsFile",
              ModelMeshVariables::text),
          of("MM_DATAPLANE_CONFIG", new Use.Combined("pod.dataplane")),
          of("MM_DATAPLANE_CONFIG_PATH", new Use.Combined("pod.dataplane")),
          of(
              "MM_AUTO_REGISTER_MODELS",
              new Use.Combined("registration.models"),
              "MM_AUTO_REGISTER_MODEL"),
          sets(
              "MM_AUTO_REGISTER_MODELS_PATH",
              "registration.modelsFile",
              ModelMeshVariables::text,
              "MM_AUTO_REGISTER_MODEL_PATH"),
          sets("MM_PAYLOAD_PROCESSORS", "processors.uris", ModelMeshVariables::spaces),
          sets("MM_PAYLOAD_PROCESSORS_THREADS", "processors.parallelRequests", whole(1)),
          nothing(
              "MM_PAYLOAD_PROCESSORS_CAPACITY",
              "the queue is bounded by bytes, see processors.queueBytes",
              "64"),
          sets(
              "MM_TLS_KEY_CERT_PATH",
              "tls.certificate",
              ModelMeshVariables::text,
              "MM_SVC_GRPC_CA_CERT_PATH",
              "TAS_SVC_GRPC_CA_CERT_PATH"),
          sets(
              "MM_TLS_PRIVATE_KEY_PATH",
              "tls.privateKey",
              ModelMeshVariables::text,
              "MM_SVC_GRPC_PRIVATE_KEY_PATH",
              "TAS_SVC_GRPC_PRIVATE_KEY_PATH"),
          sets(
              "MM_TLS_PRIVATE_KEY_PASSPHRASE",
              "tls.passphrase",
              ModelMeshVariables::text,
              "MM_SVC_GRPC_PRIVATE_KEY_PASSPHRASE"),
          sets("MM_TLS_CLIENT_AUTH", "tls.clientAuth", ModelMeshVariables::text),
          sets("MM_TLS_TRUST_CERT_PATH", "tls.clientTrust", ModelMeshVariables::text),
          of("MM_INTERNAL_TRUST_CERTS", new Use.Combined("tls.podTrust"), "MM_TRUST_CERTS"),
          nothing("MM_ENABLE_SSL", "pods with a certificate always speak TLS", "true"),
          nothing(
              "MM_INTRACLUSTER_CLIENTAUTH", "pods always show one another certificates", "true"),
          sets("MM_PROBE_PORT", "pod.probePort", ModelMeshVariables::portOrNone),
          of("MM_PRESTOP_WAIT_PORT", new Use.Combined("pod.preStopPort")),
          sets("SHUTDOWN_TIMEOUT_MS", "pod.drainTimeoutMs", whole(0)),
          sets("SERVICE_VERSION", "pod.version", ModelMeshVariables::text),
          nothing("MM_INSTALL_PATH", "bin/orlop-pod knows where it stands"),
          nothing(
              "MM_SERVICE_CLASS",
              "models are in runtimes beside the pod or in it, not in subclasses",
              "com.ibm.watson.modelmesh.SidecarModelMesh"),
          launcher("HEAP_SIZE_MB", "-Xmx, MiB"),
          launcher("MAX_DIRECT_BUFS_MB", "-XX:MaxDirectMemorySize, MiB"),
          launcher("CUSTOM_JVM_ARGS", "flags of the Java machine"),
          nothing("MAX_GC_PAUSE", "set a collector's goal by CUSTOM_JVM_ARGS"),
          nothing("NETTY_BUFFER_CHECKS", "buffers are always checked", "false"),
          of("CONTAINER_MEM_REQ_BYTES", new Use.Combined("pod.capacity.ramBytes")),
          of("MEM_BUFFER_BYTES", new Use.Combined("pod.capacity.ramBytes")),
          sets("LOADING_CONCURRENCY", "pod.loadingConcurrency", whole(1)),
          sets("LOADTIME_TIMEOUT", "pod.loadTimeoutMs", whole(1)),
          nothing(
              "MODELSIZE_MULTIPLIER",
              "a model's size is read from its file, or asked of its runtime"),
          nothing(
              "LIMIT_PER_MODEL_CONCURRENCY",
              "orlop.instances in a model's key bounds its runs",
              "0"));

  private ModelMeshVariables() {}

  /** All names, the older ones too. */
  static Stream<String> names() {
    return ALL.stream().flatMap(v -> Stream.concat(Stream.of(v.name), v.aliases.stream()));
  }

  private static Variable of(String name, Use use, String... aliases) {
    return new Variable(name, List.of(aliases), use);
  }

  private static Variable sets(
      String name, String key, Function<String, JsonNode> value, String... aliases) {
    return of(name, new Use.Sets(key, value), aliases);
  }

  private static Variable nothing(String name, String why, String... harmless) {
    return of(name, new Use.Nothing(why, List.of(harmless)));
  }

  private static Variable launcher(String name, String what) {
    return of(name, new Use.Launcher(what));
  }

  private static JsonNode text(String value) {
    return JSON.textNode(value);
  }

  private static JsonNode loopback(String port) {
    return JSON.textNode("127.0.0.1:" + whole(1).apply(port).asText());
  }

  /** {@code NONE} asks for no port; one that nobody knows is as good. */
  private static JsonNode portOrNone(String port) {
    return port.strip().equals("NONE") ? JSON.numberNode(0) : whole(1).apply(port);
  }

  private static JsonNode socket(String path) {
    if (!path.strip().startsWith("/")) {
      throw new IllegalArgumentException("expected the absolute path of a unix socket");
    }
    return JSON.textNode("unix:" + path.strip());
  }

  private static JsonNode flag(String value) {
    return switch (value.strip().toLowerCase(Locale.ROOT)) {
      case "true" -> JSON.booleanNode(true);
      case "false" -> JSON.booleanNode(false);
      default -> throw new IllegalArgumentException("expected true or false");
    };
  }

  /** The names of a JSON object, or names with commas between them. */
  private static JsonNode names(String value) {
    if (!value.strip().startsWith("{")) {
      return commas(value.toLowerCase(Locale.ROOT));
    }
    try {
      var array = JSON.arrayNode();
      new ObjectMapper()
          .readTree(value)
          .fieldNames()
          .forEachRemaining(name -> array.add(name.toLowerCase(Locale.ROOT)));
      return array;
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("expected a JSON object of header names", e);
    }
  }

  private static Function<String, JsonNode> seconds(long least) {
    return value -> {
      long seconds = whole(least).apply(value).asLong();
      if (seconds > Long.MAX_VALUE / 1_000) {
        throw new IllegalArgumentException("expected a whole number of seconds, and fewer");
      }
      return JSON.numberNode(1_000 * seconds);
    };
  }

  private static JsonNode commas(String value) {
    return list(value, ",");
  }

  private static JsonNode spaces(String value) {
    return list(value, "\\s+");
  }

  private static JsonNode list(String value, String separator) {
    var array = JSON.arrayNode();
    for (String part : value.split(separator, -1)) {
      if (!part.isBlank()) {
        array.add(part.strip());
      }
    }
    return array;
  }

  private static Function<String, JsonNode> whole(long least) {
    return value -> {
      long number;
      try {
        number = Long.parseLong(value.strip());
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException("expected a whole number, at least " + least, e);
      }
      if (number < least) {
        throw new IllegalArgumentException("expected a whole number, at least " + least);
      }
      return JSON.numberNode(number);
    };
  }

  /** Names beginning like ModelMesh's own that are none of them, with the nearest that is. */
  static Map<String, String> unknown(Map<String, String> environment) {
    List<String> known = names().toList();
    List<String> strange = new ArrayList<>(environment.keySet());
    strange.removeIf(name -> !name.startsWith("MM_") || known.contains(name));
    return strange.stream()
        .collect(Collectors.toMap(name -> name, name -> Settings.nearest(known, name)));
  }
}
