package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.GRPCInferenceServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.pkitesting.X509Bundle;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;
import mmesh.ModelInfo;
import mmesh.ModelMeshGrpc;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.deploy.Authority;

/** What the machinery around a pod sees and sets: certificates, labels, observers, its end. */
@Tag("slow")
final class OperationsTest {
  @TempDir Path dir;
  private Stage stage;
  private RuntimeProcess runtime;

  @BeforeEach
  void start() throws Exception {
    stage = new Stage(Files.createDirectory(dir.resolve("stage")));
    runtime = stage.runtime();
  }

  @AfterEach
  void end() throws Exception {
    stage.close();
  }

  private static ManagedChannel channel(
      PodUnderTest pod, Authority trusted, Authority.@Nullable Written own) throws Exception {
    SslContextBuilder tls = GrpcSslContexts.forClient().trustManager(trusted.file().toFile());
    if (own != null) {
      tls.keyManager(own.certificate().toFile(), own.key().toFile());
    }
    return NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort())
        .sslContext(tls.build())
        .disableRetry()
        .build();
  }

  private static GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub inference(
      ManagedChannel channel) {
    return GRPCInferenceServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS);
  }

  @Test
  void callersShowCertificatesAndPodsTrustOneAnother() throws Exception {
    Authority pods = new Authority(dir, "pods");
    Authority callers = new Authority(dir, "callers");
    Authority.Written pod = pods.write("pod", pods.sign("pod"));
    String[] tls = {
      "MM_TLS_KEY_CERT_PATH", pod.certificate().toString(),
      "MM_TLS_PRIVATE_KEY_PATH", pod.key().toString(),
      "MM_TLS_CLIENT_AUTH", "REQUIRE",
      "MM_TLS_TRUST_CERT_PATH", callers.file().toString(),
      "MM_INTERNAL_TRUST_CERTS", pods.file().toString()
    };
    PodUnderTest one = stage.pod("tls", runtime, tls);
    PodUnderTest two = stage.pod("tls", stage.runtime(), tls);
    Authority.Written caller = callers.write("caller", callers.sign("caller"));
    ManagedChannel toOne = channel(one, pods, caller);
    ManagedChannel toTwo = channel(two, pods, caller);
    ManagedChannel stranger = channel(one, pods, null);
    try {
      var unused =
          ModelMeshGrpc.newBlockingStub(toOne)
              .withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS)
              .registerModel(
                  RegisterModelRequest.newBuilder()
                      .setModelId("m")
                      .setModelInfo(ModelInfo.newBuilder().setType("test").setPath("p"))
                      .setLoadNow(true)
                      .setSync(true)
                      .build());
      assertEquals("m", inference(toOne).modelInfer(PodUnderTest.request("m")).getModelName());
      // One of the two has to send the call on.
      assertEquals("m", inference(toTwo).modelInfer(PodUnderTest.request("m")).getModelName());
      assertTrue((one.metrics() + two.metrics()).contains("\norlop_hops_total 1\n"), one.metrics());
      StatusRuntimeException turnedAway =
          assertThrows(
              StatusRuntimeException.class,
              () -> inference(stranger).modelInfer(PodUnderTest.request("m")));
      assertEquals(Status.Code.UNAVAILABLE, turnedAway.getStatus().getCode());
      assertThrows(
          StatusRuntimeException.class,
          () -> one.inference().modelInfer(PodUnderTest.request("m")));
    } finally {
      List.of(toOne, toTwo, stranger).forEach(ManagedChannel::shutdownNow);
    }
  }

  @Test
  void aCallerMayShowACertificateButNotAnUnknownOnes() throws Exception {
    Authority pods = new Authority(dir, "pods");
    Authority old = new Authority(dir, "old");
    Authority next = new Authority(dir, "next");
    Authority.Written own = pods.write("pod", pods.sign("pod"));
    PodUnderTest pod =
        stage.pod(
            "optional",
            runtime,
            "MM_TLS_KEY_CERT_PATH",
            own.certificate().toString(),
            "MM_TLS_PRIVATE_KEY_PATH",
            own.key().toString(),
            "MM_TLS_CLIENT_AUTH",
            "OPTIONAL",
            "MM_TLS_TRUST_CERT_PATH",
            old.file() + "," + next.file(),
            "MM_INTERNAL_TRUST_CERTS",
            pods.file().toString(),
            "MM_AUTO_REGISTER_MODEL",
            "[{\"modelId\":\"m\",\"modelInfo\":{\"type\":\"test\",\"path\":\"p\"}}]");
    Authority.Written known = next.write("known", next.sign("known"));
    ManagedChannel without = channel(pod, pods, null);
    ManagedChannel with = channel(pod, pods, known);
    ManagedChannel withOld = channel(pod, pods, old.write("older", old.sign("older")));
    ManagedChannel stranger = pushing(pod, pods, new Authority(dir, "strangers").sign("stranger"));
    try {
      for (ManagedChannel one : List.of(without, with, withOld)) {
        assertEquals("m", inference(one).modelInfer(PodUnderTest.request("m")).getModelName());
      }
      StatusRuntimeException turnedAway =
          assertThrows(
              StatusRuntimeException.class,
              () -> inference(stranger).modelInfer(PodUnderTest.request("m")));
      assertEquals(Status.Code.UNAVAILABLE, turnedAway.getStatus().getCode());
    } finally {
      List.of(without, with, withOld, stranger).forEach(ManagedChannel::shutdownNow);
    }
  }

  /** A client that shows its certificate although the server names other authorities. */
  private static ManagedChannel pushing(PodUnderTest pod, Authority trusted, X509Bundle own)
      throws Exception {
    X509ExtendedKeyManager only =
        new X509ExtendedKeyManager() {
          @Override
          public String chooseEngineClientAlias(
              String[] types, Principal[] issuers, SSLEngine engine) {
            return "own";
          }

          @Override
          public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) {
            return "own";
          }

          @Override
          public X509Certificate[] getCertificateChain(String alias) {
            return own.getCertificatePath();
          }

          @Override
          public PrivateKey getPrivateKey(String alias) {
            return own.getKeyPair().getPrivate();
          }

          @Override
          public String[] getClientAliases(String type, Principal[] issuers) {
            return new String[] {"own"};
          }

          @Override
          public String[] getServerAliases(String type, Principal[] issuers) {
            return new String[0];
          }

          @Override
          public @Nullable String chooseServerAlias(
              String type, Principal[] issuers, Socket socket) {
            return null;
          }
        };
    return NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort())
        .sslContext(
            GrpcSslContexts.forClient()
                .trustManager(trusted.file().toFile())
                .keyManager(only)
                .build())
        .disableRetry()
        .build();
  }

  @Test
  void aPodIsNotReadyBeforeWhatItMustHaveIsLoaded() throws Exception {
    Map<String, String> environment = stage.environment("static");
    environment.put("INTERNAL_GRPC_PORT", String.valueOf(runtime.port()));
    environment.put(
        "MM_AUTO_REGISTER_MODELS",
        "[{\"modelId\":\"m\",\"modelInfo\":{\"type\":\"test\",\"path\":\"p?loadMs=3000\"},"
            + "\"ensureLoaded\":true}]");
    PodUnderTest pod = stage.start(environment);
    Stage.await("the load to begin", () -> runtime.told("load m ") == 1);
    assertEquals(503, pod.probe("/ready"));
    assertEquals(ModelStatusInfo.ModelStatus.LOADED, pod.awaitReady().status("m").getStatus());
  }

  @Test
  void endsWithOneLineWhenThereIsNoEtcd() throws Exception {
    Map<String, String> environment = stage.environment("alone");
    String nobody = "http://127.0.0.1:" + Stage.freePort();
    environment.put("KV_STORE", "etcd:" + nobody);
    PodUnderTest pod = stage.start(environment);
    assertEquals(1, pod.exitStatus(60), pod.log());
    assertTrue(pod.log().contains("error: no etcd at [" + nobody + "]"), pod.log());
  }

  @Test
  void anObserverThatIsDeadDisturbsNobody() throws Exception {
    PodUnderTest pod =
        stage.pod(
            "observed",
            runtime,
            "MM_PAYLOAD_PROCESSORS",
            "http://127.0.0.1:" + Stage.freePort() + "/observe");
    var unused = pod.register("m", "p", true);
    for (int i = 0; i < 200; i++) {
      assertEquals("m", pod.inference().modelInfer(PodUnderTest.request("m")).getModelName());
    }
  }

  @Test
  void constraintsKeepAModelToOnePodAndAChangedFileMovesIt() throws Exception {
    Path file = dir.resolve("constraints.json");
    Files.writeString(file, "{\"test\":{\"required\":[\"left\"]}}");
    String[] constraints = {"MM_TYPE_CONSTRAINTS_PATH", file.toString()};
    RuntimeProcess beside = stage.runtime();
    PodUnderTest left = stage.pod("ruled", runtime, with(constraints, "MM_LABELS", "left,any"));
    PodUnderTest right = stage.pod("ruled", beside, with(constraints, "MM_LABELS", "right"));
    var unused = right.register("m", "p", true);
    for (int i = 0; i < 50; i++) {
      PodUnderTest pod = i % 2 == 0 ? left : right;
      assertEquals("m", pod.inference().modelInfer(PodUnderTest.request("m")).getModelName());
    }
    assertEquals(1, runtime.told("load m"));
    assertEquals(0, beside.told("load m"));
    assertEquals(1, left.status("m").getModelCopyInfosCount());
    Files.writeString(file, "{\"test\":{\"required\":[\"right\"]}}");
    Stage.await("the model to be loaded where it may be now", () -> beside.told("load m") == 1);
    Stage.await("it to leave where it may not", () -> runtime.told("unload m") == 1);
    assertEquals("m", left.inference().modelInfer(PodUnderTest.request("m")).getModelName());
    assertEquals(ModelStatusInfo.ModelStatus.LOADED, left.status("m").getStatus());
  }

  private static String[] with(String[] pairs, String name, String value) {
    String[] all = java.util.Arrays.copyOf(pairs, pairs.length + 2);
    all[pairs.length] = name;
    all[pairs.length + 1] = value;
    return all;
  }

  @Test
  void aRunningMeshLogsItsCallsWhenToldTo() throws Exception {
    PodUnderTest pod =
        stage.pod("told", runtime, "MM_LOG_REQUEST_HEADERS", "{\"x-caller\":\"caller\"}");
    var unused = pod.register("m", "p", true);
    call(pod);
    assertFalse(pod.log().contains("model=m"), pod.log());
    stage.put("mm/orlop/told/config/log_each_invocation", "true");
    stage.put("mm/orlop/told/config/no_such_thing", "1");
    Stage.await(
        "calls to be logged",
        () -> {
          call(pod);
          return log(pod).contains("ModelInfer model=m code=OK ms=");
        });
    assertTrue(log(pod).contains(" x-caller=me"), log(pod));
    assertTrue(log(pod).contains("sets no_such_thing to '1', which changes nothing"), log(pod));
  }

  private static void call(PodUnderTest pod) {
    var answer = pod.inference("x-caller", "me").modelInfer(PodUnderTest.request("m"));
    assertEquals("m", answer.getModelName());
  }

  private static String log(PodUnderTest pod) {
    try {
      return pod.log();
    } catch (java.io.IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  @Test
  void theRuntimesContainerWaitsUntilThePodHasDrained() throws Exception {
    int port = Stage.freePort();
    PodUnderTest pod =
        stage.pod(
            "stopping",
            runtime,
            "MM_PRESTOP_WAIT_PORT",
            String.valueOf(port),
            "SHUTDOWN_TIMEOUT_MS",
            "30000");
    var unused = pod.register("m", "p?runMs=5000", true);
    try (HttpClient http = HttpClient.newHttpClient()) {
      var call =
          CompletableFuture.supplyAsync(
              () -> pod.inference().modelInfer(PodUnderTest.request("m")));
      Stage.await("the call to run", () -> runtime.told("ModelInfer header=m inside=m") == 1);
      CompletableFuture<HttpResponse<String>> hook =
          http.sendAsync(
              HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/prestop")).build(),
              HttpResponse.BodyHandlers.ofString());
      pod.terminate();
      assertEquals("drained\n", hook.get(60, TimeUnit.SECONDS).body());
      assertTrue(call.isDone(), "the call still runs");
      assertEquals("m", call.get().getModelName());
      assertEquals(1, runtime.told("unload m"), "the runtime still holds the model");
      assertNotEquals(-1, pod.exitStatus(60));
    }
  }
}
