package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.api.DrainRequest;

/**
 * Goal: with TLS configured nothing that pods say is readable on the wire, and only those are let
 * in whom the configuration trusts. Method: whole pods with certificates made here, real clients,
 * and a proxy that keeps the bytes.
 */
final class TlsTest {
  private static final String MARK = "a-mark-that-must-not-be-readable";

  @TempDir Path dir;
  private final List<MeshClient> clients = new ArrayList<>();
  private int refusals;
  private TlsMesh mesh;
  private Authority podCa;
  private Authority clientCa;
  private Authority.Written pod;

  @BeforeEach
  void authorities() throws Exception {
    mesh = new TlsMesh(dir);
    podCa = mesh.pods;
    clientCa = mesh.callers;
    pod = mesh.own;
  }

  @AfterEach
  void close() {
    clients.forEach(MeshClient::close);
    mesh.close();
  }

  private PodProcess.Announcement start(String id, String... more) throws Exception {
    return mesh.start(id, more);
  }

  /** A client from outside, with a certificate when {@code own} is one. */
  private MeshClient client(String address, Path trust, Authority.@Nullable Written own)
      throws Exception {
    MeshClient.Target target = new MeshClient.Target();
    target.address = address;
    target.timeoutSeconds = 20;
    target.tls.trust = trust.toString();
    if (own != null) {
      target.tls.certificate = own.certificate().toString();
      target.tls.key = own.key().toString();
    }
    MeshClient made = target.connect();
    clients.add(made);
    return made;
  }

  private static void infer(MeshClient client) {
    var answer = client.inference().modelInfer(TlsMesh.request(MARK));
    assertEquals(MARK, answer.getId());
    assertEquals("m", answer.getModelName());
  }

  private static Status failure(MeshClient client) {
    return assertThrows(StatusRuntimeException.class, () -> infer(client)).getStatus();
  }

