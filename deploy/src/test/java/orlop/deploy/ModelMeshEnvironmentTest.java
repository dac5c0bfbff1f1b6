package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.deploy.ModelMeshVariables.Use;
import orlop.payload.ProcessorsConfig;
import orlop.placement.LabelRules.Labels;
import orlop.placement.Model;
import orlop.pod.MetricsConfig;
import orlop.pod.PodConfig;
import orlop.registry.LocalRegistry;
import orlop.registry.RegistryConfig;
import orlop.registry.RegistryTls;

/** ModelMesh's variables, one by one and with a file and {@code --set} over them. */
final class ModelMeshEnvironmentTest {
  private static final Path DOC = Path.of("..", "docs", "migrate-from-modelmesh.md");
  private static final Pattern ROW = Pattern.compile("\\| `([A-Z_]+)`.*\\|.*\\|.*\\| (.+) \\|");

  @TempDir Path dir;

  private static ModelMeshEnvironment.Reading read(String... pairs) {
    Map<String, String> environment = new HashMap<>(Map.of("KV_STORE", "etcd:http://e:1"));
    for (int i = 0; i < pairs.length; i += 2) {
      environment.put(pairs[i], pairs[i + 1]);
    }
    return ModelMeshEnvironment.read(environment, Settings.defaults());
  }

  private static String refusal(String... pairs) {
    return String.valueOf(assertThrows(CommandException.class, () -> read(pairs)).getMessage());
  }

  @Test
  void whatTheControllerSetsBecomesAPodsConfiguration() throws Exception {
    Path connection = dir.resolve("etcd_connection");
    Files.writeString(
        connection,
        "{\"endpoints\":\"http://a:2379,http://b:2379\",\"userid\":\"root\",\"password\":\"x\","
            + "\"root_prefix\":\"modelmesh-serving\"}");
    Settings settings =
        read(
                "KV_STORE", "etcd:" + connection,
                "MM_KVSTORE_PREFIX", "mm",
                "MM_SERVICE_NAME", "modelmesh-serving",
                "MM_SVC_GRPC_PORT", "8034",
                "MM_SVC_GRPC_MAX_MSG_SIZE", "33554432",
                "MM_LABELS", "rt:onnx,mt:onnx:1",
                "MM_ZONE", "eu-1",
                "WKUBE_POD_IPADDR", "10.0.0.7",
                "SHUTDOWN_TIMEOUT_MS", "90000",
                "CONTAINER_MEM_REQ_BYTES", "1073741824",
                "MEM_BUFFER_BYTES", "73741824",
                "MM_METRICS", "prometheus:port=2113",
                "MM_SCALEUP_RPM_THRESHOLD", "500",
                "MM_PAYLOAD_PROCESSORS", "http://c/x?m#p  logger://",
                "MM_PROBE_PORT", "8090")
            .settings();
    RegistryConfig registry =
        settings.without("registry", "kind").section("registry", RegistryConfig.class);
    assertEquals("etcd", settings.text("registry.kind"));
    assertEquals(List.of("http://a:2379", "http://b:2379"), registry.endpoints());
    assertEquals("modelmesh-serving/mm/orlop", registry.root());
    assertEquals("modelmesh-serving", registry.mesh());
    assertEquals("root", registry.user());
    PodConfig pod = Roles.filledIn(settings).section("pod", PodConfig.class);
    assertEquals(8034, pod.grpcPort());
    assertEquals(33_554_432, pod.maxMessageBytes());
    assertEquals(Set.of("rt:onnx", "mt:onnx:1"), pod.labels());
    assertEquals("10.0.0.7:8034", pod.advertisedAddress());
    assertEquals(90_000, pod.drainTimeoutMs());
    assertEquals(1_000_000_000, pod.capacity().ramBytes());
    assertEquals(2113, pod.metricsPort());
    assertEquals(8090, pod.probePort());
    assertEquals("500", settings.text("planner.callsPerCopyPerMinute"));
    assertEquals(
        List.of("http://c/x?m#p", "logger://"),
        settings.section("processors", ProcessorsConfig.class).uris());
  }

