package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import inference.ModelReadyRequest;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import orlop.api.Headers;
import orlop.placement.CopyState;
import orlop.placement.Event;
import orlop.placement.Eviction;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.placement.Pod;
import orlop.registry.PodSession;

/** How calls find their model: three pods in one JVM, real sockets between them. */
class RoutingTest {

  private static String ran(ModelInferResponse response) {
    return response.getParametersOrThrow("ran").getStringParam();
  }

  @Test
  void aColdModelIsLoadedOnceAndServedFromThenOnByThePodThatHoldsIt() throws Exception {
    try (TestMesh mesh = new TestMesh(3)) {
      mesh.register("m");
      assertEquals("m", ran(mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"))));
      int holder = mesh.holder("m");
      long hitsBefore = mesh.pod(holder).stats().localHits();
      for (int i = 0; i < 5; i++) {
        ModelInferResponse answer = mesh.client(mesh.pod(holder)).modelInfer(TestMesh.request("m"));
        assertEquals(List.of(1.5f, -2f), answer.getOutputs(0).getContents().getFp32ContentsList());
      }
      assertEquals(hitsBefore + 5, mesh.pod(holder).stats().localHits());
      assertEquals(1, mesh.loads());
    }
  }

  @Test
  void aModelThatLeavesOnePodWhileAnotherOneDiesIsLoadedElsewhere() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      Model model = Objects.requireNonNull(mesh.registry.view().model("m"));
      assertTrue(mesh.pod(1).host().want(model, 1, Event.Purpose.ONLINE, null));
      TestMesh.await("the copy", () -> mesh.loadedCopies("m") == 1);
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.get(1).closeGate = gate;
      assertTrue(mesh.pod(1).host().letGo("m"));
      TestMesh.await("the copy to leave", () -> mesh.loadedCopies("m") == 0);
      Pod leaves = Objects.requireNonNull(mesh.registry.view().pod("pod-1"));
      // What the mesh knows is a moment old: of the first pod's copy, and of a pod that has died.
      try (PodSession before = mesh.registry.join(leaves);
          PodSession dead = mesh.registry.join(at("pod-9", deadAddress()))) {
        for (PodSession session : List.of(before, dead)) {
          session.publish("m", new CopyState.Loaded(Memory.ram(1_000), 1), 1);
        }
        assertEquals("m", ran(mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"))));
        assertEquals(1, mesh.runtimes.getFirst().loads.get());
      } finally {
        gate.countDown();
      }
    }
  }

  private static Pod at(String id, String address) {
    Memory room = Memory.ram(1_000_000);
    return new Pod(id, address, "", Set.of(), room, Memory.NONE, 0, 0, false, 1, "test");
  }

  /** Where nobody listens any more. */
  private static String deadAddress() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return "127.0.0.1:" + socket.getLocalPort();
    }
  }

  @Test
  void aCallThatArrivesElsewhereTakesOneHop() throws Exception {
    try (TestMesh mesh = new TestMesh(3)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int holder = mesh.holder("m");
      int other = (holder + 1) % 3;
      long hops = mesh.pod(other).stats().hops();
      assertEquals(
          "m", mesh.client(mesh.pod(other)).modelInfer(TestMesh.request("m")).getModelName());
      assertEquals(hops + 1, mesh.pod(other).stats().hops());
      assertEquals(0, mesh.pod(holder).stats().hops());
      assertEquals(1, mesh.loads());
    }
  }

  @Test
  void aThousandCallersOfAColdModelCauseOneLoad() throws Exception {
    try (TestMesh mesh = new TestMesh(3)) {
      mesh.register("m");
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.forEach(runtime -> runtime.loadGate = gate);
      int platformThreads = Thread.getAllStackTraces().size();
      List<CompletableFuture<ModelInferResponse>> answers = new ArrayList<>();
      for (int i = 0; i < 1_000; i++) {
        answers.add(infer(mesh, i % 3));
      }
      TestMesh.await("the load", () -> mesh.loads() == 1);
      TestMesh.await(
          "all calls to wait",
          () -> mesh.pods.stream().mapToLong(p -> p.stats().misses()).sum() == 1_000);
      assertTrue(
          Thread.getAllStackTraces().size() < platformThreads + 50,
          "calls that wait hold platform threads");
      gate.countDown();
      for (CompletableFuture<ModelInferResponse> answer : answers) {
        assertEquals("m", answer.get(60, TimeUnit.SECONDS).getModelName());
      }
      assertEquals(1, mesh.loads());
      assertEquals(1_000, mesh.inferences());
    }
  }

