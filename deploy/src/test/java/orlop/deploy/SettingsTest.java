package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import orlop.bridge.BridgeConfig;
import orlop.bridge.StreamConfig;
import orlop.payload.PayloadLogConfig;
import orlop.pod.PodConfig;
import orlop.puller.PullerConfig;
import orlop.registry.RegistryConfig;

/**
 * Goal: a configuration either means what it says or is refused in one line that says where and
 * why. Method: real files and overrides, bound to the real records.
 */
class SettingsTest {
  private static final String BROKER = "kafka.bootstrapServers='broker:9092'";

  @TempDir Path dir;

  private Path file(String yaml) throws IOException {
    return Files.writeString(dir.resolve("mesh.yaml"), yaml);
  }

  private static PodConfig pod(Settings settings) {
    return Roles.filledIn(settings).section("pod", PodConfig.class);
  }

  private static String refused(Executable work, String... parts) {
    String said = String.valueOf(assertThrows(CommandException.class, work).getMessage());
    assertFalse(said.contains("\n"), said);
    for (String part : parts) {
      assertTrue(said.contains(part), "'" + part + "' is missing in: " + said);
    }
    return said;
  }

  @Test
  void aWrongKeyIsNamedWithItsFileTheNearestKeyAndAllThatAreKnown() throws IOException {
    Path file = file("pod:\n  grpcPrt: 8033\n");
    refused(
        () -> Settings.read(file, List.of()),
        file.toString(),
        "unknown key 'pod.grpcPrt'",
        "did you mean 'grpcPort'?",
        "restPort, probePort");
    Path section = file("pods:\n  grpcPort: 8033\n");
    refused(() -> Settings.read(section, List.of()), "unknown key 'pods'", "'pod'", "kafka, ");
  }

  @Test
  void aKeyLikeNoOtherGetsNoSuggestion() throws IOException {
    Path file = file("pod:\n  aquariumTemperature: 24\n");
    String said = refused(() -> Settings.read(file, List.of()), "'pod.aquariumTemperature'");
    assertFalse(said.contains("did you mean"), said);
  }

  @Test
  void aWrongKeyInAnItemOfAListOrInAnEntryOfAMapIsNamedToo() {
    refused(
        () ->
            Settings.read(null, List.of("streams=[{name: a, inputTopc: b}]"))
                .list("streams", StreamConfig.class),
        "--set",
        "'streams[0].inputTopc'",
        "'inputTopic'");
    refused(
        () ->
            Settings.read(null, List.of("puller.storages={x: {type: s3, params: {}}}"))
                .without("puller", "storageDirectory")
                .section("puller", PullerConfig.class),
        "--set",
        "puller.storages",
        "params");
  }

  @Test
  void aValueOfTheWrongTypeIsNamedWithWhatWasExpected() throws IOException {
    Path text = file("pod:\n  grpcPort: abc\n");
    refused(
        () -> pod(Settings.read(text, List.of())),
        text + ": key 'pod.grpcPort': expected a whole number, found \"abc\"");
    refused(
        () -> pod(Settings.read(null, List.of("pod.grpcPort=80.5"))),
        "--set: key 'pod.grpcPort': expected a whole number, found 80.5");
    refused(
        () -> pod(Settings.read(null, List.of("pod.capacity.ramBytes={a: 1}"))),
        "'pod.capacity.ramBytes': expected a whole number, found {\"a\":1}");
    refused(
        () ->
            Roles.filledIn(Settings.read(null, List.of("payload.enabled=maybe")))
                .section("payload", PayloadLogConfig.class),
        "'payload.enabled': expected true or false, found \"maybe\"");
    refused(() -> Settings.read(null, List.of("pod=7")), "'pod' is a section", "7");
  }

  @Test
  void anErrorNeverShowsASecret() {
    for (String secret :
        List.of(
            "puller.storages={x: {type: s3, parameters: hunter2}}",
            "bridge.kafkaProperties={sasl.jaas.config: [hunter2, hunter2]}",
            "registry.password=[hunter2, hunter2]")) {
      Settings settings =
          Roles.filledIn(Settings.read(null, List.of(BROKER, "registry.user=u", secret)))
              .without("registry", "kind")
              .without("puller", "storageDirectory");
      String said =
          refused(
              () -> {
                settings.section("puller", PullerConfig.class);
                settings.section("bridge", BridgeConfig.class);
                settings.section("registry", RegistryConfig.class);
              });
      assertFalse(said.contains("hunter2"), said);
    }
  }

  @Test
  void aValueOutOfBoundsIsNamedWithItsBoundsAndTheFileThatSetIt() throws IOException {
    Path file = file("pod:\n  grpcPort: 80333\n  zone: a\n");
    refused(
        () -> pod(Settings.read(file, List.of("pod.zone=b"))),
        file + ": key 'pod.grpcPort'",
        "80333",
        "0 to 65535");
    refused(
        () -> pod(Settings.read(file, List.of("pod.grpcPort=99999"))),
        "--set: key 'pod.grpcPort'",
        "99999");
    refused(
        () ->
            Settings.read(null, List.of("streams=[{name: a, inputTopic: b, outputTopic: b}]"))
                .list("streams", StreamConfig.class),
        "'streams[0]'",
        "outputTopic is b, expected not the inputTopic");
  }

  @Test
  void badYamlIsNamedWithItsLine() throws IOException {
    Path file = file("pod:\n  grpcPort: 8033\n   zone: x\n");
    refused(() -> Settings.read(file, List.of()), file + ", line 3", "not valid YAML");
    Path list = file("- pod\n");
    refused(() -> Settings.read(list, List.of()), list.toString(), "mapping of sections");
    refused(() -> Settings.read(null, List.of("pod.labels=[a")), "'pod.labels=[a'", "YAML");
  }

