package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelStreamInferResponse;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import orlop.api.LoadRequest;
import orlop.api.PodControlGrpc;
import orlop.placement.Action;
import orlop.placement.Model;
import orlop.runtime.InferenceException;
import orlop.runtime.InferenceException.Code;
import orlop.runtime.ModelLoadException;

/** Who is refused for want of room is told when to come again, whichever pod has none. */
class RetryHintTest {
  private static final Metadata.Key<String> HINT = Named.ascii("grpc-retry-pushback-ms");
  private static final byte[] REST_REQUEST =
      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}"
          .getBytes(StandardCharsets.UTF_8);

  /** Pod 0 takes the calls, and pod 1 alone may load model m. */
  private static TestMesh mesh() throws Exception {
    TestMesh mesh = new TestMesh(1, b -> limited(b.labels(Set.of("here"))));
    mesh.add(b -> b.labels(Set.of("there")).compute(1, 1));
    mesh.register("m", Set.of("there"));
    return mesh;
  }

  private static PodConfigBuilder limited(PodConfigBuilder pod) {
    return pod.maxMessageBytes(100_000).inFlight(100, 100_000);
  }

  private static StatusRuntimeException refusal(TestMesh mesh, int entry, ModelInferRequest of) {
    StatusRuntimeException refusal =
        assertThrows(
            StatusRuntimeException.class, () -> mesh.client(mesh.pod(entry)).modelInfer(of));
    Status status = refusal.getStatus();
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, status.getCode(), status.toString());
    return refusal;
  }

  /** Over gRPC and REST, in pod 1 and through pod 0. */
  private static void assertHinted(TestMesh mesh, String why) throws Exception {
    for (int entry : new int[] {1, 0}) {
      StatusRuntimeException refusal = refusal(mesh, entry, TestMesh.request("m"));
      String text = String.valueOf(refusal.getStatus().getDescription());
      assertTrue(text.contains(why), text);
      assertEquals("100", hint(refusal), "through pod " + entry + ": " + text);
      try (RestClient rest = new RestClient(mesh.pod(entry).restPort())) {
        RestClient.Answer answer = rest.post("/v2/models/m/infer", "", REST_REQUEST);
        assertEquals(429, answer.status(), answer.error());
        assertTrue(answer.error().contains(why), answer.error());
        assertEquals("1", answer.header("retry-after"));
      }
    }
  }

  private static String hint(StatusRuntimeException refusal) {
    Metadata trailers = refusal.getTrailers();
    return String.valueOf(trailers == null ? null : trailers.get(HINT));
  }

  @Test
  void aModelThatNoPodHasRoomFor() throws Exception {
    try (TestMesh mesh = mesh()) {
      Model large =
          new Model(
              "m", FakeRuntime.TYPE, "fake:m", "", 2_000_000, 0, 0, Set.of(), Set.of(), 1, false);
      mesh.registry.deleteModel("m");
      mesh.registry.createModel(large);
      assertHinted(mesh, "model 'm': ");
    }
  }

  @Test
  void aPodThatHasNoRoomLeftOnceTheModelIsToBeLoaded() {
    Status why = Statuses.of(new Action.Outcome.NoRoom("all of it is in use"), "m", "pod-1");
    assertNotNull(why);
    // Told by one pod to the other, and by that one to the client.
    Status heard = Wire.status(Wire.only(why, true));
    assertEquals(why.getDescription(), heard.getDescription());
    for (Status told : List.of(why, heard)) {
      assertTrue(Wire.trailers(told, false).contains(Wire.RETRY_PUSHBACK, "100"), told.toString());
    }
  }

  @Test
  void aModelThatIsLargerThanItsPod() throws Exception {
    try (TestMesh mesh = mesh()) {
      mesh.runtimes.get(1).defaultBytes = 5_000_000;
      assertHinted(mesh, "takes Memory[ramBytes=5000000");
    }
  }

  @Test
  void aModelThatThereWasNoMemoryFor() throws Exception {
    try (TestMesh mesh = mesh()) {
      mesh.runtimes
          .get(1)
          .loadFailures
          .put(
              "m",
              new ModelLoadException(ModelLoadException.Reason.OUT_OF_MEMORY, "no memory", null));
      assertHinted(mesh, "no memory");
    }
  }

  @Test
  void aCopyThatIsBusy() throws Exception {
    try (TestMesh mesh = mesh();
        FakeSidecar sidecar = new FakeSidecar()) {
      FakeRuntime runtime = mesh.runtimes.get(1);
      runtime.sidecar = sidecar.address();
      runtime.atOnce = 1;
      sidecar.silent = true;
      var running =
          GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(1)))
              .modelInfer(TestMesh.request("m"));
      TestMesh.await("the call at the runtime", () -> sidecar.calls.get() == 1);
      assertHinted(mesh, "model 'm' is busy in pod 'pod-1'");
      running.cancel(true);
    }
  }

  @Test
  void aBusyCopyBesideOneThatIsGone() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.labels(Set.of("here")).suspectMs(1));
        FakeSidecar sidecar = new FakeSidecar()) {
      for (int pod = 1; pod < 3; pod++) {
        mesh.add(b -> b.labels(Set.of("there")));
        mesh.runtimes.get(pod).sidecar = sidecar.address();
        mesh.runtimes.get(pod).atOnce = 1;
      }
      mesh.register("m", Set.of("there"));
      for (int pod = 1; pod < 3; pod++) {
        var unused =
            PodControlGrpc.newBlockingStub(mesh.channel(mesh.pod(pod)))
                .load(LoadRequest.newBuilder().setModelId("m").setWait(true).build());
      }
      sidecar.silent = true;
      var running =
          GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(1)))
              .modelInfer(TestMesh.request("m"));
      TestMesh.await("the call at the runtime", () -> sidecar.calls.get() == 1);
      mesh.pod(2).crash();
      // Half of these meet the busy copy first.
      for (int i = 0; i < 20; i++) {
        assertEquals("100", hint(refusal(mesh, 0, TestMesh.request("m"))));
      }
      running.cancel(true);
    }
  }

  @Test
  void aFullQueue() throws Exception {
    try (TestMesh mesh = mesh()) {
      mesh.client(mesh.pod(1)).modelInfer(TestMesh.request("m"));
      mesh.runtimes.get(1).inferGate = new CountDownLatch(1);
      var stub = GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(1)));
      var running = stub.modelInfer(TestMesh.request("m"));
      TestMesh.await("the inference", () -> mesh.runtimes.get(1).running.get() == 1);
      var waiting = stub.modelInfer(TestMesh.request("m"));
      TestMesh.await("the queue", () -> mesh.pod(1).queuedInferences() == 1);
      assertHinted(mesh, "pod 'pod-1' is overloaded");
      running.cancel(true);
      waiting.cancel(true);
    }
  }

  @Test
  void aStreamThatEndsWithItsFirstError() throws Exception {
    try (TestMesh mesh = mesh()) {
      mesh.runtimes.get(1).defaultBytes = 5_000_000;
      StatusRuntimeException end = stream(mesh, TestMesh.request("m"));
      assertEquals("100", hint(end), end.getMessage());
    }
  }

  @Test
  void anAnswerThatThereIsNoRoomFor() throws Exception {
    try (TestMesh mesh = mesh()) {
      ModelInferRequest half =
          TestMesh.request("m").toBuilder()
              .addRawInputContents(ByteString.copyFrom(new byte[60_000]))
              .build();
      StatusRuntimeException end = stream(mesh, half);
      String text = String.valueOf(end.getStatus().getDescription());
      assertTrue(text.contains("maxInFlightBytes is 100000"), text);
      assertEquals("100", hint(end));
    }
  }

  /** How a stream ends that begins with a model in pod 0 and goes on with this. */
  private static StatusRuntimeException stream(TestMesh mesh, ModelInferRequest second)
      throws Exception {
    mesh.register("small", Set.of("here"));
    mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("small"));
    CompletableFuture<Throwable> ended = new CompletableFuture<>();
    var client = mesh.client(mesh.pod(0), Map.of("triton_grpc_error", "true"));
    StreamObserver<ModelInferRequest> requests =
        GRPCInferenceServiceGrpc.newStub(client.getChannel())
            .modelStreamInfer(
                new StreamObserver<>() {
                  @Override
                  public void onNext(ModelStreamInferResponse answer) {}

                  @Override
                  public void onError(Throwable error) {
                    ended.complete(error);
                  }

                  @Override
                  public void onCompleted() {
                    ended.complete(new AssertionError("it ended without an error"));
                  }
                });
    requests.onNext(TestMesh.request("small"));
    requests.onNext(second);
    Throwable error = ended.get(60, TimeUnit.SECONDS);
    assertEquals(
        Status.Code.RESOURCE_EXHAUSTED, Status.fromThrowable(error).getCode(), error.toString());
    return (StatusRuntimeException) error;
  }

  @Test
  void anInferenceThatThereWasNoMemoryFor() throws Exception {
    try (TestMesh mesh = mesh()) {
      mesh.runtimes
          .get(1)
          .inferenceFailures
          .put("m", new InferenceException(Code.RESOURCE_EXHAUSTED, "no memory"));
      assertHinted(mesh, "no memory");
    }
  }

  @Test
  void nobodyIsToldToComeAgainForAResultThatIsTooLarge() throws Exception {
    try (TestMesh mesh = mesh()) {
      mesh.runtimes
          .get(1)
          .inferenceFailures
          .put("m", new InferenceException(Code.TOO_LARGE, "output 'y' has too many bytes"));
      for (int entry : new int[] {1, 0}) {
        assertEquals("null", hint(refusal(mesh, entry, TestMesh.request("m"))));
        try (RestClient rest = new RestClient(mesh.pod(entry).restPort())) {
          RestClient.Answer answer = rest.post("/v2/models/m/infer", "", REST_REQUEST);
          assertEquals(429, answer.status(), answer.error());
          assertEquals("", answer.header("retry-after"));
        }
      }
    }
  }

  @Test
  void aLoadThatIsAskedForByThePlanner() throws Exception {
    try (TestMesh mesh = mesh()) {
      mesh.store.sizes.put("m", 5_000_000L);
      StatusRuntimeException refusal =
          assertThrows(
              StatusRuntimeException.class,
              () ->
                  PodControlGrpc.newBlockingStub(mesh.channel(mesh.pod(1)))
                      .load(LoadRequest.newBuilder().setModelId("m").setWait(true).build()));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, refusal.getStatus().getCode());
      assertEquals("100", hint(refusal), refusal.getMessage());
    }
  }

  @Test
  void nobodyIsToldToComeAgainWithAMessageThatIsTooLarge() throws Exception {
    try (TestMesh mesh = mesh()) {
      ModelInferRequest large =
          TestMesh.request("m").toBuilder()
              .addRawInputContents(ByteString.copyFrom(new byte[200_000]))
              .build();
      assertEquals("null", hint(refusal(mesh, 0, large)));
    }
  }
}
