package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.util.concurrent.ListenableFuture;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelReadyRequest;
import inference.ServerReadyRequest;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.stub.ClientCalls;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.LoadRequest;
import orlop.api.PodControlGrpc;
import orlop.placement.Fault;
import orlop.runtime.InferenceException;
import orlop.runtime.ModelLoadException;

/** What callers are told, and what the mesh does, when something is wrong. */
@Tag("slow")
class FailureTest {

  private static String text(Status status) {
    return String.valueOf(status.getDescription());
  }

  private static ListenableFuture<ModelInferResponse> begin(
      TestMesh mesh, ModelInferRequest request) {
    return GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)))
        .withDeadlineAfter(60, TimeUnit.SECONDS)
        .modelInfer(request);
  }

  private static ListenableFuture<ModelInferResponse> begin(TestMesh mesh, int pod, String model) {
    return GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(pod)))
        .withDeadlineAfter(60, TimeUnit.SECONDS)
        .modelInfer(TestMesh.request(model));
  }

  @Test
  void anUnknownModelIsNamed() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      Status status =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("nope")));
      assertEquals(Status.Code.NOT_FOUND, status.getCode());
      assertTrue(text(status).contains("'nope'"), text(status));
      Status unnamed =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("")));
      assertEquals(Status.Code.INVALID_ARGUMENT, unnamed.getCode());
      assertTrue(text(unnamed).contains("mm-model-id"), text(unnamed));
    }
  }

  @Test
  void bytesThatAreNoRequestAreTheCallersMistake() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      for (byte[] junk : new byte[][] {{0x0a, 0x55}, {0x0a, 1, 'm', 0x2a, 2, 0x0a, 9}}) {
        Status status =
            TestMesh.failure(
                () ->
                    ClientCalls.blockingUnaryCall(
                        mesh.channel(mesh.pod(0)), Bytes.INFER, CallOptions.DEFAULT, junk));
        assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode(), text(status));
      }
    }
  }

  @Test
  void whatTheRuntimeSaysReachesTheCallerOverAHop() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int holder = mesh.holder("m");
      String why = "input 'x' of model 'm' has shape [2], expected [3]";
      mesh.runtimes
          .get(holder)
          .inferenceFailures
          .put("m", new InferenceException(InferenceException.Code.INVALID_ARGUMENT, why));
      for (int pod = 0; pod < 2; pod++) {
        ServingPod entry = mesh.pod(pod);
        Status status =
            TestMesh.failure(() -> mesh.client(entry).modelInfer(TestMesh.request("m")));
        assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode());
        assertEquals(why, status.getDescription());
      }
    }
  }

  @Test
  void aBrokenModelIsRefusedWithItsCause() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.runtimes
          .getFirst()
          .loadFailures
          .put(
              "m",
              new ModelLoadException(ModelLoadException.Reason.BAD_MODEL, "not a model", null));
      for (int i = 0; i < 3; i++) {
        Status status =
            TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
        assertEquals(Status.Code.FAILED_PRECONDITION, status.getCode(), text(status));
        assertTrue(text(status).contains("not a model"), text(status));
      }
      assertEquals(1, mesh.loads());
      assertEquals(0, mesh.store.open.get());
    }
  }

  @Test
  void aLoadThatFailsInOnePodIsTriedInTheNext() throws Exception {
    try (TestMesh mesh = new TestMesh(3)) {
      mesh.register("m");
      for (int i = 0; i < 2; i++) {
        mesh.runtimes
            .get(i)
            .loadFailures
            .put(
                "m",
                new ModelLoadException(ModelLoadException.Reason.OUT_OF_MEMORY, "no memory", null));
      }
      // The pod without a failure serves the first call, whichever pods were tried before it.
      assertEquals("m", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")).getModelName());
      assertEquals(2, mesh.holder("m"));
    }
  }

  @Test
  void aLoadThatFailsEverywhereIsTriedInAtMostThreePods() throws Exception {
    try (TestMesh mesh = new TestMesh(4)) {
      mesh.register("m");
      for (FakeRuntime runtime : mesh.runtimes) {
        runtime.loadFailures.put(
            "m",
            new ModelLoadException(ModelLoadException.Reason.OUT_OF_MEMORY, "no memory", null));
      }
      Status status =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, status.getCode(), text(status));
      assertTrue(text(status).contains("no memory"), text(status));
      assertTrue(mesh.loads() <= 3, mesh.loads() + " loads");
    }
  }

  @Test
  void whatKindOfFailureItIsDecidesTheCode() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      for (Fault fault : Fault.values()) {
        mesh.register(fault.name());
        mesh.store.failures.put(
            fault.name(), new ModelStore.StoreException(fault, "it is " + fault, new Exception()));
        for (int i = 0; i < 2; i++) {
          Status status =
              TestMesh.failure(
                  () -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request(fault.name())));
          Status.Code expected =
              switch (fault) {
                case PERMANENT, CONFIGURATION -> Status.Code.FAILED_PRECONDITION;
                case CAPACITY -> Status.Code.RESOURCE_EXHAUSTED;
                case TRANSIENT -> Status.Code.UNAVAILABLE;
              };
          assertEquals(expected, status.getCode(), text(status));
          assertTrue(text(status).contains("it is " + fault), text(status));
        }
      }
    }
  }

  @Test
  void aBrokenModelCostsTheMeshOneLoadForEachPause() throws Exception {
    long pauseMs = 400;
    try (TestMesh mesh = new TestMesh(3, config -> config.loadFailureExpiryMs(pauseMs))) {
      mesh.register("m");
      for (FakeRuntime runtime : mesh.runtimes) {
        runtime.loadFailures.put(
            "m", new ModelLoadException(ModelLoadException.Reason.BAD_MODEL, "torn", null));
      }
      long startNs = System.nanoTime();
      for (int i = 0; mesh.loads() < 4; i++) {
        ServingPod pod = mesh.pod(i % 3);
        TestMesh.failure(() -> mesh.client(pod).modelInfer(TestMesh.request("m")));
        long tookMs = (System.nanoTime() - startNs) / 1_000_000;
        // A pause is shorter by a share of up to a quarter.
        long most = 1 + tookMs / (pauseMs * 3 / 4);
        assertTrue(mesh.loads() <= most, mesh.loads() + " loads in " + tookMs + " ms");
        assertTrue(tookMs < 60_000, "the failure does not expire");
      }
    }
  }

  @Test
  void anotherSettingMakesAFailedModelLoadAtOnce() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.store.failures.put(
          "m",
          new ModelStore.StoreException(Fault.CONFIGURATION, "access denied", new Exception()));
      TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      mesh.store.failures.clear();
      Status paused =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      assertTrue(text(paused).contains("access denied"), text(paused));
      mesh.pod(0).retryFailures();
      TestMesh.await("it is forgotten", () -> mesh.registry.view().copies("m").isEmpty());
      assertEquals("m", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")).getModelName());
    }
  }

  @Test
  void aModelOfAnUnknownTypeIsRefusedByName() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.registry.createModel(orlop.placement.Model.of("m", "sklearn", "fake:m", "", 1));
      Status status =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.FAILED_PRECONDITION, status.getCode());
      assertTrue(text(status).contains("'sklearn'") && text(status).contains("fake"), text(status));
    }
  }

  @Test
  void aModelLargerThanThePodIsRefusedAtOnce() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.store.sizes.put("m", 2_000_000L);
      Status status =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, status.getCode(), text(status));
      assertEquals(0, mesh.loads());
    }
  }

  @Test
  void aModelThatIsMeasuredLargerThanThePodServesAloneWhenItsPredictionFits() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.register("other");
      FakeRuntime runtime = mesh.runtimes.getFirst();
      runtime.sizes.put("m", 3_000_000L);
      runtime.predictions.put("m", 900_000L);
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("other"));
      for (int i = 0; i < 5; i++) {
        mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      }
      assertEquals(2, mesh.loads());
      TestMesh.await("the other to leave", () -> mesh.pod(0).host().loadedCount() == 1);
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("other"));
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      assertEquals(4, mesh.loads());
    }
  }

  @Test
  void callsGoOnWhenThePodThatHeldTheModelDies() throws Exception {
    try (TestMesh mesh = new TestMesh(3)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int holder = mesh.holder("m");
      int entry = (holder + 1) % 3;
      mesh.client(mesh.pod(entry)).modelInfer(TestMesh.request("m"));
      mesh.pod(holder).crash();
      assertTrue(mesh.registry.view().pod("pod-" + holder) != null, "the registry still lists it");
      for (int i = 0; i < 10; i++) {
        assertEquals(
            "m", mesh.client(mesh.pod(entry)).modelInfer(TestMesh.request("m")).getModelName());
      }
      // Only the first of the ten met the dead pod.
      assertEquals(1, mesh.pod(entry).stats().retries());
    }
  }

  @Test
  void aCallThatRunsInADyingPodIsRunInAnother() throws Exception {
    try (TestMesh mesh = new TestMesh(3)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int holder = mesh.holder("m");
      mesh.runtimes.get(holder).inferGate = new CountDownLatch(1);
      var answer = begin(mesh, (holder + 1) % 3, "m");
      TestMesh.await("the inference", () -> mesh.runtimes.get(holder).running.get() == 1);
      mesh.pod(holder).crash();
      assertEquals("m", answer.get(60, TimeUnit.SECONDS).getModelName());
    }
  }

  @Test
  void anUnloadWaitsForTheCallsThatUseTheModel() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      FakeRuntime runtime = mesh.runtimes.getFirst();
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      CountDownLatch gate = new CountDownLatch(1);
      runtime.inferGate = gate;
      var answer = begin(mesh, 0, "m");
      TestMesh.await("the inference", () -> runtime.running.get() == 1);
      mesh.registry.deleteModel("m");
      // The copy is on its way out when a further call is refused; the running one is untouched.
      TestMesh.await("the model to be unknown", () -> mesh.registry.view().model("m") == null);
      assertEquals(1, runtime.loaded.get());
      gate.countDown();
      assertEquals("m", answer.get(60, TimeUnit.SECONDS).getModelName());
      TestMesh.await("the unload", () -> runtime.loaded.get() == 0);
      assertEquals(0, runtime.usedAfterClose.get());
    }
  }

  @Test
  void overloadIsRefusedAtOnce() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.compute(1, 1))) {
      mesh.register("m");
      FakeRuntime runtime = mesh.runtimes.getFirst();
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      CountDownLatch gate = new CountDownLatch(1);
      runtime.inferGate = gate;
      var first = begin(mesh, 0, "m");
      TestMesh.await("the inference", () -> runtime.running.get() == 1);
      var second = begin(mesh, 0, "m");
      TestMesh.await("the queue", () -> mesh.pod(0).queuedInferences() == 1);
      io.grpc.StatusRuntimeException refusal =
          org.junit.jupiter.api.Assertions.assertThrows(
              io.grpc.StatusRuntimeException.class,
              () -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      Status status = refusal.getStatus();
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, status.getCode());
      assertTrue(text(status).contains("computeQueue is 1"), text(status));
      Metadata hint = Objects.requireNonNull(refusal.getTrailers());
      assertEquals("100", hint.get(Named.ascii("grpc-retry-pushback-ms")));
      gate.countDown();
      assertEquals("m", first.get().getModelName());
      assertEquals("m", second.get().getModelName());
      assertEquals(1, mesh.pod(0).stats().refused());
    }
  }

  @Test
  void oneSlowModelLeavesRoomInTheQueueForOthers() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.compute(1, 8))) {
      mesh.register("slow");
      mesh.register("other");
      FakeRuntime runtime = mesh.runtimes.getFirst();
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("slow"));
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("other"));
      CountDownLatch gate = new CountDownLatch(1);
      runtime.inferGate = gate;
      var slow = new java.util.ArrayList<ListenableFuture<ModelInferResponse>>();
      for (int i = 0; i < 20; i++) {
        slow.add(begin(mesh, 0, "slow"));
      }
      TestMesh.await("the queue", () -> mesh.pod(0).stats().refused() == 13);
      var other = begin(mesh, 0, "other");
      TestMesh.await("a place for the other", () -> mesh.pod(0).queuedInferences() == 7);
      gate.countDown();
      assertEquals("other", other.get(60, TimeUnit.SECONDS).getModelName());
    }
  }

  @Test
  void aModelDoesNotWaitForTheWholeLineOfASlowOne() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.compute(1, 64))) {
      mesh.register("slow");
      mesh.register("other");
      FakeRuntime runtime = mesh.runtimes.getFirst();
      var order = new java.util.concurrent.CopyOnWriteArrayList<String>();
      for (String model : java.util.List.of("slow", "other")) {
        runtime.functions.put(
            model,
            request -> {
              order.add(model);
              long endNs = System.nanoTime() + (model.equals("slow") ? 5_000_000 : 0);
              while (System.nanoTime() < endNs) {
                Thread.onSpinWait();
              }
              return ModelInferResponse.newBuilder().setModelName(model).build();
            });
        mesh.client(mesh.pod(0)).modelInfer(TestMesh.request(model));
      }
      order.clear();
      CountDownLatch gate = new CountDownLatch(1);
      runtime.inferGate = gate;
      var calls = new java.util.ArrayList<ListenableFuture<ModelInferResponse>>();
      for (int i = 0; i < 40; i++) {
        calls.add(begin(mesh, 0, "slow"));
      }
      TestMesh.await("the slow ones", () -> mesh.pod(0).queuedInferences() == 39);
      for (int i = 0; i < 5; i++) {
        calls.add(begin(mesh, 0, "other"));
      }
      TestMesh.await("the others", () -> mesh.pod(0).queuedInferences() == 44);
      gate.countDown();
      for (var call : calls) {
        call.get(60, TimeUnit.SECONDS);
      }
      assertTrue(order.lastIndexOf("other") < 10, order.toString());
    }
  }

  @Test
  void callsInFlightAreBoundedInNumberAndBytes() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.maxMessageBytes(10_000).inFlight(2, 10_000))) {
      mesh.register("m");
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.getFirst().loadGate = gate;
      mesh.register("n");
      var one = begin(mesh, 0, "m");
      TestMesh.await("the first", () -> mesh.pod(0).inFlight() == 1);
      ModelInferRequest big = withBytes("n", 9_960);
      Status bytes = TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(big));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, bytes.getCode());
      assertTrue(text(bytes).contains("maxInFlightBytes is 10000"), text(bytes));
      var two = begin(mesh, 0, "m");
      TestMesh.await("the second", () -> mesh.pod(0).inFlight() == 2);
      Status calls =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      assertTrue(text(calls).contains("maxInFlight is 2"), text(calls));
      gate.countDown();
      assertEquals("m", one.get().getModelName());
      assertEquals("m", two.get().getModelName());
      TestMesh.await("all to be given back", () -> mesh.pod(0).inFlight() == 0);
    }
  }

  @Test
  void callsThatWaitForOneColdModelLeaveRoomForOthers() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.inFlight(8, 100_000).maxMessageBytes(50_000))) {
      for (String model : List.of("hot", "cold", "large")) {
        mesh.register(model);
      }
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("hot"));
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.getFirst().loadGate = gate;
      var waiting = new java.util.ArrayList<ListenableFuture<ModelInferResponse>>();
      for (int i = 0; i < 6; i++) {
        waiting.add(begin(mesh, 0, "cold"));
      }
      TestMesh.await("six to wait", () -> mesh.pod(0).inFlight() == 6);
      Status seventh =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("cold")));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, seventh.getCode());
      assertTrue(text(seventh).contains("'cold', one may have 6"), text(seventh));
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("hot"));
      assertTrue(waiting.getLast().cancel(true));
      TestMesh.await("its place", () -> mesh.pod(0).inFlight() == 5);
      waiting.set(5, begin(mesh, 0, "cold"));
      gate.countDown();
      for (var call : waiting) {
        assertEquals("cold", call.get(60, TimeUnit.SECONDS).getModelName());
      }
      assertEquals(0, mesh.pod(0).modelsWaitedFor());
    }
  }

  @Test
  void requestsForOneColdModelLeaveBytesForOthers() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.inFlight(8, 40_000).maxMessageBytes(15_000))) {
      mesh.register("cold");
      mesh.register("other");
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.getFirst().loadGate = gate;
      var waiting = new java.util.ArrayList<ListenableFuture<ModelInferResponse>>();
      for (int i = 1; i <= 2; i++) {
        waiting.add(begin(mesh, withBytes("cold", 12_000)));
        int calls = i;
        TestMesh.await("it to wait", () -> mesh.pod(0).inFlight() == calls);
      }
      Status third =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(withBytes("cold", 12_000)));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, third.getCode());
      assertTrue(text(third).contains("one may have 30000"), text(third));
      waiting.add(begin(mesh, withBytes("other", 12_000)));
      gate.countDown();
      for (var call : waiting) {
        assertTrue(!call.get(60, TimeUnit.SECONDS).getModelName().isEmpty());
      }
    }
  }

  private static ModelInferRequest withBytes(String model, int bytes) {
    return TestMesh.request(model).toBuilder()
        .addRawInputContents(com.google.protobuf.ByteString.copyFrom(new byte[bytes]))
        .build();
  }

  @Test
  void aCallWhoseDeadlineHasPassedIsNotRun() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.compute(1, 10))) {
      mesh.register("m");
      FakeRuntime runtime = mesh.runtimes.getFirst();
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      CountDownLatch gate = new CountDownLatch(1);
      runtime.inferGate = gate;
      var first = begin(mesh, 0, "m");
      TestMesh.await("the inference", () -> runtime.running.get() == 1);
      Status late =
          TestMesh.failure(
              () ->
                  mesh.client(mesh.pod(0))
                      .withDeadlineAfter(200, TimeUnit.MILLISECONDS)
                      .modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, late.getCode());
      TestMesh.await("the call to be given up", () -> mesh.pod(0).inFlight() == 1);
      gate.countDown();
      first.get();
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      assertEquals(3, runtime.inferences.get());
    }
  }

  @Test
  void aCallDoesNotWaitForALoadBeyondItsDeadline() throws Exception {
    try (TestMesh mesh = new TestMesh(2, b -> b.maxWaitMs(300))) {
      mesh.register("m");
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.forEach(runtime -> runtime.loadGate = gate);
      var stub = GRPCInferenceServiceGrpc.newBlockingStub(mesh.channel(mesh.pod(0)));
      // The caller gave none, so the pod's own bound holds.
      Status status = TestMesh.failure(() -> stub.modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, status.getCode(), text(status));
      TestMesh.await(
          "nothing in flight", () -> mesh.pod(0).inFlight() + mesh.pod(1).inFlight() == 0);
      gate.countDown();
    }
  }

  @Test
  void aCancelledCallStopsTheInferenceBehindAHop() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int holder = mesh.holder("m");
      FakeRuntime runtime = mesh.runtimes.get(holder);
      runtime.inferGate = new CountDownLatch(1);
      Context.CancellableContext context = Context.current().withCancellation();
      ListenableFuture<ModelInferResponse> answer =
          context.call(() -> begin(mesh, 1 - holder, "m"));
      TestMesh.await("the inference", () -> runtime.running.get() == 1);
      context.cancel(null);
      TestMesh.await("the end of the inference", () -> runtime.cancelled.get() == 1);
      TestMesh.await(
          "nothing in flight", () -> mesh.pod(0).inFlight() + mesh.pod(1).inFlight() == 0);
      assertTrue(answer.isDone());
    }
  }

  @Test
  void aDrainingPodServesWhatItHoldsAndLoadsNothingNew() throws Exception {
    try (TestMesh mesh = new TestMesh(2, b -> b.labels(Set.of("x")))) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int holder = mesh.holder("m");
      ServingPod draining = mesh.pod(holder);
      draining.drain();
      TestMesh.await(
          "the announcement",
          () -> Objects.requireNonNull(mesh.registry.view().pod(draining.id())).draining());
      assertEquals("m", mesh.client(draining).modelInfer(TestMesh.request("m")).getModelName());
      assertFalse(
          mesh.client(draining).serverReady(ServerReadyRequest.getDefaultInstance()).getReady());
      assertEquals(
          ServingStatus.NOT_SERVING,
          HealthGrpc.newBlockingStub(mesh.channel(draining))
              .check(HealthCheckRequest.getDefaultInstance())
              .getStatus());
      mesh.register("n");
      assertEquals("n", mesh.client(draining).modelInfer(TestMesh.request("n")).getModelName());
      assertEquals(1 - holder, mesh.holder("n"));
    }
  }

  @Test
  void closingFinishesTheCallsInFlightAndLeavesTheMesh() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int holder = mesh.holder("m");
      FakeRuntime runtime = mesh.runtimes.get(holder);
      CountDownLatch gate = new CountDownLatch(1);
      runtime.inferGate = gate;
      var answer = begin(mesh, 1 - holder, "m");
      TestMesh.await("the inference", () -> runtime.running.get() == 1);
      Thread closing = Thread.ofVirtual().start(mesh.pod(holder)::close);
      TestMesh.await("the pod to leave", () -> mesh.registry.view().pod("pod-" + holder) == null);
      assertEquals(1, runtime.loaded.get());
      gate.countDown();
      assertEquals("m", answer.get(60, TimeUnit.SECONDS).getModelName());
      closing.join();
      assertEquals(0, runtime.loaded.get());
      assertEquals(0, runtime.usedAfterClose.get());
      assertTrue(mesh.registry.view().copies("m").isEmpty());
      // And the other pod takes over.
      assertEquals(
          "m", mesh.client(mesh.pod(1 - holder)).modelInfer(TestMesh.request("m")).getModelName());
    }
  }

  @Test
  void aSecondRequestMessageEndsTheCall() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      ClientCall<byte[], byte[]> call =
          mesh.channel(mesh.pod(0)).newCall(Bytes.INFER, CallOptions.DEFAULT);
      var ended = new java.util.concurrent.CompletableFuture<Status>();
      call.start(
          new ClientCall.Listener<>() {
            @Override
            public void onClose(Status status, Metadata trailers) {
              ended.complete(status);
            }
          },
          new Metadata());
      call.request(2);
      byte[] message = TestMesh.request("m").toByteArray();
      call.sendMessage(message);
      call.sendMessage(message);
      call.halfClose();
      assertFalse(ended.get(60, TimeUnit.SECONDS).isOk());
      TestMesh.await("nothing in flight", () -> mesh.pod(0).inFlight() == 0);
      assertEquals(0, mesh.inferences());
    } catch (ExecutionException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void aLongNameThatIsNotAsciiStillGetsItsAnswer() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      String name = "\u4e2d\ud83d\ude80".repeat(1_500);
      Status infer =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request(name)));
      assertEquals(Status.Code.NOT_FOUND, infer.getCode(), text(infer));
      assertTrue(text(infer).contains("\u4e2d\ud83d\ude80\u4e2d"), text(infer));
      ModelReadyRequest ready = ModelReadyRequest.newBuilder().setName(name).build();
      Status asked = TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelReady(ready));
      assertEquals(Status.Code.NOT_FOUND, asked.getCode(), text(asked));
      LoadRequest load = LoadRequest.newBuilder().setModelId(name).build();
      Status controlled =
          TestMesh.failure(
              () -> PodControlGrpc.newBlockingStub(mesh.channel(mesh.pod(0))).load(load));
      assertEquals(Status.Code.NOT_FOUND, controlled.getCode(), text(controlled));
    }
  }

  @Test
  void aModelThatFailedForGoodSomewhereIsNotCalledUnavailable() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      mesh.runtimes
          .get(0)
          .loadFailures
          .put("m", new ModelLoadException(ModelLoadException.Reason.INTERNAL, "for now", null));
      mesh.runtimes
          .get(1)
          .loadFailures
          .put("m", new ModelLoadException(ModelLoadException.Reason.BAD_MODEL, "for good", null));
      LoadRequest load = LoadRequest.newBuilder().setModelId("m").setWait(true).build();
      TestMesh.failure(() -> PodControlGrpc.newBlockingStub(mesh.channel(mesh.pod(1))).load(load));
      TestMesh.await("the news", () -> !mesh.registry.view().copies("m").isEmpty());
      for (int i = 0; i < 2; i++) {
        Status status =
            TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
        assertEquals(Status.Code.FAILED_PRECONDITION, status.getCode(), text(status));
      }
    }
  }
}
