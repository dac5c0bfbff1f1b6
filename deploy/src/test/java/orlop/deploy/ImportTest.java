package orlop.deploy;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.PutOption;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.controller.ControllerConfig;
import orlop.controller.ManagementService;
import orlop.placement.Alias;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Router;
import orlop.registry.EtcdProcess;
import orlop.registry.LocalRegistry;

/** A key space as ModelMesh writes it, by hand, and what {@code orlop import} makes of it. */
@Tag("slow")
final class ImportTest {
  private static final int RECORDS = 5_000;
  private static final String SPACE = "modelmesh-serving/mm/modelmesh-serving";

  @TempDir Path dir;
  private EtcdProcess etcd;
  private Client client;
  private LocalRegistry registry;
  private ManagementService management;
  private Server server;
  private int port;

  private record Run(int status, String out, String err) {
    JsonNode json() throws Exception {
      return new ObjectMapper().readTree(out);
    }
  }

  @BeforeEach
  void start() throws Exception {
    etcd = EtcdProcess.start(dir);
    client = Client.builder().endpoints(etcd.endpoint()).build();
    registry = new LocalRegistry();
    // As ModelMesh's own controller has it.
    ControllerConfig config = new ControllerConfig("test", 1_000, 2_000, 5_000, 60_000, 0, "ksp");
    management =
        new ManagementService(
            config, registry, new Router(new Placer()), System::currentTimeMillis);
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .addService(management)
            .build()
            .start();
    port = server.getPort();
  }

  @AfterEach
  void stop() {
    server.shutdownNow();
    management.close();
    registry.close();
    client.close();
    etcd.close();
  }

  @Test
  void takesOverWhatCanBeReadAndNamesTheRestAndASecondRunChangesNothing() throws Exception {
    write(space(SPACE + "/registry/", ""));
    long before = revision();

    Run first = run();
    assertEquals(1, first.status, first.err);
    JsonNode json = first.json();
    assertEquals(RECORDS - 6, json.at("/models/registered").asInt(), first.out);
    assertEquals(6, json.at("/models/unreadable").asInt(), first.out);
    assertEquals(3, json.at("/aliases/registered").asInt(), first.out);
    assertEquals(1, json.at("/aliases/targetMissing").asInt(), first.out);
    assertEquals(1, json.at("/aliases/unreadable").asInt(), first.out);
    assertEquals(8, json.path("problems").size(), first.out);
    assertEquals(before, json.path("sourceRevision").asLong());
    assertTrue(
        json.path("problems").toString().contains(SPACE + "/registry/broken-2")
            && json.path("problems").toString().contains("field 'mPath' is 7"),
        first.out);
    assertTrue(first.err.contains("5000 of 5005 records"), first.err);

    assertEquals(RECORDS - 6, registry.view().modelCount());
    Model model = registry.view().model("model-17");
    assertNotNull(model);
    assertEquals("onnx", model.type());
    assertEquals("models/17", model.path());
    assertEquals("{\"storage_key\":\"s3\"}", model.key());
    Model bare = registry.view().model("bare");
    assertNotNull(bare);
    assertEquals("NLCLASSIFIER", bare.type());
    assertEquals(
        new Alias("stable", "team", "model-1", "model-1", Set.of("model-1"), ""),
        registry.view().alias("stable"));
    Alias moving = registry.view().alias("moving");
    assertNotNull(moving);
    assertEquals("model-2", moving.activeModelId());
    assertEquals("model-3", moving.targetModelId());
    assertNull(registry.view().alias("dangling"));

    Run second = run();
    assertEquals(RECORDS - 6, second.json().at("/models/alreadyThere").asInt(), second.out);
    assertEquals(0, second.json().at("/models/registered").asInt(), second.out);
    assertEquals(3, second.json().at("/aliases/alreadyThere").asInt(), second.out);
    assertEquals(before, revision(), "the source was written to");
  }

  @Test
  void aDryRunChangesNothingAnywhere() throws Exception {
    write(Map.of(SPACE + "/registry/a", "{\"type\":\"onnx\",\"mPath\":\"p\"}"));
    long before = revision();
    for (String[] more : List.of(new String[] {"--dry-run"}, to("--dry-run"))) {
      Run run = run(SPACE, more);
      assertEquals(0, run.status, run.err);
      assertTrue(run.out.contains("models: 1 to register"), run.out);
    }
    assertEquals(0, registry.view().modelCount());
    assertEquals(before, revision());
  }