  private static RegistryConfig registry(String store) {
    return read("KV_STORE", store, "MM_KVSTORE_PREFIX", "mm")
        .settings()
        .without("registry", "kind")
        .section("registry", RegistryConfig.class);
  }

  private static String refused(String store) {
    return String.valueOf(assertThrows(CommandException.class, () -> registry(store)).getMessage());
  }

  @Test
  void etcdIsSpokenToAsItsConfigurationSays() throws Exception {
    assertEquals(List.of("https://a:1"), registry("etcd:https://a:1").endpoints());
    assertEquals(RegistryTls.DEFAULTS, registry("etcd:https://a:1").tls());
    RegistryConfig simple = registry("etcd:a:1,b:2;rootPrefix=chroot");
    assertEquals(List.of("http://a:1", "http://b:2"), simple.endpoints());
    assertEquals("chroot/mm/orlop", simple.root());
    // Without schemes a certificate decides, and with http:// it is not used.
    String certificate = "\"certificate\":\"-----BEGIN x\"";
    RegistryConfig secure = registry("etcd:{\"endpoints\":\"a:1,b:2\"," + certificate + "}");
    assertEquals(List.of("https://a:1", "https://b:2"), secure.endpoints());
    assertEquals("-----BEGIN x", secure.tls().trust());
    RegistryConfig plain = registry("etcd:{\"endpoints\":\"http://a:1,b:2\"," + certificate + "}");
    assertEquals(List.of("http://a:1", "http://b:2"), plain.endpoints());
    assertEquals(RegistryTls.DEFAULTS, plain.tls());
    assertEquals(
        List.of("https://a:1"),
        registry("etcd:{\"endpoints\":\"http://a:1\",\"tls_mode\":\"TLS\"}").endpoints());
  }

  @Test
  void etcdsUsualPortIsMeantWhereNoneIsGiven() throws Exception {
    String usual = "http://etcd:2379";
    assertEquals(List.of(usual), registry("etcd:http://etcd").endpoints());
    assertEquals(
        List.of("http://[::1]:2379", "http://[::1]:1"),
        registry("etcd:http://[::1],http://[::1]:1").endpoints());
    RegistryConfig simple = registry("etcd:etcd,b.c:1;rootPrefix=/mm");
    assertEquals(List.of(usual, "http://b.c:1"), simple.endpoints());
    assertEquals("mm/mm/orlop", simple.root());
    assertEquals(
        List.of("https://etcd:2379"),
        registry("etcd:{\"endpoints\":\"https://etcd\"}").endpoints());
    // A file of that name comes first.
    Path file = Files.createTempFile(Path.of(""), "etcd", "");
    try {
      Files.writeString(file, "{\"endpoints\":\"http://a:1\"}");
      assertEquals(List.of("http://a:1"), registry("etcd:" + file).endpoints());
    } finally {
      Files.delete(file);
    }
    assertTrue(refused("etcd:no/such.json").contains("file no/such.json cannot be read"));
    assertTrue(refused("etcd:http://etcd/x").contains("'http://etcd/x' must be http://host:port"));
  }

  @Test
  void certificatesLieBesideEtcdsFileOrInIt() throws Exception {
    Path trust = Files.writeString(dir.resolve("ca.crt"), "x");
    Path file =
        Files.writeString(
            dir.resolve("etcd.json"),
            "{\"endpoints\":\"https://a:1\",\"certificate_file\":\"ca.crt\","
                + "\"client_certificate_file\":\"gone.crt\",\"client_certificate\":\"-----BEGIN c\","
                + "\"client_key\":\"-----BEGIN k\",\"override_authority\":\"etcd-1\","
                + "\"compose_deployment\":\"old\"}");
    assertEquals(
        new RegistryTls(trust.toString(), "-----BEGIN c", "-----BEGIN k", "etcd-1"),
        registry("etcd:" + file).tls());
    assertEquals(
        List.of("KV_STORE: compose_deployment changes nothing here"),
        read("KV_STORE", "etcd:" + file).warnings());
  }

