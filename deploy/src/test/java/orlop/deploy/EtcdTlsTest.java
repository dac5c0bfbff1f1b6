package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.LoggerFactory;
import orlop.placement.Model;
import orlop.registry.EtcdProcess;
import orlop.registry.EtcdRegistry;
import orlop.registry.RegistryConfig;
import orlop.registry.RegistryException;
import orlop.registry.RegistryTls;

/** The registry in a real etcd that speaks TLS alone and asks for certificates. */
@Tag("slow")
final class EtcdTlsTest {
  @TempDir Path dir;
  private Authority servers;
  private Authority clients;
  private Authority.Written client;
  private EtcdProcess etcd;

  @BeforeEach
  void start() throws Exception {
    servers = new Authority(dir, "servers");
    clients = new Authority(dir, "clients");
    client = clients.write("client", clients.sign("client"));
    Authority.Written server = servers.write("server", servers.sign("etcd"));
    etcd =
        EtcdProcess.start(
            dir.resolve("etcd"),
            new EtcdProcess.Tls(server.certificate(), server.key(), clients.file()));
  }

  @AfterEach
  void stop() {
    if (etcd != null) {
      etcd.close();
    }
  }

  private RegistryConfig config(String trust, String certificate, String key, String name) {
    RegistryConfig d = RegistryConfig.defaults();
    return new RegistryConfig(
        List.of(etcd.endpoint()),
        d.root(),
        d.mesh(),
        2_000,
        2_000,
        d.maxInFlightWrites(),
        d.pageKeys(),
        null,
        null,
        new RegistryTls(trust, certificate, key, name));
  }

  private RegistryConfig right() throws Exception {
    return config(
        servers.file().toString(), client.certificate().toString(), client.key().toString(), "");
  }

  private static String refusal(RegistryConfig config) {
    long startNs = System.nanoTime();
    String said =
        String.valueOf(
            assertThrows(RegistryException.class, () -> EtcdRegistry.connect(config).close())
                .getMessage());
    assertTrue(System.nanoTime() - startNs < TimeUnit.SECONDS.toNanos(20), "took too long");
    assertFalse(said.contains("BEGIN"), said);
    return said;
  }

  private static Model model(String id) {
    return Model.of(id, "onnx", "p", "", 1);
  }

  @Test
  void aRegistryWritesReadsAndComesBackAfterARestartWithNewCertificates() throws Exception {
    try (EtcdRegistry one = EtcdRegistry.connect(right());
        EtcdRegistry two = EtcdRegistry.connect(right())) {
      one.createModel(model("m"));
      await(() -> two.view().model("m") != null);
      etcd.kill();
      await(() -> !one.connected() && !two.connected());
      // The old certificate was signed by whom etcd no longer knows.
      Authority others = new Authority(dir, "clients");
      others.file();
      others.write("client", others.sign("client"));
      etcd.restart();
      await(() -> one.connected() && two.connected());
      one.createModel(model("n"));
      await(() -> two.view().model("n") != null);
    }
  }