  private static void await(String what, BooleanSupplier condition) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline) {
        throw new AssertionError("waited 30 s in vain for " + what);
      }
      LockSupport.parkNanos(5_000_000);
    }
  }

  private static String readable(byte[] bytes) {
    return new String(bytes, StandardCharsets.ISO_8859_1);
  }

  /** Handshake, alert, application data and what belongs to them, and nothing after or between. */
  private static boolean tlsRecordsOnly(byte[] bytes) {
    int at = 0;
    while (at + 5 <= bytes.length) {
      int type = bytes[at];
      if (type < 20 || type > 23 || bytes[at + 1] != 3) {
        return false;
      }
      at += 5 + ((bytes[at + 3] & 0xff) << 8 | bytes[at + 4] & 0xff);
    }
    return bytes.length > 0;
  }

  @Test
  void nothingBetweenPodsIsReadable() throws Exception {
    int real = freePort();
    try (Recorder wire = new Recorder(() -> real)) {
      start("pod-a", "pod.grpcPort=" + real, "pod.advertisedAddress=127.0.0.1:" + wire.port());
      // Loaded in the first, so that the second has to send the call on, through the proxy.
      infer(client("127.0.0.1:" + real, podCa.file(), null));
      PodProcess.Announcement other = start("pod-b");
      infer(client(other.grpc(), podCa.file(), null));
      List<byte[]> recorded = wire.recorded();
      assertTrue(recorded.size() >= 2, "no pod called the other one: " + recorded.size());
      for (byte[] stream : recorded) {
        assertTrue(tlsRecordsOnly(stream), "not TLS: " + readable(stream));
        for (String secret : List.of(MARK, "ModelInfer", "PRI * HTTP/2", "pod-b")) {
          assertFalse(readable(stream).contains(secret), secret + " is readable");
        }
      }
      assertTrue(recorded.stream().anyMatch(stream -> stream.length > 1_000));
    }
  }

  private static int freePort() throws Exception {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  @Test
  void aPodSpeaksToNobodyInTheClear() throws Exception {
    PodProcess.Announcement a = start("pod-a");
    try (MeshClient plain = new MeshClient(a.grpc(), 5)) {
      assertFalse(failure(plain).isOk());
    }
    assertThrows(
        java.io.IOException.class,
        () -> get(HttpClient.newHttpClient(), "http://" + a.rest() + "/v2/health/live"));
  }

  @Test
  void onlyPodsMaySayWhatPodsSay() throws Exception {
    PodProcess.Announcement a = start("pod-a");
    MeshClient stranger = client(a.grpc(), podCa.file(), null);
    infer(stranger);
    StatusRuntimeException refused =
        assertThrows(
            StatusRuntimeException.class,
            () -> stranger.pod().drain(DrainRequest.getDefaultInstance()));
    assertEquals(Status.Code.PERMISSION_DENIED, refused.getStatus().getCode());
    StatusRuntimeException posing =
        assertThrows(
            StatusRuntimeException.class,
            () ->
                stranger
                    .inference("orlop-forwarded-by", "pod-x")
                    .modelInfer(TlsMesh.request(MARK)));
    assertEquals(Status.Code.PERMISSION_DENIED, posing.getStatus().getCode());
    // A certificate of somebody else's authority is as good as none.
    MeshClient foreign =
        client(a.grpc(), podCa.file(), clientCa.write("foreign", clientCa.sign("foreign")));
    assertThrows(
        StatusRuntimeException.class, () -> foreign.pod().drain(DrainRequest.getDefaultInstance()));
    MeshClient member = client(a.grpc(), podCa.file(), podCa.write("admin", podCa.sign("admin")));
    var unused = member.pod().drain(DrainRequest.getDefaultInstance());
  }

  @Test
  void fromOutsideThePodsAuthorityAndNameCount() throws Exception {
    PodProcess.Announcement a = start("pod-a");
    assertEquals(
        Status.Code.UNAVAILABLE, failure(client(a.grpc(), clientCa.file(), null)).getCode());
    MeshClient.Target target = new MeshClient.Target();
    target.address = a.grpc();
    target.tls.trust = podCa.file().toString();
    for (String name : List.of("localhost", "somebody.else")) {
      target.tls.serverName = name;
      try (MeshClient named = target.connect()) {
        if (name.equals("localhost")) {
          infer(named);
        } else {
          assertEquals(Status.Code.UNAVAILABLE, failure(named).getCode());
        }
      }
    }
    target.tls.trust = "";
    CommandException half = assertThrows(CommandException.class, target::connect);
    assertTrue(String.valueOf(half.getMessage()).contains("--tls-trust is missing"));
  }

  @Test
  void callersMustShowACertificateWhereOneIsRequired() throws Exception {
    PodProcess.Announcement a =
        start(
            "pod-a",
            "tls.clientAuth=require",
            "tls.clientTrust='" + clientCa.file() + "'",
            "pod.metrics.https=true");
    infer(client(a.grpc(), podCa.file(), clientCa.write("known", clientCa.sign("known"))));
    assertEquals(Status.Code.UNAVAILABLE, failure(client(a.grpc(), podCa.file(), null)).getCode());
    Authority nobody = new Authority(dir, "nobody");
    assertEquals(
        Status.Code.UNAVAILABLE,
        failure(client(a.grpc(), podCa.file(), nobody.write("no", nobody.sign("no")))).getCode());
    HttpClient https = HttpClient.newBuilder().sslContext(trustingAll()).build();
    await(
        "failed handshakes are counted",
        () -> {
          try {
            String text = get(https, "https://" + a.metrics() + "/metrics");
            return text.lines()
                .anyMatch(
                    line ->
                        line.startsWith("orlop_tls_handshake_failures_total{port=\"grpc\"}")
                            && Double.parseDouble(line.substring(line.indexOf(' '))) >= 2);
          } catch (Exception e) {
            throw new AssertionError(e);
          }
        });
    // REST asks the same.
    assertThrows(
        java.io.IOException.class, () -> get(https, "https://" + a.rest() + "/v2/health/live"));
  }

  @Test
  void restAndMetricsAreEncryptedToo() throws Exception {
    PodProcess.Announcement a = start("pod-a", "pod.metrics.https=true");
    HttpClient https = HttpClient.newBuilder().sslContext(trustingAll()).build();
    assertEquals("{\"live\":true}", get(https, "https://" + a.rest() + "/v2/health/live"));
    assertTrue(get(https, "https://" + a.metrics() + "/metrics").contains("modelmesh_"));
  }

  @Test
  void metricsByTlsNeedNoCertificateOfOurs() throws Exception {
    PodProcess.Announcement a =
        start(
            "pod-a",
            "tls.certificate=",
            "tls.privateKey=",
            "tls.podTrust=",
            "pod.metrics.https=true");
    HttpClient https = HttpClient.newBuilder().sslContext(trustingAll()).build();
    assertTrue(get(https, "https://" + a.metrics() + "/metrics").contains("modelmesh_"));
  }

  @Test
  void newCertificatesAreShownWithoutARestartAndOldConnectionsLiveOn() throws Exception {
    PodProcess.Announcement a = start("pod-a");
    MeshClient before = client(a.grpc(), podCa.file(), null);
    infer(before);
    assertEquals("CN=pod", shown(a.grpc()));
    var unused = podCa.write("pod", podCa.sign("renewed"));
    await("the new certificate is shown", () -> "CN=renewed".equals(shown(a.grpc())));
    infer(before);
    infer(client(a.grpc(), podCa.file(), null));
    // Half of a pair is no pair: what stood before stays, until there is a whole one.
    Files.writeString(pod.key(), "nonsense");
    for (int i = 0; i < 20; i++) {
      assertEquals("CN=renewed", shown(a.grpc()));
    }
    unused = podCa.write("pod", podCa.sign("again"));
    await("the next certificate is shown", () -> "CN=again".equals(shown(a.grpc())));
  }

  @Test
  void authoritiesOfADirectoryAreTrustedAsItsFilesComeAndGo() throws Exception {
    Path trusted = Files.createDirectory(dir.resolve("trusted"));
    Path first = Files.copy(podCa.file(), trusted.resolve("first.pem"));
    Files.writeString(trusted.resolve("readme.txt"), "no certificate, and not to be read as one");
    PodProcess.Announcement a =
        start(
            "pod-a",
            "tls.clientAuth=require",
            "tls.clientTrust='" + trusted + "'",
            "tls.podTrust='" + podCa.file() + "," + trusted + "'");
    Authority.Written known = podCa.write("known", podCa.sign("known"));
    Authority.Written later = clientCa.write("later", clientCa.sign("later"));
    infer(client(a.grpc(), podCa.file(), known));
    assertFalse(failure(client(a.grpc(), podCa.file(), later)).isOk());
    Path second = Files.copy(clientCa.file(), trusted.resolve("second.crt"));
    await("the new authority is trusted", () -> answers(a.grpc(), later));
    infer(client(a.grpc(), podCa.file(), known));
    Files.delete(second);
    await("the authority is trusted no more", () -> !answers(a.grpc(), later));
    Files.delete(first);
    assertRefused(
        "tls.podTrust directory " + trusted + " holds no files that end in .pem or .crt",
        "tls.podTrust='" + trusted + "'");
  }

  /** Whether a client with that certificate gets an answer on a new connection. */
  private boolean answers(String address, Authority.Written own) {
    try {
      infer(client(address, podCa.file(), own));
      return true;
    } catch (StatusRuntimeException e) {
      return false;
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  /** A payload processor that notes the paths that are called, each by a connection of its own. */
  private static HttpsServer observer(Authority authority, List<String> paths) throws Exception {
    SSLContext tls = SSLContext.getInstance("TLS");
    tls.init(authority.sign("observer").toKeyManagerFactory().getKeyManagers(), null, null);
    HttpsServer server = HttpsServer.create(new InetSocketAddress(0), 0);
    server.setHttpsConfigurator(new HttpsConfigurator(tls));
    server.createContext(
        "/",
        exchange -> {
          paths.add(exchange.getRequestURI().getPath());
          exchange.getResponseHeaders().set("Connection", "close");
          exchange.sendResponseHeaders(200, -1);
          exchange.close();
        });
    return server;
  }

  @Test
  void aPayloadProcessorIsCalledWhereItsOwnAuthorityAndItsNameVouchForIt() throws Exception {
    List<String> paths = new CopyOnWriteArrayList<>();
    Authority observers = new Authority(dir, "observers");
    HttpsServer server = observer(observers, paths);
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      server.setExecutor(threads);
      server.start();
      int port = server.getAddress().getPort();
      PodProcess.Announcement a =
          start(
              "pod-a",
              "tls.certificate=",
              "tls.privateKey=",
              "tls.podTrust=",
              "tls.processorTrust='" + observers.file() + "'",
              "processors.uris=['https://localhost:%d/right', 'https://127.0.0.2:%d/wrong']"
                  .formatted(port, port));
      try (MeshClient client = new MeshClient(a.grpc(), 20)) {
        infer(client);
      }
      await("request and response", () -> paths.size() == 2);
      String lost =
          "orlop_processor_dropped_total{processor=\"1 https://127.0.0.2:%d\",reason=\"sink\"} "
              .formatted(port);
      await("the loss at another name", () -> number(a.metrics(), lost) > 0);
      assertEquals(List.of("/right", "/right"), paths);
    } finally {
      server.stop(0);
    }
  }

  /** Not even by a session that was begun when it was. */
  @Test
  void aPayloadProcessorIsCalledNoLongerThanItsAuthorityIsTrusted() throws Exception {
    Authority observers = new Authority(dir, "observers");
    HttpsServer server = observer(observers, new CopyOnWriteArrayList<>());
    Path trust = Files.copy(observers.file(), dir.resolve("trust.pem"));
    TlsConfig config =
        new TlsConfig("", "", "", TlsConfig.ClientAuth.NONE, "", "", "", "", trust.toString(), 100);
    server.start();
    try (Certificates certificates = Objects.requireNonNull(Certificates.open(config));
        HttpClient client = HttpClient.newBuilder().sslContext(certificates.processors()).build()) {
      String uri = "https://localhost:" + server.getAddress().getPort();
      get(client, uri);
      Files.writeString(trust, Files.readString(clientCa.file()));
      await(
          "the end of the trust",
          () -> {
            try {
              get(client, uri);
              return false;
            } catch (Exception e) {
              return e instanceof SSLHandshakeException;
            }
          });
    } finally {
      server.stop(0);
    }
  }

  /** The value of the line of the metrics that begins so; 0 when there is none. */
  private static double number(String address, String line) {
    try (HttpClient http = HttpClient.newHttpClient()) {
      return get(http, "http://" + address + "/metrics")
          .lines()
          .filter(each -> each.startsWith(line))
          .mapToDouble(each -> Double.parseDouble(each.substring(line.length())))
          .sum();
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void aWrongFileIsNamedAtTheStart() throws Exception {
    Path absent = dir.resolve("absent.crt");
    assertRefused(
        "tls.certificate file " + absent + " does not exist", "tls.certificate='" + absent + "'");
    Path empty = Files.writeString(dir.resolve("empty.crt"), "nothing");
    assertRefused(
        "tls.certificate file " + empty + " holds no certificate",
        "tls.certificate='" + empty + "'");
    Authority.Written other = podCa.write("other", podCa.sign("other"));
    assertRefused(
        "tls.privateKey file "
            + other.key()
            + " is not the key of the certificate in "
            + pod.certificate(),
        "tls.privateKey='" + other.key() + "'");
    Authority.Written old =
        podCa.write("old", podCa.sign("old", Instant.now().minus(Duration.ofDays(1))));
    assertRefused(
        "tls.certificate file " + old.certificate() + ": 'CN=old' is valid from",
        "tls.certificate='" + old.certificate() + "'",
        "tls.privateKey='" + old.key() + "'");
    assertRefused("clientTrust is empty", "tls.clientAuth=require");
    assertRefused("certificate is not", "tls.certificate=");
  }

  private void assertRefused(String expected, String... more) {
    String id = "pod-" + refusals++;
    CommandException refused = assertThrows(CommandException.class, () -> start(id, more));
    assertTrue(
        String.valueOf(refused.getMessage()).contains(expected),
        String.valueOf(refused.getMessage()));
  }

  /** The subject of the certificate that stands at the address now. */
  private static String shown(String address) {
    int colon = address.lastIndexOf(':');
    try (SSLSocket socket =
        (SSLSocket)
            trustingAll()
                .getSocketFactory()
                .createSocket(
                    address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)))) {
      socket.startHandshake();
      return ((X509Certificate) socket.getSession().getPeerCertificates()[0])
          .getSubjectX500Principal()
          .getName();
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  private static SSLContext trustingAll() throws Exception {
    SSLContext context = SSLContext.getInstance("TLS");
    TrustManager all =
        new javax.net.ssl.X509ExtendedTrustManager() {
          @Override
          public void checkClientTrusted(X509Certificate[] c, String a) {}

          @Override
          public void checkServerTrusted(X509Certificate[] c, String a) {}

          @Override
          public void checkClientTrusted(X509Certificate[] c, String a, java.net.Socket s) {}

          @Override
          public void checkServerTrusted(X509Certificate[] c, String a, java.net.Socket s) {}

          @Override
          public void checkClientTrusted(
              X509Certificate[] c, String a, javax.net.ssl.SSLEngine e) {}

          @Override
          public void checkServerTrusted(
              X509Certificate[] c, String a, javax.net.ssl.SSLEngine e) {}

          @Override
          public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
          }
        };
    context.init(null, new TrustManager[] {all}, null);
    return context;
  }

  private static String get(HttpClient client, String uri) throws Exception {
    return client
        .send(
            HttpRequest.newBuilder(URI.create(uri)).timeout(Duration.ofSeconds(20)).build(),
            HttpResponse.BodyHandlers.ofString())
        .body();
  }
}