  @Test
  void operationsHaveTheirVariables() {
    Settings settings =
        read(
                "MM_TLS_KEY_CERT_PATH", "/c",
                "TAS_SVC_GRPC_PRIVATE_KEY_PATH", "/k",
                "MM_TLS_CLIENT_AUTH", "REQUIRE",
                "MM_TLS_TRUST_CERT_PATH", "/t",
                "MM_INTERNAL_TRUST_CERTS", "/i",
                "MM_METRICS", "prometheus:port=1;scheme=https;fq_names=true;per_model_metrics=true",
                "MM_INFO_METRICS", "about:mesh;team=TEAM,stage=STAGE",
                "TEAM", "fraud",
                "STAGE", "test",
                "MM_LOG_EACH_INVOKE", "true",
                "MM_LOG_REQUEST_HEADERS", "{\"X-Trace\":\"trace\"}",
                "BOOTSTRAP_CLEARANCE_PERIOD_MS", "1000",
                "MM_FAILFAST_UPGRADE_ENABLED", "false",
                "MM_SVC_GRPC_MAX_CONNECTION_AGE_SECS", "60",
                "MM_SVC_GRPC_MAX_CONNECTION_AGE_GRACE_SECS", "5",
                "MM_SVC_GRPC_MAX_HEADERS_SIZE", "16384",
                "MM_PRESTOP_WAIT_PORT", "8091",
                "WKUBE_POD_NAME", "mm-abc",
                "MM_LOCATION", "node-7")
            .settings();
    TlsConfig tls = settings.section("tls", TlsConfig.class);
    assertEquals(
        new TlsConfig(
            "/c", "/k", "", TlsConfig.ClientAuth.REQUIRE, "/t", "/c,/i", "", "", "", 5_000),
        tls);
    PodConfig pod = Roles.filledIn(settings).section("pod", PodConfig.class);
    assertEquals(
        new MetricsConfig(
            true, true, 500, true, "about:mesh", Map.of("team", "fraud", "stage", "test")),
        pod.metrics());
    assertTrue(pod.logCalls());
    assertEquals(Set.of("x-trace"), pod.logHeaders());
    assertEquals(1_000, pod.bootstrapMs());
    assertFalse(pod.failFast());
    assertEquals(60_000, pod.maxConnectionAgeMs());
    assertEquals(5_000, pod.maxConnectionAgeGraceMs());
    assertEquals(16_384, pod.maxHeaderBytes());
    assertEquals(8_091, pod.preStopPort());
    assertTrue(pod.id().matches("mm-abc-[0-9a-f]{8}"), pod.id());
    assertEquals("node-7", pod.zone());
    // What ModelMesh does without them.
    PodConfig plain = Roles.filledIn(read().settings()).section("pod", PodConfig.class);
    assertEquals(8_090, plain.preStopPort());
    assertFalse(plain.metrics().https());
    assertTrue(
        read("MM_METRICS", "prometheus:port=1")
            .settings()
            .text("pod.metrics.https")
            .equals("true"));
  }

  @Test
  void anEmptyVariableIsAnEmptyLabelAndOneThatIsNotSetIsRefused() {
    Settings settings = read("MM_INFO_METRICS", "info;zone=MY_ZONE", "MY_ZONE", "").settings();
    assertEquals(
        Map.of("zone", ""),
        Roles.filledIn(settings).section("pod", PodConfig.class).metrics().info());
    assertTrue(refusal("MM_INFO_METRICS", "info;zone=MY_ZONE").contains("MY_ZONE is not set"));
  }