  @Test
  void callsThatWaitForAColdModelDoNotHoldUpHotOnes() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("hot");
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("hot"));
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.getFirst().loadGate = gate;
      List<CompletableFuture<ModelInferResponse>> cold = new ArrayList<>();
      for (int i = 0; i < 5_000; i++) {
        cold.add(infer(mesh, 0));
      }
      TestMesh.await("all to wait", () -> mesh.pod(0).inFlight() == 5_000);
      for (int i = 0; i < 100; i++) {
        mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("hot"));
      }
      assertTrue(cold.stream().noneMatch(CompletableFuture::isDone));
      gate.countDown();
      for (CompletableFuture<ModelInferResponse> answer : cold) {
        assertEquals("m", answer.get(60, TimeUnit.SECONDS).getModelName());
      }
      assertEquals(2, mesh.loads());
    }
  }

  private static CompletableFuture<ModelInferResponse> infer(TestMesh mesh, int pod) {
    CompletableFuture<ModelInferResponse> answer = new CompletableFuture<>();
    GRPCInferenceServiceGrpc.newStub(mesh.channel(mesh.pod(pod)))
        .modelInfer(
            TestMesh.request("m"),
            new io.grpc.stub.StreamObserver<>() {
              @Override
              public void onNext(ModelInferResponse value) {
                answer.complete(value);
              }

              @Override
              public void onError(Throwable t) {
                answer.completeExceptionally(t);
              }

              @Override
              public void onCompleted() {}
            });
    return answer;
  }

  @Test
  void theLeastRecentlyUsedModelLeavesWhenThePodIsFull() throws Exception {
    // By recency alone: the first load takes longest, which makes its model worth more.
    try (TestMesh mesh = new TestMesh(1, b -> b.evictionPolicy(Eviction.LRU))) {
      mesh.runtimes.getFirst().defaultBytes = 300_000;
      mesh.store.defaultBytes = 300_000;
      for (int i = 0; i < 6; i++) {
        mesh.register("m" + i);
        mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m" + i));
      }
      TestMesh.await("the evictions", () -> mesh.runtimes.getFirst().loaded.get() <= 3);
      assertEquals(3, mesh.pod(0).stats().evictions());
      TestMesh.await("m5 to be published", () -> mesh.loadedCopies("m5") == 1);
      TestMesh.await("m0 to be withdrawn", () -> mesh.registry.view().copies("m0").isEmpty());
      TestMesh.await("the files to be let go", () -> mesh.store.open.get() == 3);
      assertEquals(0, mesh.runtimes.getFirst().usedAfterClose.get());
    }
  }

  @Test
  void anAliasLeadsToItsModelAndNamesTheAnswer() throws Exception {
    try (TestMesh mesh = new TestMesh(3)) {
      mesh.register("m-v1");
      mesh.alias("m", "m-v1");
      for (int i = 0; i < 3; i++) {
        ModelInferResponse answer = mesh.client(mesh.pod(i)).modelInfer(TestMesh.request("m"));
        assertEquals("m", answer.getModelName());
        assertEquals("m-v1", ran(answer));
        assertEquals(
            "m",
            mesh.client(mesh.pod(i))
                .modelMetadata(ModelMetadataRequest.newBuilder().setName("m").build())
                .getName());
      }
      assertEquals(1, mesh.loads());
    }
  }

  @Test
  void headersNameTheModelBeforeTheMessageDoes() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m-v1");
      mesh.register("größe");
      mesh.alias("m", "m-v1");
      for (int i = 0; i < 2; i++) {
        ServingPod pod = mesh.pod(i);
        ModelInferResponse byId =
            mesh.client(pod, Map.of(Headers.MODEL_ID, "m-v1"))
                .modelInfer(TestMesh.request("ignored"));
        assertEquals("m-v1", byId.getModelName());
        ModelInferResponse byAlias =
            mesh.client(pod, Map.of(Headers.VMODEL_ID, "m")).modelInfer(TestMesh.request(""));
        assertEquals("m", byAlias.getModelName());
        assertEquals("m-v1", ran(byAlias));
        ModelInferResponse byBoth =
            mesh.client(pod, Map.of(Headers.MODEL_ID, "m-v1", Headers.VMODEL_ID, "m"))
                .modelInfer(TestMesh.request(""));
        assertEquals("m", byBoth.getModelName());
        ModelInferResponse madeUp =
            mesh.client(pod, Map.of(Headers.MODEL_ID, "m-v1", Headers.VMODEL_ID, "no-alias"))
                .modelInfer(TestMesh.request(""));
        assertEquals("m-v1", madeUp.getModelName());
        Metadata binary = new Metadata();
        binary.put(
            Metadata.Key.of(Headers.MODEL_ID + "-bin", Metadata.BINARY_BYTE_MARSHALLER),
            "größe".getBytes(StandardCharsets.UTF_8));
        ModelInferResponse byBytes =
            mesh.client(pod)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(binary))
                .modelInfer(TestMesh.request("ignored"));
        assertEquals("größe", byBytes.getModelName());
      }
    }
  }

  @Test
  void aForwardedCallNeverTravelsOn() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.labels(Set.of("here")))) {
      ServingPod other = mesh.add(b -> b);
      mesh.register("m", Set.of("here"));
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      StatusRuntimeException refusal =
          assertThrows(
              StatusRuntimeException.class,
              () ->
                  mesh.client(other, Map.of(Headers.FORWARDED_BY, "pod-9", Headers.MODEL_ID, "m"))
                      .modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.UNAVAILABLE, refusal.getStatus().getCode());
      Metadata trailers = Objects.requireNonNull(refusal.getTrailers());
      assertEquals("not-here", trailers.get(Named.ascii(Headers.REFUSED)));
      assertEquals(0, other.stats().hops());
      // Without the mark the same call is sent on.
      assertEquals("m", mesh.client(other).modelInfer(TestMesh.request("m")).getModelName());
      assertEquals(1, other.stats().hops());
    }
  }

  @Test
  void aNameCannotBeginALineOfItsOwnInTheLog() throws Exception {
    List<String> lines = new CopyOnWriteArrayList<>();
    Handler handler =
        new Handler() {
          @Override
          public void publish(LogRecord line) {
            lines.add(line.getMessage());
          }

          @Override
          public void flush() {}

          @Override
          public void close() {}
        };
    Logger log = Logger.getLogger("orlop.calls");
    log.addHandler(handler);
    try (TestMesh mesh = new TestMesh(1, b -> b.logCalls(Set.of()))) {
      var request = TestMesh.request("no\nmodel=forged");
      Status unknown = TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(request));
      assertEquals(Status.Code.NOT_FOUND, unknown.getCode());
      TestMesh.await("its line", () -> !lines.isEmpty());
      assertTrue(lines.getFirst().contains("model=no model=forged code="), lines.getFirst());
    } finally {
      log.removeHandler(handler);
    }
  }

  @Test
  void modelReadyDoesNotLoad() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      var client = mesh.client(mesh.pod(0));
      assertTrue(client.modelReady(ModelReadyRequest.newBuilder().setName("m").build()).getReady());
      assertEquals(0, mesh.loads());
      Status unknown =
          TestMesh.failure(
              () -> client.modelReady(ModelReadyRequest.newBuilder().setName("nope").build()));
      assertEquals(Status.Code.NOT_FOUND, unknown.getCode());
      assertTrue(String.valueOf(unknown.getDescription()).contains("'nope'"));
    }
  }

  @Test
  void anUnregisteredModelIsLetGo() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      mesh.registry.deleteModel("m");
      TestMesh.await("the unload", () -> mesh.runtimes.getFirst().loaded.get() == 0);
      TestMesh.await("the withdrawal", () -> mesh.registry.view().copies("m").isEmpty());
      Status gone =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.NOT_FOUND, gone.getCode());
      assertEquals(0, mesh.pod(0).stats().evictions());
    }
  }

  @Test
  void aRequestOfSixteenMebibytesPassesOverAHop() throws Exception {
    try (TestMesh mesh = new TestMesh(2, b -> b.maxMessageBytes(20 << 20))) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int other = 1 - mesh.holder("m");
      ModelInferRequest big =
          TestMesh.request("m").toBuilder()
              .addRawInputContents(com.google.protobuf.ByteString.copyFrom(new byte[16 << 20]))
              .build();
      ModelInferResponse answer = mesh.client(mesh.pod(other)).modelInfer(big);
      assertEquals(16 << 20, answer.getRawOutputContents(0).size());
    }
  }

  @Test
  void aCompressedRequestIsServedHereAndOverAHop() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      for (ServingPod pod : mesh.pods) {
        ModelInferResponse answer =
            mesh.client(pod).withCompression("gzip").modelInfer(TestMesh.request("m"));
        assertEquals("m", answer.getModelName());
      }
    }
  }
}
