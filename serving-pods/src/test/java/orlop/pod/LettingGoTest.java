package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import orlop.api.Headers;

/** Calls that end badly, early or never leave nothing behind in the pod. */
class LettingGoTest {

  @Test
  void whatThrowsAnErrorIsAnsweredAndLeavesNothingInFlight() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.runtimes.getFirst().inferenceErrors.put("m", new LinkageError("no such symbol"));
      Status status =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.INTERNAL, status.getCode(), String.valueOf(status.getDescription()));
      assertTrue(
          String.valueOf(status.getDescription()).contains("no such symbol"),
          String.valueOf(status.getDescription()));
      TestMesh.await("nothing in flight", () -> mesh.pod(0).inFlight() == 0);
    }
  }

  @Test
  void aLoadThatHangsGivesItsPlaceToTheNext() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.loadingConcurrency(1).loadTimeoutMs(200))) {
      mesh.register("stuck");
      mesh.register("next");
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.getFirst().loadGate = gate;
      Status status =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("stuck")));
      assertEquals(Status.Code.UNAVAILABLE, status.getCode());
      assertTrue(
          String.valueOf(status.getDescription()).contains("within 200 ms"),
          String.valueOf(status.getDescription()));
      mesh.runtimes.getFirst().loadGate = new CountDownLatch(0);
      assertEquals(
          "next", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("next")).getModelName());
      gate.countDown();
    }
  }

  @Test
  void callersThatGaveUpAreNotKeptUntilTheLoadEnds() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.runtimes.getFirst().loadGate = new CountDownLatch(1);
      for (int i = 0; i < 2_000; i += 100) {
        List<ListenableFuture<ModelInferResponse>> calls = new ArrayList<>();
        for (int k = 0; k < 100; k++) {
          calls.add(
              GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)))
                  .modelInfer(TestMesh.request("m")));
        }
        TestMesh.await("calls in flight", () -> mesh.pod(0).inFlight() == 100);
        calls.forEach(call -> call.cancel(true));
        TestMesh.await("nothing in flight", () -> mesh.pod(0).inFlight() == 0);
      }
      TestMesh.await("waiting calls seen", () -> mesh.pod(0).waiting() > 0);
      // Two ticks later the figure is today's.
      int[] seen = new int[3];
      for (int i = 0; i < seen.length; i++) {
        TestMesh.failure(
            () ->
                mesh.client(mesh.pod(0))
                    .withDeadlineAfter(300, TimeUnit.MILLISECONDS)
                    .modelInfer(TestMesh.request("m")));
        seen[i] = mesh.pod(0).waiting();
      }
      assertTrue(seen[2] <= 512, () -> seen[2] + " calls are kept");
      assertEquals(1, mesh.loads());
    }
  }

  @Test
  void whatWaitsForATurnWhenThePodEndsLeavesNothingPinned() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.compute(1, 10).drainTimeoutMs(100))) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      mesh.runtimes.getFirst().inferGate = new CountDownLatch(1);
      Slot<Held> slot = Objects.requireNonNull(mesh.pod(0).host().slots().get("m"));
      List<ListenableFuture<ModelInferResponse>> calls = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        calls.add(
            GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)))
                .modelInfer(TestMesh.request("m")));
      }
      TestMesh.await("the queue", () -> mesh.pod(0).queuedInferences() == 5);
      mesh.pod(0).close();
      TestMesh.await("nothing pinned", () -> slot.pins() == 0);
      assertEquals(0, mesh.pod(0).queuedInferences());
      for (ListenableFuture<ModelInferResponse> call : calls) {
        assertThrows(ExecutionException.class, () -> call.get(60, TimeUnit.SECONDS));
      }
    }
  }

  @Test
  void whatWaitsForATurnWhenThePodEndsIsToldSoAndMayRunInAnother() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.compute(1, 10).drainTimeoutMs(100))) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      mesh.runtimes.getFirst().inferGate = new CountDownLatch(1);
      var direct = GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)));
      var forwarded =
          GRPCInferenceServiceGrpc.newFutureStub(
              mesh.client(mesh.pod(0), Map.of(Headers.FORWARDED_BY, "pod-9", Headers.MODEL_ID, "m"))
                  .getChannel());
      var running = direct.modelInfer(TestMesh.request("m"));
      TestMesh.await("the run", () -> mesh.runtimes.getFirst().running.get() == 1);
      var mine = direct.modelInfer(TestMesh.request("m"));
      var theirs = forwarded.modelInfer(TestMesh.request("m"));
      TestMesh.await("the queue", () -> mesh.pod(0).queuedInferences() == 2);
      mesh.pod(0).close();
      assertShutDown(mine, null);
      assertShutDown(theirs, "not-here");
      assertThrows(ExecutionException.class, () -> running.get(60, TimeUnit.SECONDS));
    }
  }

  private static void assertShutDown(
      ListenableFuture<ModelInferResponse> call, @Nullable String refused) {
    ExecutionException told =
        assertThrows(ExecutionException.class, () -> call.get(60, TimeUnit.SECONDS));
    Status status = Status.fromThrowable(told);
    assertEquals(Status.Code.UNAVAILABLE, status.getCode());
    assertEquals("pod 'pod-0' is shutting down", status.getDescription());
    Metadata trailers = Status.trailersFromThrowable(told);
    assertEquals(refused, trailers == null ? null : trailers.get(Named.ascii(Headers.REFUSED)));
  }

  @Test
  void aCallThatComesForATurnAfterTheEndIsNotToldThatThereAreTooMany() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      mesh.pod(0).compute().refuse();
      assertShutDown(
          GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)))
              .modelInfer(TestMesh.request("m")),
          null);
    }
  }

  private static ModelInferRequest zeros(String model, int bytes) {
    return TestMesh.request(model).toBuilder()
        .addRawInputContents(ByteString.copyFrom(new byte[bytes]))
        .build();
  }

  private static void assertNoBytesLeft(Executable call) {
    Status status = TestMesh.failure(call);
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, status.getCode(), status.toString());
    String text = String.valueOf(status.getDescription());
    assertTrue(text.contains("maxInFlightBytes is 100000"), text);
  }

  @Test
  void whatACompressedRequestBecomesCountsUntilItHasRun() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.inFlight(8, 100_000).maxMessageBytes(90_000))) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.getFirst().inferGate = gate;
      var running =
          GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)))
              .withCompression("gzip")
              .modelInfer(zeros("m", 60_000));
      TestMesh.await("the run", () -> mesh.runtimes.getFirst().running.get() == 1);
      assertTrue(mesh.pod(0).heldBytes() > 60_000, mesh.pod(0).heldBytes() + " bytes held");
      var client = mesh.client(mesh.pod(0)).withCompression("gzip");
      assertNoBytesLeft(() -> client.modelInfer(zeros("m", 60_000)));
      gate.countDown();
      assertEquals("m", running.get(60, TimeUnit.SECONDS).getModelName());
      TestMesh.await("nothing held", () -> mesh.pod(0).heldBytes() == 0);
    }
  }

  @Test
  void whatACompressedRequestBecomesCountsUntilItsRuntimeHasIt() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.inFlight(8, 100_000).maxMessageBytes(90_000));
        FakeSidecar sidecar = new FakeSidecar()) {
      FakeRuntime runtime = mesh.runtimes.getFirst();
      runtime.sidecar = sidecar.address();
      mesh.register("m");
      mesh.alias("a", "m");
      var client = mesh.client(mesh.pod(0), Map.of(Headers.VMODEL_ID, "a")).withCompression("gzip");
      assertEquals("a", client.modelInfer(zeros("a", 60_000)).getModelName());
      TestMesh.await("nothing held", () -> mesh.pod(0).heldBytes() == 0);
      mesh.register("cold");
      CountDownLatch gate = new CountDownLatch(1);
      runtime.loadGate = gate;
      var waiting =
          GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)))
              .modelInfer(zeros("cold", 60_000));
      TestMesh.await("bytes that wait for a load", () -> mesh.pod(0).heldBytes() > 60_000);
      long held = mesh.pod(0).heldBytes();
      assertNoBytesLeft(() -> client.modelInfer(zeros("a", 60_000)));
      TestMesh.await("nothing more held", () -> mesh.pod(0).heldBytes() == held);
      gate.countDown();
      assertEquals("cold", waiting.get(60, TimeUnit.SECONDS).getModelName());
    }
  }

  @Test
  void closingDoesNotWaitForThoseWhoOnlyWatch() throws Exception {
    try (TestMesh mesh = new TestMesh(1, builder -> builder.drainTimeoutMs(40_000))) {
      CountDownLatch watched = new CountDownLatch(1);
      CountDownLatch ended = new CountDownLatch(1);
      HealthGrpc.newStub(mesh.channel(mesh.pod(0)))
          .watch(
              HealthCheckRequest.getDefaultInstance(),
              new StreamObserver<HealthCheckResponse>() {
                @Override
                public void onNext(HealthCheckResponse response) {
                  watched.countDown();
                }

                @Override
                public void onError(Throwable t) {
                  ended.countDown();
                }

                @Override
                public void onCompleted() {
                  ended.countDown();
                }
              });
      assertTrue(watched.await(60, TimeUnit.SECONDS));
      long startNs = System.nanoTime();
      mesh.pod(0).close();
      long tookMs = (System.nanoTime() - startNs) / 1_000_000;
      assertTrue(tookMs < 30_000, () -> "closing took " + tookMs + " ms");
      assertTrue(ended.await(60, TimeUnit.SECONDS));
    }
  }
}