  @Test
  void olderNamesMeanTheSameAndTheNewerOneWins() {
    Settings settings =
        read(
                "TAS_SERVICE_NAME", "mesh",
                "TAS_SVC_GRPC_PORT", "8034",
                "WKUBE_NODE_IP", "10.0.0.1",
                "MM_AUTO_REGISTER_MODEL", "[]",
                "MM_AUTO_REGISTER_MODEL_PATH", "/models.json",
                "TAS_SVC_GRPC_CA_CERT_PATH", "/old.crt",
                "MM_SVC_GRPC_CA_CERT_PATH", "/c.crt",
                "MM_SVC_GRPC_PRIVATE_KEY_PATH", "/k",
                "MM_SVC_GRPC_PRIVATE_KEY_PASSPHRASE", "hush",
                "MM_TRUST_CERTS", "/a,/b",
                "SERVICE_VERSION", "7",
                "MM_PROBE_PORT", "NONE")
            .settings();
    assertEquals("mesh", settings.text("registry.mesh"));
    assertEquals("8034", settings.text("pod.grpcPort"));
    assertEquals("10.0.0.1", settings.text("pod.zone"));
    assertEquals("[]", settings.text("registration.models"));
    assertEquals("/models.json", settings.text("registration.modelsFile"));
    assertEquals("/c.crt", settings.text("tls.certificate"));
    assertEquals("/k", settings.text("tls.privateKey"));
    assertEquals("hush", settings.text("tls.passphrase"));
    assertEquals("/c.crt,/a,/b", settings.text("tls.podTrust"));
    assertEquals("7", settings.text("pod.version"));
    assertEquals("0", settings.text("pod.probePort"));
    String[] both = {"MM_AUTO_REGISTER_MODELS", "[1]", "MM_AUTO_REGISTER_MODEL", "[2]"};
    assertEquals("[1]", read(both).settings().text("registration.models"));
  }

  @Test
  void modelsOfAFileAndOfTheTextAreRegisteredBoth() throws Exception {
    String model = "[{\"modelId\":\"%s\",\"modelInfo\":{\"type\":\"onnx\"}}]";
    Path file = Files.writeString(dir.resolve("models.json"), model.formatted("first"));
    assertEquals(
        List.of("first", "second"),
        StaticModels.read(model.formatted("second"), file.toString()).stream()
            .map(StaticModels.StaticModel::modelId)
            .toList());
    assertEquals(1, StaticModels.read("", file.toString()).size());
    assertEquals(List.of(), StaticModels.read("", ""));
  }

  @Test
  void metricsAreServedForPrometheusOrNotAtAll() {
    ModelMeshEnvironment.Reading none = read("MM_METRICS", "disabled");
    assertEquals(List.of(), none.warnings());
    assertEquals("false", none.settings().text("pod.metrics.enabled"));
    for (String value : List.of("statsd:port=8126", "statsd")) {
      ModelMeshEnvironment.Reading reading = read("MM_METRICS", value);
      assertEquals(1, reading.warnings().size(), reading.warnings().toString());
      assertTrue(
          reading.warnings().getFirst().startsWith("MM_METRICS=" + value + " changes nothing"));
      assertEquals("2112", reading.settings().text("pod.metricsPort"));
    }
    assertEquals(
        List.of("MM_METRICS: mem_detail=gc,bp changes nothing here"),
        read("MM_METRICS", "prometheus:port=1;mem_detail=gc,bp").warnings());
    assertEquals("2112", read("MM_METRICS", "prometheus").settings().text("pod.metricsPort"));
  }

  @Test
  void theFileWinsOverTheEnvironmentAndSetOverBoth() throws Exception {
    Path file = dir.resolve("orlop.yaml");
    Files.writeString(file, "pod:\n  grpcPort: 2\n  probePort: 3\n");
    Settings settings =
        Settings.read(
            read("MM_SVC_GRPC_PORT", "1", "MM_PROBE_PORT", "1", "MM_ZONE", "z").settings(),
            file,
            List.of("pod.probePort=4"));
    assertEquals("2", settings.text("pod.grpcPort"));
    assertEquals("4", settings.text("pod.probePort"));
    assertEquals("z", settings.text("pod.zone"));
  }