  @Test
  void readsATableWithBuckets() throws Exception {
    Map<String, String> puts = new LinkedHashMap<>();
    for (int i = 0; i < 300; i++) {
      puts.put(
          SPACE + "/registry/" + i % 128 + "/model-" + i, "{\"type\":\"onnx\",\"mPath\":\"p\"}");
    }
    puts.put(SPACE + "/vmodels/7/v", "{\"amid\":\"model-299\",\"tmid\":\"model-299\"}");
    write(puts);
    Run run = run();
    assertEquals(0, run.status, run.out + run.err);
    assertEquals(300, registry.view().modelCount());
    assertNotNull(registry.view().model("model-299"));
    assertNotNull(registry.view().alias("v"));
  }

  @Test
  void aNumberBeforeASlashIsPartOfANameWhereOthersHaveNone() throws Exception {
    write(
        Map.of(
            SPACE + "/registry/12/a", "{\"type\":\"onnx\"}",
            SPACE + "/registry/plain", "{\"type\":\"onnx\"}"));
    assertEquals(0, run().status);
    assertNotNull(registry.view().model("12/a"));
  }

  @Test
  void whatStandsHereDifferentlyIsReportedAndKept() throws Exception {
    write(
        Map.of(
            SPACE + "/registry/a", "{\"type\":\"onnx\",\"mPath\":\"theirs\"}",
            SPACE + "/registry/b", "{\"type\":\"onnx\"}",
            SPACE + "/vmodels/v", "{\"amid\":\"b\",\"tmid\":\"b\"}"));
    registry.createModel(Model.of("a", "onnx", "ours", "", 1));
    registry.compareAndSetAlias("v", null, new Alias("v", "", "a", "a", Set.of(), ""));
    Run run = run();
    assertEquals(1, run.status, run.out);
    assertEquals(1, run.json().at("/models/differing").asInt(), run.out);
    assertEquals(1, run.json().at("/aliases/differing").asInt(), run.out);
    Model kept = registry.view().model("a");
    assertNotNull(kept);
    assertEquals("ours", kept.path());
    Alias alias = registry.view().alias("v");
    assertNotNull(alias);
    assertEquals("a", alias.activeModelId());
  }

  @Test
  void anAliasThatMovedOnHereIsNotMovedBackWhoseverItIs() throws Exception {
    write(
        Map.of(
            SPACE + "/registry/a", "{\"type\":\"onnx\"}",
            SPACE + "/registry/b", "{\"type\":\"onnx\"}",
            SPACE + "/vmodels/v", "{\"o\":\"isvc\",\"amid\":\"a\",\"tmid\":\"a\"}"));
    assertEquals(0, run().status);
    Alias moved = new Alias("v", "isvc", "b", "b", Set.of(), "");
    assertTrue(registry.compareAndSetAlias("v", registry.view().alias("v"), moved));
    Run again = run();
    assertEquals(moved, registry.view().alias("v"));
    assertEquals(1, again.json().at("/aliases/differing").asInt(), again.out);
  }

  @Test
  void aWrongPrefixIsAnsweredWithTheRightOnes() throws Exception {
    write(Map.of(SPACE + "/registry/a", "{\"type\":\"onnx\"}"));
    Run run = run("modelmesh-serving", to());
    assertEquals(1, run.status);
    assertTrue(run.err.contains("key spaces below that prefix: [" + SPACE + "]"), run.err);
  }

  @Test
  void aMeshThatDoesNotAnswerIsOneLine() throws Exception {
    write(Map.of(SPACE + "/registry/a", "{\"type\":\"onnx\"}"));
    server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
    Run run = run();
    assertEquals(1, run.status);
    assertEquals(1, run.err.lines().count(), run.err);
    assertTrue(run.err.contains("no mesh answers at 127.0.0.1:"), run.err);
  }

