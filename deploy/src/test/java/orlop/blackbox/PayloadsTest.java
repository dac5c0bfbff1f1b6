package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.UnknownFieldSet;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import inference.ModelInferRequest;
import inference.ModelMetadataRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import io.netty.pkitesting.X509Bundle;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.deploy.Authority;

/** What observers of payloads get of calls that a runtime beside the pod answers, over TLS. */
@Tag("slow")
final class PayloadsTest {
  @TempDir Path dir;
  private final Map<String, List<JsonNode>> seen = new ConcurrentHashMap<>();
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private HttpsServer server;
  private Path trust;
  private Stage stage;

  @BeforeEach
  void start() throws Exception {
    Authority authority = new Authority(dir, "observers");
    X509Bundle own = authority.sign("observer");
    trust = trustStore(own.getRootCertificate());
    SSLContext tls = SSLContext.getInstance("TLS");
    tls.init(own.toKeyManagerFactory().getKeyManagers(), null, null);
    server = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setHttpsConfigurator(new HttpsConfigurator(tls));
    server.setExecutor(threads);
    server.createContext(
        "/",
        exchange -> {
          JsonNode body = new ObjectMapper().readTree(exchange.getRequestBody().readAllBytes());
          seen.computeIfAbsent(
                  exchange.getRequestURI().getPath(), p -> new CopyOnWriteArrayList<>())
              .add(body);
          exchange.sendResponseHeaders(200, -1);
          exchange.close();
        });
    server.start();
    stage = new Stage(Files.createDirectory(dir.resolve("stage")));
  }

  @AfterEach
  void end() throws Exception {
    stage.close();
    server.stop(0);
    threads.shutdownNow();
  }

  /** As {@code keytool} makes one for an operator. */
  private Path trustStore(X509Certificate authority) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setCertificateEntry("authority", authority);
    Path file = dir.resolve("trust.p12");
    try (OutputStream out = Files.newOutputStream(file)) {
      store.store(out, "changeit".toCharArray());
    }
    return file;
  }

  private String uri(String tail) {
    return "https://localhost:" + server.getAddress().getPort() + tail;
  }

  private List<JsonNode> seen(String path) {
    return seen.getOrDefault(path, List.of());
  }

  private static CallOptions options() {
    return CallOptions.DEFAULT.withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS);
  }

  @Test
  void observersSeeEveryUnaryMethodThatTheirFilterLetsThroughAndNoStream() throws Exception {
    PodUnderTest pod =
        stage.pod(
            "observed",
            stage.runtime(),
            "MM_PAYLOAD_PROCESSORS",
            String.join(" ", uri("/all?*"), uri("/one#One"), uri("/infer?m#ModelInfer")),
            "CUSTOM_JVM_ARGS",
            "-Djavax.net.ssl.trustStore=" + trust + " -Djavax.net.ssl.trustStorePassword=changeit");
    var unused = pod.register("m", "p", true);
    Channel named = pod.channel("mm-model-id", "m");
    streams(named);
    UnknownFieldSet asked = RuntimeGuess.request("text", "");
    UnknownFieldSet told = ClientCalls.blockingUnaryCall(named, RuntimeGuess.ONE, options(), asked);
    var metadata =
        pod.inference().modelMetadata(ModelMetadataRequest.newBuilder().setName("m").build());
    assertEquals("m", metadata.getName());
    ModelInferRequest infer = PodUnderTest.request("m");
    assertEquals("m", pod.inference().modelInfer(infer).getModelName());
    Stage.await("all payloads", () -> seen("/all").size() >= 6 && seen("/infer").size() >= 2);
    assertEquals(6, seen("/all").size(), seen.toString());
    assertEquals(2, seen("/one").size(), seen.toString());
    assertEquals(2, seen("/infer").size(), seen.toString());
    assertArrayEquals(asked.toByteArray(), data("/one", "request"));
    assertArrayEquals(told.toByteArray(), data("/one", "response"));
    assertArrayEquals(infer.toByteArray(), data("/infer", "request"));
    JsonNode first = seen("/one").getFirst();
    assertEquals(RuntimeGuess.SERVICE + "/One", first.path("method").asText());
    assertEquals("m", first.path("modelid").asText());
    assertEquals(first.path("id").asText(), seen("/one").getLast().path("id").asText());
  }

  private byte[] data(String path, String kind) {
    return seen(path).stream()
        .filter(body -> body.path("kind").asText().equals(kind))
        .map(body -> Base64.getDecoder().decode(body.path("data").asText()))
        .findFirst()
        .orElseThrow();
  }

  /** One of each kind, to its end; each has two messages or more in one direction. */
  private static void streams(Channel named) {
    var counted =
        ClientCalls.blockingServerStreamingCall(
            named, RuntimeGuess.COUNT, options(), RuntimeGuess.request("x", ""));
    int count = 0;
    while (counted.hasNext()) {
      assertEquals(List.of("m:" + count++), RuntimeGuess.said(counted.next()));
    }
    assertEquals(RuntimeGuess.COUNTED, count);
    for (boolean both : new boolean[] {true, false}) {
      Ended ended = new Ended();
      StreamObserver<UnknownFieldSet> to =
          both
              ? ClientCalls.asyncBidiStreamingCall(
                  named.newCall(RuntimeGuess.ECHO, options()), ended)
              : ClientCalls.asyncClientStreamingCall(
                  named.newCall(RuntimeGuess.JOIN, options()), ended);
      to.onNext(RuntimeGuess.request("a", ""));
      to.onNext(RuntimeGuess.request("b", ""));
      to.onCompleted();
      Stage.await("the stream to end", () -> ended.how != null);
      assertEquals("OK", ended.how);
    }
  }

  private static final class Ended implements StreamObserver<UnknownFieldSet> {
    volatile @Nullable String how;

    @Override
    public void onNext(UnknownFieldSet answer) {}

    @Override
    public void onError(Throwable error) {
      how = error.toString();
    }

    @Override
    public void onCompleted() {
      how = "OK";
    }
  }
}