  @Test
  void whatMeansNothingHereIsOneLineEach() {
    List<String> warnings =
        read("MM_CONC_SCALEUP_BANDWIDTH_PCT", "80", "KV_READ_ONLY", "false", "MM_PROBE_PROT", "1")
            .warnings();
    assertEquals(2, warnings.size(), warnings.toString());
    assertTrue(warnings.get(0).startsWith("MM_CONC_SCALEUP_BANDWIDTH_PCT=80 changes nothing here"));
    assertTrue(
        warnings.get(1).contains("MM_PROBE_PROT") && warnings.get(1).contains("MM_PROBE_PORT"));
  }

  @Test
  void wrongValuesNameTheVariable() {
    assertTrue(refusal("MM_SVC_GRPC_PORT", "x").startsWith("MM_SVC_GRPC_PORT is 'x', expected"));
    Settings far = read("MM_SVC_GRPC_PORT", "70000").settings();
    String bound =
        String.valueOf(
            assertThrows(
                    CommandException.class,
                    () -> Roles.filledIn(far).section("pod", PodConfig.class))
                .getMessage());
    assertTrue(bound.startsWith("MM_SVC_GRPC_PORT: key 'pod.grpcPort'"), bound);
  }

  @Test
  void whatCannotBeHadIsRefusedWithARemedyAndSecretsAreNotShown() {
    assertTrue(refusal("KV_STORE", "zookeeper:zk:2181").contains("ZooKeeper is not supported"));
    String mode = refusal("KV_STORE", "etcd:{\"endpoints\":\"e:1\",\"tls_mode\":\"ON\"}");
    assertTrue(mode.contains("tls_mode 'ON'") && mode.contains("PLAINTEXT"), mode);
    String half =
        refused("etcd:{\"endpoints\":\"https://e:1\",\"client_key\":\"-----BEGIN hush\"}");
    assertTrue(half.startsWith("KV_STORE: key 'registry.tls"), half);
    assertFalse(half.contains("hush"), half);
    String unread =
        String.valueOf(
            assertThrows(
                    CommandException.class,
                    () ->
                        Certificates.open(
                            read(
                                    "MM_TLS_KEY_CERT_PATH", "/c",
                                    "MM_TLS_PRIVATE_KEY_PATH", "/k",
                                    "MM_TLS_PRIVATE_KEY_PASSPHRASE", "hush")
                                .settings()
                                .section("tls", TlsConfig.class)))
                .getMessage());
    assertTrue(unread.contains("tls.certificate file /c does not exist"), unread);
    assertFalse(unread.contains("hush"), unread);
    String alone =
        String.valueOf(
            assertThrows(
                    CommandException.class,
                    () ->
                        read("MM_TLS_KEY_CERT_PATH", "/c", "MM_TLS_PRIVATE_KEY_PASSPHRASE", "hush")
                            .settings()
                            .section("tls", TlsConfig.class))
                .getMessage());
    assertTrue(alone.startsWith("MM_TLS_KEY_CERT_PATH: key 'tls.certificate'"), alone);
    assertFalse(alone.contains("hush"), alone);
    assertTrue(refusal("MM_METRICS", "prometheus:scheme=ftp").contains("http or https"));
    assertTrue(refusal("MM_LOG_EACH_INVOKE", "maybe").contains("expected true or false"));
    assertTrue(refusal("MM_INFO_METRICS", "name:label").contains("label=VARIABLE"));
    assertTrue(refusal("MM_INFO_METRICS", "name;label").contains("label=VARIABLE"));
    String unset = refusal("MM_INFO_METRICS", "name;label=TEAM_NAME");
    assertTrue(unset.contains("TEAM_NAME is not set"), unset);
    assertTrue(refusal("KV_STORE", "etcd:{").contains("not valid JSON"));
  }

