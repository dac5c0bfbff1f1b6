package orlop.bridge;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * What one bridge process needs to know whatever streams it runs. Absent components ({@code null}
 * or 0) take the defaults named below.
 *
 * @param bootstrapServers Kafka's {@code host:port,...}; required
 * @param transactionalIdPrefix first part of the transactional id {@code
 *     <prefix>.<stream>.<instance>}; default {@code orlop-bridge}
 * @param instance this process's slot, stable over restarts (a StatefulSet's ordinal) and unique
 *     among live processes: the transactional id is built from it, so that a restart ends the
 *     transaction that a crash left open; default {@code 0}
 * @param meshAddresses pods as {@code host:port}; at least one
 * @param drainTimeoutMs how long {@link BridgeServer#close} waits for calls in flight; default
 *     10000
 * @param kafkaProperties further client properties (security, compression); the keys that carry the
 *     guarantees are refused
 */
public record BridgeConfig(
    String bootstrapServers,
    String transactionalIdPrefix,
    String instance,
    List<String> meshAddresses,
    long drainTimeoutMs,
    Map<String, String> kafkaProperties) {

  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,100}");

  private static final Set<String> OWNED =
      Set.of(
          "acks",
          "auto.offset.reset",
          "bootstrap.servers",
          "enable.auto.commit",
          "enable.idempotence",
          "group.id",
          "group.instance.id",
          "group.protocol",
          "isolation.level",
          "transaction.timeout.ms",
          "transactional.id");

  public BridgeConfig {
    require(
        bootstrapServers != null && !bootstrapServers.isBlank(),
        "bootstrapServers",
        bootstrapServers,
        "host:port[,host:port...]");
    transactionalIdPrefix = orDefault(transactionalIdPrefix, "orlop-bridge");
    instance = orDefault(instance, "0");
    require(
        NAME.matcher(transactionalIdPrefix).matches(),
        "transactionalIdPrefix",
        transactionalIdPrefix,
        NAME.pattern());
    require(NAME.matcher(instance).matches(), "instance", instance, NAME.pattern());
    meshAddresses = meshAddresses == null ? List.of() : List.copyOf(meshAddresses);
    require(!meshAddresses.isEmpty(), "meshAddresses", meshAddresses, "at least one host:port");
    for (String address : meshAddresses) {
      require(address.matches(".+:\\d{1,5}"), "meshAddresses", address, "host:port");
    }
    drainTimeoutMs = drainTimeoutMs == 0 ? 10_000 : drainTimeoutMs;
    require(
        drainTimeoutMs >= 1 && drainTimeoutMs <= 300_000,
        "drainTimeoutMs",
        drainTimeoutMs,
        "1 to 300000");
    kafkaProperties = kafkaProperties == null ? Map.of() : Map.copyOf(kafkaProperties);
    for (String key : kafkaProperties.keySet()) {
      require(
          !OWNED.contains(key),
          "kafkaProperties",
          key,
          "a property that the bridge does not set itself");
    }
  }

  /** A bridge in slot {@code 0} with every default. */
  public static BridgeConfig of(String bootstrapServers, List<String> meshAddresses) {
    return new BridgeConfig(bootstrapServers, "", "", meshAddresses, 0, Map.of());
  }

  static String orDefault(String value, String byDefault) {
    return value == null || value.isBlank() ? byDefault : value;
  }

  static void require(boolean holds, String key, Object value, String allowed) {
    if (!holds) {
      throw new IllegalArgumentException(key + " is " + value + ", expected " + allowed);
    }
  }
}
