package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * ModelMesh's {@code KV_STORE}: where etcd is and how to speak with it. Source of the forms:
 * etcd-json-schema.md of IBM's etcd-java, which ModelMesh hands it to.
 *
 * @param endpoints each with its scheme, all with the same one, and its port
 * @param rootPrefix stands before all keys; empty: none
 * @param user empty: none
 * @param password of the user
 * @param trust a PEM file, or PEM; this and the next three are empty where they are not given or
 *     endpoints are not {@code https}
 * @param certificate shown to etcd
 * @param privateKey of that certificate
 * @param serverName that etcd's certificates must have
 * @param unused fields that change nothing here
 */
record KvStore(
    List<String> endpoints,
    String rootPrefix,
    String user,
    String password,
    String trust,
    String certificate,
    String privateKey,
    String serverName,
    List<String> unused) {

  private static final Set<String> KNOWN =
      Set.of(
          "endpoints",
          "userid",
          "password",
          "root_prefix",
          "tls_mode",
          "certificate",
          "certificate_file",
          "client_certificate",
          "client_certificate_file",
          "client_key",
          "client_key_file",
          "override_authority");
  private static final String HOST = "(\\[[^]/;,]+]|[^]\\[/;,:]+)";
  private static final String PLAIN = "%1$s(:\\d+)?(,%1$s(:\\d+)?)*".formatted(HOST);

  /** Where etcd-java looks without one. */
  private static final String DEFAULT_PORT = ":2379";

  /**
   * @throws CommandException that shows nothing which may be a secret
   */
  static KvStore parse(String value) {
    if (!value.startsWith("etcd:")) {
      throw new CommandException(
          "KV_STORE is '" + value + "'",
          value.startsWith("zookeeper")
              ? "ZooKeeper is not supported: run etcd, set KV_STORE=etcd:http://HOST:2379, and"
                  + " register the models anew"
              : "expected etcd: and a JSON file, JSON, or http(s)://HOST:PORT");
    }
    String target = value.substring("etcd:".length()).strip();
    if (target.startsWith("{")) {
      return of(json("KV_STORE", target), null);
    }
    Path file = Path.of(target);
    String[] parts = target.split(";rootPrefix=", 2);
    if (target.contains("://") || (parts[0].matches(PLAIN) && !Files.isRegularFile(file))) {
      return of(
          new ObjectMapper()
              .createObjectNode()
              .put("endpoints", parts[0])
              .put("root_prefix", parts.length > 1 ? parts[1] : ""),
          null);
    }
    try {
      return of(json("KV_STORE file " + file, Files.readString(file)), file.getParent());
    } catch (IOException e) {
      throw new CommandException(
          "KV_STORE file " + file + " cannot be read: " + e,
          "mount the etcd configuration there",
          e);
    }
  }

  private static JsonNode json(String from, String text) {
    try {
      JsonNode json = new ObjectMapper().readTree(text);
      if (json.isObject()) {
        return json;
      }
    } catch (JsonProcessingException e) {
      // What stands there may be a password, so neither it nor the reason is shown.
    }
    throw new CommandException(
        from + " is not valid JSON",
        "expected for example {\"endpoints\":\"https://etcd:2379\",\"root_prefix\":\"mesh\"}");
  }

  /**
   * @param directory where files that are not found otherwise are looked for; null: nowhere
   */
  private static KvStore of(JsonNode json, @Nullable Path directory) {
    String trust = pem(json, "certificate", directory);
    String certificate = pem(json, "client_certificate", directory);
    String key = pem(json, "client_key", directory);
    List<String> given =
        Stream.of(json.path("endpoints").asText("").split(",", -1))
            .map(String::strip)
            .filter(endpoint -> !endpoint.isEmpty())
            .toList();
    if (given.isEmpty()) {
      throw new CommandException(
          "KV_STORE names no endpoints", "give endpoints, for example http://etcd:2379");
    }
    boolean secure =
        secure(
            json.path("tls_mode").asText("AUTO"),
            given.getFirst(),
            !(trust + certificate).isEmpty());
    String scheme = secure ? "https://" : "http://";
    List<String> unused = new ArrayList<>();
    json.fieldNames().forEachRemaining(unused::add);
    unused.removeAll(KNOWN);
    return new KvStore(
        given.stream().map(e -> scheme + withPort(e.replaceFirst("^https?://", ""))).toList(),
        json.path("root_prefix").asText(""),
        json.path("userid").asText(""),
        json.path("password").asText(""),
        secure ? trust : "",
        secure ? certificate : "",
        secure ? key : "",
        secure ? json.path("override_authority").asText("") : "",
        unused);
  }

  private static String withPort(String endpoint) {
    return endpoint.matches(HOST) ? endpoint + DEFAULT_PORT : endpoint;
  }

  private static boolean secure(String mode, String first, boolean certificates) {
    return switch (mode) {
      case "TLS" -> true;
      case "PLAINTEXT" -> false;
      case "AUTO" -> first.startsWith("https://") || (!first.startsWith("http://") && certificates);
      default ->
          throw new CommandException(
              "KV_STORE has tls_mode '" + mode + "'", "expected TLS, PLAINTEXT or AUTO");
    };
  }

  /** The file that the field names; else the PEM of the field without {@code _file}. */
  private static String pem(JsonNode json, String field, @Nullable Path directory) {
    String name = json.path(field + "_file").asText("");
    String text = json.path(field).asText("");
    if (name.isEmpty()) {
      return text;
    }
    Path file = Path.of(name);
    if (!Files.exists(file) && directory != null) {
      file = directory.resolve(name);
    }
    return Files.exists(file) || text.isEmpty() ? file.toString() : text;
  }

  /** Names the server, and nothing that may be a secret. */
  @Override
  public String toString() {
    return "KvStore" + endpoints;
  }
}