  @Test
  void aMeshThatSpeaksTlsIsReachedByTheSameOptionsAsByOtherCommands() throws Exception {
    write(Map.of(SPACE + "/registry/a", "{\"type\":\"onnx\",\"mPath\":\"p\"}"));
    try (TlsMesh mesh = new TlsMesh(dir)) {
      String pod = mesh.start("pod").grpc();
      Run half = run(SPACE, "--to", pod, "--tls-server-name", "localhost");
      assertTrue(half.err.contains("--tls-trust is missing"), half.err);
      Run run = run(SPACE, "--to", pod, "--tls-trust", mesh.pods.file().toString(), "--json");
      assertEquals(0, run.status, run.out + run.err);
      assertNotNull(mesh.registry.view().model("a"));
    }
  }

  // ---- the source ----

  /** 5,000 models, six of them broken, and five vmodels, two of them broken. */
  private static Map<String, String> space(String models, String bucket) {
    Map<String, String> puts = new LinkedHashMap<>();
    for (int i = 0; i < RECORDS - 7; i++) {
      puts.put(
          models + bucket + "model-" + i,
          """
          {"type":"onnx","encKey":"{\\"storage_key\\":\\"s3\\"}","mPath":"models/%d",\
          "instanceIds":{"5d8f7c9-abcde":1700000000000},"failedIn":{},"autoDel":%b,\
          "lu":1700000000000,"unknownLater":[1,2]}"""
              .formatted(i, i == 1));
    }
    puts.put(models + "bare", "{\"mPath\":\"models/bare\"}");
    puts.put(models + "broken-0", "{\"type\":\"onnx\",");
    puts.put(models + "broken-1", "");
    puts.put(models + "broken-2", "{\"mPath\":7}");
    puts.put(models + "broken-3", "[]");
    puts.put(models + "broken-4", "{\"type\":\"onnx\"} {}");
    puts.put(models + "x".repeat(600), "{\"type\":\"onnx\"}");
    String vmodels = SPACE + "/vmodels/";
    puts.put(vmodels + "stable", "{\"o\":\"team\",\"amid\":\"model-1\",\"tmid\":\"model-1\"}");
    puts.put(vmodels + "moving", "{\"amid\":\"model-2\",\"tmid\":\"model-3\"}");
    puts.put(vmodels + "stuck", "{\"amid\":\"model-4\",\"tmid\":\"bare\",\"failed\":true}");
    puts.put(vmodels + "dangling", "{\"amid\":\"gone\",\"tmid\":\"gone\"}");
    puts.put(vmodels + "empty", "{\"o\":\"team\"}");
    puts.put(SPACE + "/instances/5d8f7c9-abcde", "{\"lruTime\":1}");
    puts.put(SPACE + "/leaderLatch/5d8f7c9-abcde", "5d8f7c9-abcde");
    return puts;
  }

  private void write(Map<String, String> puts) throws Exception {
    List<Op> ops = new ArrayList<>();
    for (Map.Entry<String, String> put : puts.entrySet()) {
      ops.add(Op.put(bytes(put.getKey()), bytes(put.getValue()), PutOption.DEFAULT));
      if (ops.size() == 100) {
        commit(ops);
      }
    }
    commit(ops);
  }

  private void commit(List<Op> ops) throws Exception {
    client.getKVClient().txn().Then(ops.toArray(Op[]::new)).commit().get(30, TimeUnit.SECONDS);
    ops.clear();
  }

  private long revision() throws Exception {
    return client
        .getKVClient()
        .get(bytes("nothing"))
        .get(30, TimeUnit.SECONDS)
        .getHeader()
        .getRevision();
  }

  private static ByteSequence bytes(String text) {
    return ByteSequence.from(text, UTF_8);
  }

  // ---- the command ----

  private String[] to(String... more) {
    List<String> all = new ArrayList<>(List.of("--to", "127.0.0.1:" + port));
    all.addAll(List.of(more));
    return all.toArray(String[]::new);
  }

  private Run run() {
    return run(SPACE, to("--json"));
  }

  private Run run(String prefix, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of("import", "--from-modelmesh", "--etcd", etcd.endpoint(), "--prefix", prefix));
    args.addAll(List.of(more));
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int status =
        Main.commandLine()
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true))
            .execute(args.toArray(String[]::new));
    return new Run(status, out.toString(), err.toString());
  }
}