  @Test
  void aCertificateRenewedBeforeAShortRestartHelpsBeforeLeasesEnd() throws Exception {
    try (EtcdRegistry registry = EtcdRegistry.connect(right())) {
      Authority others = new Authority(dir, "clients");
      others.file();
      others.write("client", others.sign("client"));
      etcd.kill();
      etcd.restart();
      long startNs = System.nanoTime();
      // It is back before the registry knocks, so that only the old connection is refused.
      await(() -> !registry.connected());
      await(registry::connected);
      long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNs);
      assertTrue(tookMs < RegistryConfig.defaults().leaseTtlMs(), "took " + tookMs + " ms");
    }
  }

  @Test
  void anOpenConnectionOutlivesFilesThatBecomeUnreadable() throws Exception {
    Logger logger = (Logger) LoggerFactory.getLogger(EtcdRegistry.class);
    ListAppender<ILoggingEvent> heard = new ListAppender<>();
    heard.list = new CopyOnWriteArrayList<>();
    heard.start();
    logger.addAppender(heard);
    try (EtcdRegistry registry = EtcdRegistry.connect(right())) {
      Files.writeString(client.certificate(), "half");
      signal("STOP");
      await(() -> !registry.connected() && !heard.list.isEmpty());
      signal("CONT");
      await(registry::connected);
      registry.createModel(model("m"));
      String warning = heard.list.getFirst().getFormattedMessage();
      assertTrue(
          warning.contains("registry.tls.certificate file " + client.certificate()), warning);
    } finally {
      logger.detachAppender(heard);
      signal("CONT");
    }
  }

  private void signal(String name) throws Exception {
    new ProcessBuilder("kill", "-" + name, String.valueOf(etcd.pid())).start().waitFor();
  }

  @Test
  void pemInTheConfigurationDoesWhatAFileDoes() throws Exception {
    RegistryConfig config =
        config(
            Files.readString(servers.file()),
            Files.readString(client.certificate()),
            Files.readString(client.key()),
            "localhost");
    try (EtcdRegistry registry = EtcdRegistry.connect(config)) {
      registry.createModel(model("m"));
      assertNotNull(registry.view().model("m"));
    }
  }

  @Test
  void whoIsNotTrustedIsRefusedWithTheReasonAndWhereToLook() throws Exception {
    String own = client.certificate().toString();
    String key = client.key().toString();
    String wrongAuthority = refusal(config(clients.file().toString(), own, key, ""));
    assertTrue(
        wrongAuthority.startsWith("no TLS with etcd at [" + etcd.endpoint()), wrongAuthority);
    assertTrue(wrongAuthority.contains("certification path"), wrongAuthority);
    assertTrue(wrongAuthority.contains("trust=" + clients.file()), wrongAuthority);
    String noCertificate = refusal(config(servers.file().toString(), "", "", ""));
    assertTrue(noCertificate.startsWith("no TLS with etcd"), noCertificate);
    Authority.Written stranger = servers.write("stranger", servers.sign("stranger"));
    String unknown =
        refusal(
            config(
                servers.file().toString(),
                stranger.certificate().toString(),
                stranger.key().toString(),
                ""));
    assertTrue(unknown.startsWith("no TLS with etcd"), unknown);
    String otherName = refusal(config(servers.file().toString(), own, key, "etcd.example"));
    assertTrue(otherName.contains("etcd.example"), otherName);
  }

  @Test
  void aFileThatCannotBeUsedIsNamed() throws Exception {
    String own = client.certificate().toString();
    String key = client.key().toString();
    String trust = servers.file().toString();
    assertEquals(
        "registry.tls.trust file /no/such does not exist",
        refusal(config("/no/such", own, key, "")));
    assertTrue(
        refusal(config(key, own, key, "")).startsWith("registry.tls.trust file " + key + " holds"));
    assertTrue(
        refusal(config(trust, key, key, "")).startsWith("registry.tls.certificate file " + key));
    assertTrue(
        refusal(config(trust, own, own, "")).startsWith("registry.tls.privateKey file " + own));
  }

  @Test
  void modelMeshsEtcdFileIsAllThatItTakes() throws Exception {
    ObjectNode json =
        new ObjectMapper()
            .createObjectNode()
            .put("endpoints", etcd.endpoint())
            .put("root_prefix", "modelmesh-serving")
            // Beside the file itself, where they are not found from the working directory.
            .put("certificate_file", servers.file().getFileName().toString())
            .put("client_certificate_file", "client.crt")
            .put("client_key", Files.readString(client.key()));
    Path file = Files.writeString(dir.resolve("etcd_connection"), json.toString());
    Settings settings =
        ModelMeshEnvironment.read(
                Map.of("KV_STORE", "etcd:" + file, "MM_SERVICE_NAME", "mesh"), Settings.defaults())
            .settings();
    try (var registry = Roles.registry(settings)) {
      registry.createModel(model("m"));
      assertNotNull(registry.view().model("m"));
    }
  }

  @Test
  void anImportReadsFromSuchAnEtcdToo() throws Exception {
    try (Orlop orlop =
        Orlop.run(
            dir,
            60,
            "import",
            "--from-modelmesh",
            "--etcd=" + etcd.endpoint(),
            "--prefix=nobodys",
            "--etcd-trust=" + servers.file(),
            "--etcd-certificate=" + client.certificate(),
            "--etcd-key=" + client.key(),
            "--dry-run")) {
      assertTrue(orlop.err().contains("holds no key under 'nobodys/registry/'"), orlop.err());
    }
  }

  private static void await(BooleanSupplier condition) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!condition.getAsBoolean()) {
      assertTrue(System.nanoTime() < deadline, "waited 60 s in vain");
      LockSupport.parkNanos(5_000_000);
    }
  }
}