  @Test
  void aKeyThatStandsTwiceIsRefused() throws IOException {
    Path file = file("pod:\n  zone: a\npod:\n  version: b\n");
    refused(() -> Settings.read(file, List.of()), file + ", line 3", "'pod'");
  }

  @Test
  void aMissingFileIsNamed() {
    Path file = dir.resolve("nowhere.yaml");
    refused(() -> Settings.read(file, List.of()), file.toString(), "does not exist", "--config");
  }

  @Test
  void anOverrideWithoutAKeyOrAValueSignIsRefused() {
    refused(() -> Settings.read(null, List.of("pod.grpcPort")), "'pod.grpcPort'", "key=value");
    refused(() -> Settings.read(null, List.of("=1")), "'=1'", "key=value");
  }

  @Test
  void overridesLieOverTheFileAndLaterOnesOverEarlierOnes() throws IOException {
    Path file = file("pod:\n  grpcPort: 1\n  restPort: 2\n  probePort: 3\n");
    PodConfig pod =
        pod(Settings.read(file, List.of("pod.restPort=4", "pod.probePort=5", "pod.probePort=6")));
    assertEquals(List.of(1, 4, 6), List.of(pod.grpcPort(), pod.restPort(), pod.probePort()));
    assertEquals(2112, pod.metricsPort(), "what nobody set keeps its default");
  }

  @Test
  void anEmptyValueAndAnEmptySectionTakeTheDefault() throws IOException {
    Path file = file("pod:\n  zone:\n  grpcPort: 1\nplanner:\nregistry:\n  user:\n");
    Settings settings = Settings.read(file, List.of("pod.grpcPort="));
    assertEquals("", pod(settings).zone());
    assertEquals(8033, pod(settings).grpcPort());
    assertEquals("64", settings.text("planner.maxChanges"));
    assertNull(
        settings.without("registry", "kind").section("registry", RegistryConfig.class).user());
    assertEquals(
        Settings.defaults().flatten(), Settings.read(file(""), List.of()).flatten(), "empty file");
  }

  @Test
  void aListIsReplacedAsAWholeAndASingleValueIsAListOfOne() throws IOException {
    Path file = file("pod:\n  labels: [a, b]\n");
    assertEquals(Set.of("a", "b"), pod(Settings.read(file, List.of())).labels());
    assertEquals(Set.of("c"), pod(Settings.read(file, List.of("pod.labels=c"))).labels());
    RegistryConfig registry =
        Settings.read(null, List.of("registry.endpoints=http://etcd:2379"))
            .without("registry", "kind")
            .section("registry", RegistryConfig.class);
    assertEquals(List.of("http://etcd:2379"), registry.endpoints());
  }

  @Test
  void aListOfSectionsBecomesRecordsInItsOrder() throws IOException {
    Path file =
        file(
            """
            streams:
              - {name: a, inputTopic: in, outputTopic: out}
              - name: b
                inputTopic: in
                outputTopic: other
                window: {records: 5}
                retry:
            """);
    List<StreamConfig> streams = Settings.read(file, List.of()).list("streams", StreamConfig.class);
    assertEquals(List.of("a", "b"), streams.stream().map(StreamConfig::name).toList());
    assertEquals(5, streams.get(1).window().records());
    assertEquals(64L << 20, streams.get(1).window().bytes());
    assertEquals(10, streams.get(1).retry().maxAttempts());
  }

  @Test
  void mapsOfTheUsersOwnNamesAreMergedAndMayHaveDots() throws IOException {
    Path file =
        file(
            """
            puller:
              storages:
                default_s3: {type: s3, parameters: {region: x, bucket: b}}
            bridge:
              kafkaProperties: {compression.type: lz4}
            """);
    Settings settings =
        Roles.filledIn(
            Settings.read(
                file,
                List.of(
                    BROKER,
                    "puller.storages.default_s3.parameters.region=y",
                    "bridge.kafkaProperties.security.protocol=SSL")));
    PullerConfig puller =
        settings.without("puller", "storageDirectory").section("puller", PullerConfig.class);
    assertEquals(
        Map.of("region", "y", "bucket", "b"),
        Objects.requireNonNull(puller.storages().get("default_s3")).parameters());
    assertEquals(
        Map.of("compression.type", "lz4", "security.protocol", "SSL"),
        settings.section("bridge", BridgeConfig.class).kafkaProperties());
  }

  @Test
  void aStorageNeedsATypeAndNothingElse() {
    Settings settings = Settings.read(null, List.of("puller.storages={public: {type: S3}}"));
    PullerConfig puller =
        settings.without("puller", "storageDirectory").section("puller", PullerConfig.class);
    assertEquals(Map.of(), Objects.requireNonNull(puller.storages().get("public")).parameters());
    refused(
        () ->
            Settings.read(null, List.of("puller.storages={public: {parameters: {region: x}}}"))
                .without("puller", "storageDirectory")
                .section("puller", PullerConfig.class),
        "storage type is empty; expected for example 's3'");
  }

  @Test
  void whatIsWrittenForAChildProcessReadsBackTheSame() throws IOException {
    Settings settings = Settings.read(null, List.of("pod.zone='no'", "pod.labels=[a]", BROKER));
    assertEquals(settings.flatten(), Settings.read(file(settings.yaml()), List.of()).flatten());
  }
}