  @Test
  void everyVariableStandsInTheTableOfTheDocumentation() throws Exception {
    TreeSet<String> documented = new TreeSet<>();
    for (String line : Files.readAllLines(DOC)) {
      var row = ROW.matcher(line);
      if (row.matches()) {
        documented.add(row.group(1));
        ModelMeshVariables.ALL.stream()
            .filter(v -> v.name().equals(row.group(1)))
            .forEach(
                v -> {
                  if (v.use() instanceof Use.Sets(String key, var value)) {
                    assertTrue(row.group(2).contains("`" + key + "`"), line);
                  }
                });
      }
    }
    TreeSet<String> known = new TreeSet<>();
    ModelMeshVariables.ALL.forEach(v -> known.add(v.name()));
    assertEquals(known, documented);
  }

  @Test
  void aChangedConstraintsFileHoldsForAllModels() throws Exception {
    Path file = dir.resolve("constraints.json");
    Files.writeString(
        file, "{\"onnx\":{\"required\":[\"a\"]},\"_default\":{\"preferred\":[\"p\"]}}");
    try (LocalRegistry plain = new LocalRegistry();
        TypeConstraints constraints = TypeConstraints.of("", file.toString(), 20)) {
      assertNotNull(constraints);
      try (ConstrainedRegistry registry = new ConstrainedRegistry(plain, constraints)) {
        Model onnx = registry.createModel(Model.of("m", "onnx", "p", "", 1));
        assertEquals(Set.of("a"), registry.view().required(onnx));
        assertEquals(Set.of("p"), registry.view().preferred(Model.of("n", "x", "p", "", 1)));
        assertSame(registry.view(), registry.view());
        Files.writeString(file, "{\"onnx\":{\"required\":[\"b\"]}}");
        await(() -> registry.view().required(onnx).equals(Set.of("b")));
        // What cannot be read changes nothing; what can, does again.
        Files.writeString(file, "broken");
        assertThrows(CommandException.class, () -> TypeConstraints.of("", file.toString()));
        Files.writeString(file, "{\"onnx\":{\"required\":[\"c\"]}}");
        await(
            () -> {
              Set<String> now = registry.view().required(onnx);
              assertTrue(now.equals(Set.of("b")) || now.equals(Set.of("c")), now.toString());
              return now.equals(Set.of("c"));
            });
      }
    }
  }

  @Test
  void constraintsOfAnotherShapeAreRefusedAndNotTakenForNone() {
    for (String broken :
        List.of(
            "{\"onnx\":{\"required\":\"a\"}}",
            "{\"onnx\":{\"required\":{\"a\":true}}}",
            "{\"onnx\":[\"a\"]}")) {
      CommandException e =
          assertThrows(CommandException.class, () -> TypeConstraints.of(broken, ""));
      assertTrue(String.valueOf(e.getMessage()).contains("type 'onnx'"), e.toString());
    }
    try (TypeConstraints none = TypeConstraints.of("{\"onnx\":{\"required\":null}}", "")) {
      assertNotNull(none);
      assertEquals(Map.of("onnx", new Labels(Set.of(), Set.of())), none.rules().byType());
    }
  }

  @Test
  void anAllowListThatIsEmptyAllowsNotEverything() throws Exception {
    Path file = Files.createFile(dir.resolve("dataplane.json"));
    String refused = refusal("MM_DATAPLANE_CONFIG_PATH", file.toString());
    assertTrue(refused.contains("MM_DATAPLANE_CONFIG_PATH"), refused);
  }

  @Test
  void secondsThatNoClockCountsAreRefusedByName() {
    String refused = refusal("MM_SVC_GRPC_MAX_CONNECTION_AGE_SECS", String.valueOf(Long.MAX_VALUE));
    assertTrue(refused.contains("MM_SVC_GRPC_MAX_CONNECTION_AGE_SECS"), refused);
  }

  private static void await(BooleanSupplier condition) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    while (!condition.getAsBoolean()) {
      assertTrue(System.nanoTime() < deadline, "waited 20 s in vain");
      LockSupport.parkNanos(2_000_000);
    }
  }
}
