package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelStreamInferResponse;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import orlop.runtime.InferenceException;

/** {@code ModelStreamInfer} for models in the pods' own processes, by a client of grpc-java. */
class InferStreamTest {
  private TestMesh mesh;

  /** The caller's side of one stream. */
  private static final class Caller
      implements ClientResponseObserver<ModelInferRequest, ModelStreamInferResponse> {
    final BlockingQueue<ModelStreamInferResponse> answers = new LinkedBlockingQueue<>();
    final CompletableFuture<Status> end = new CompletableFuture<>();
    final boolean byHand;
    ClientCallStreamObserver<ModelInferRequest> stream;

    @SuppressWarnings("NullAway.Init") // gRPC sets the stream before the call begins.
    Caller(boolean byHand) {
      this.byHand = byHand;
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<ModelInferRequest> stream) {
      this.stream = stream;
      if (byHand) {
        stream.disableAutoRequestWithInitial(0);
      }
    }

    @Override
    public void onNext(ModelStreamInferResponse answer) {
      answers.add(answer);
    }

    @Override
    public void onError(Throwable e) {
      end.complete(Status.fromThrowable(e));
    }

    @Override
    public void onCompleted() {
      end.complete(Status.OK);
    }

    ModelStreamInferResponse next() throws InterruptedException {
      ModelStreamInferResponse answer = answers.poll(60, TimeUnit.SECONDS);
      if (answer == null) {
        throw new AssertionError("no answer in 60 s; the stream's end: " + end.getNow(null));
      }
      return answer;
    }
  }

  @BeforeEach
  void start() throws Exception {
    mesh = new TestMesh(2);
    mesh.register("m");
    mesh.register("n");
    mesh.alias("a", "m");
  }

  @AfterEach
  void stop() {
    mesh.close();
  }

  @Test
  void aMethodThatIsNotOnTheListIsRefusedAlsoWhereThePodItselfHasIt() throws Exception {
    String infer = Op.INFER.method;
    Dataplane listed = new Dataplane(Map.of(infer, new Dataplane.Rpc(List.of(), false)), false);
    try (TestMesh strict = new TestMesh(1, pod -> pod.dataplane(listed))) {
      strict.register("m");
      var client = strict.client(strict.pod(0));
      assertEquals("m", client.modelInfer(TestMesh.request("m")).getModelName());
      Caller caller = call(strict.channel(strict.pod(0)), Map.of(), false);
      caller.stream.onNext(TestMesh.request("m"));
      caller.stream.onCompleted();
      assertEquals(Status.Code.UNIMPLEMENTED, caller.end.get(60, TimeUnit.SECONDS).getCode());
      Status metadata =
          TestMesh.failure(
              () ->
                  client.modelMetadata(
                      inference.ModelMetadataRequest.newBuilder().setName("m").build()));
      assertEquals(Status.Code.UNIMPLEMENTED, metadata.getCode(), metadata.toString());
    }
  }

  @Test
  void theListOfMethodsHoldsForRestToo() throws Exception {
    byte[] v2 =
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}"
            .getBytes(StandardCharsets.UTF_8);
    for (Op listed : List.of(Op.INFER, Op.METADATA)) {
      Dataplane list =
          new Dataplane(Map.of(listed.method, new Dataplane.Rpc(List.of(), false)), false);
      try (TestMesh strict = new TestMesh(1, pod -> pod.dataplane(list));
          RestClient rest = new RestClient(strict.pod(0).restPort())) {
        strict.register("m");
        boolean infers = listed == Op.INFER;
        assertEquals(infers ? 200 : 501, rest.post("/v2/models/m/infer", "", v2).status());
        assertEquals(infers ? 501 : 200, rest.get("/v2/models/m").status());
      }
    }
  }

  private Caller call(int pod, Map<String, String> headers) {
    return call(pod, headers, false);
  }

  private Caller call(int pod, Map<String, String> headers, boolean byHand) {
    return call(mesh.channel(mesh.pod(pod)), headers, byHand);
  }

  private static Caller call(ManagedChannel to, Map<String, String> headers, boolean byHand) {
    io.grpc.Metadata metadata = new io.grpc.Metadata();
    headers.forEach((name, value) -> metadata.put(Named.ascii(name), value));
    Caller caller = new Caller(byHand);
    StreamObserver<ModelInferRequest> unused =
        GRPCInferenceServiceGrpc.newStub(to)
            .withInterceptors(io.grpc.stub.MetadataUtils.newAttachHeadersInterceptor(metadata))
            .modelStreamInfer(caller);
    return caller;
  }

  private static ModelInferRequest request(String model, String id) {
    return TestMesh.request(model).toBuilder().setId(id).build();
  }

  @Test
  void answersInOrderWhateverModelEachMessageNamesAndEndsWithTheCaller() throws Exception {
    for (int pod = 0; pod < 2; pod++) {
      Caller caller = call(pod, Map.of());
      for (int i = 0; i < 200; i++) {
        caller.stream.onNext(request(i % 3 == 0 ? "a" : i % 3 == 1 ? "n" : "m", "id" + i));
      }
      caller.stream.onCompleted();
      for (int i = 0; i < 200; i++) {
        ModelStreamInferResponse answer = caller.next();
        assertEquals("", answer.getErrorMessage());
        assertEquals("id" + i, answer.getInferResponse().getId());
        assertEquals(
            i % 3 == 0 ? "a" : i % 3 == 1 ? "n" : "m", answer.getInferResponse().getModelName());
        assertEquals(
            i % 3 == 1 ? "n" : "m",
            answer.getInferResponse().getParametersOrThrow("ran").getStringParam());
        assertTrue(
            answer.getInferResponse().getParametersOrThrow("triton_final_response").getBoolParam());
        assertEquals(
            List.of(1.5f, -2f),
            answer.getInferResponse().getOutputs(0).getContents().getFp32ContentsList());
      }
      assertEquals(Status.Code.OK, caller.end.get(60, TimeUnit.SECONDS).getCode());
    }
    for (ServingPod pod : mesh.pods) {
      TestMesh.await("calls to end", () -> pod.inFlight() == 0 && pod.heldBytes() == 0);
    }
  }

  @Test
  void anErrorIsAnsweredInItsPlaceAndTheStreamGoesOn() throws Exception {
    for (FakeRuntime runtime : mesh.runtimes) {
      runtime.inferenceFailures.put(
          "n", new InferenceException(InferenceException.Code.INVALID_ARGUMENT, "no such n"));
    }
    Caller caller = call(0, Map.of());
    caller.stream.onNext(request("m", "1"));
    caller.stream.onNext(request("n", "2"));
    caller.stream.onNext(request("nobody", "3"));
    caller.stream.onNext(request("m", "4"));
    assertEquals("", caller.next().getErrorMessage());
    ModelStreamInferResponse failed = caller.next();
    assertEquals("no such n", failed.getErrorMessage());
    assertEquals("2", failed.getInferResponse().getId());
    assertEquals("n", failed.getInferResponse().getModelName());
    assertEquals("no model or alias 'nobody' is registered", caller.next().getErrorMessage());
    assertEquals("4", caller.next().getInferResponse().getId());
    caller.stream.onCompleted();
    assertEquals(Status.Code.OK, caller.end.get(60, TimeUnit.SECONDS).getCode());
  }

  @Test
  void whoAsksForItGetsTheFirstErrorAsTheStatusOfTheStream() throws Exception {
    Caller caller = call(0, Map.of("triton_grpc_error", "true"));
    caller.stream.onNext(request("m", "1"));
    caller.stream.onNext(request("nobody", "2"));
    assertEquals("1", caller.next().getInferResponse().getId());
    assertEquals(Status.Code.NOT_FOUND, caller.end.get(60, TimeUnit.SECONDS).getCode());
  }

  @Test
  void anIdleStreamDoesNotHoldUpAPodThatEnds() throws Exception {
    try (TestMesh one = new TestMesh(1, b -> b.drainTimeoutMs(60_000))) {
      one.register("m");
      Caller idle = call(one.channel(one.pod(0)), Map.of(), false);
      idle.stream.onNext(request("m", "1"));
      assertEquals("1", idle.next().getInferResponse().getId());
      Caller busy = call(one.channel(one.pod(0)), Map.of(), false);
      CountDownLatch gate = new CountDownLatch(1);
      FakeRuntime runtime = one.runtimes.getFirst();
      runtime.inferGate = gate;
      busy.stream.onNext(request("m", "2"));
      TestMesh.await("the inference", () -> runtime.running.get() == 1);

      CompletableFuture<Void> end = CompletableFuture.runAsync(one.pod(0)::close);
      Status told = idle.end.get(30, TimeUnit.SECONDS);
      assertEquals(Status.Code.UNAVAILABLE, told.getCode());
      assertTrue(String.valueOf(told.getDescription()).contains("drains"), told::toString);
      assertFalse(busy.end.isDone(), "its request is under way");
      gate.countDown();
      assertEquals("2", busy.next().getInferResponse().getId());
      assertEquals(Status.Code.UNAVAILABLE, busy.end.get(30, TimeUnit.SECONDS).getCode());
      end.get(30, TimeUnit.SECONDS);
    }
  }

  @Test
  void aBusyStreamIsReadFromNoFurtherByAPodThatEnds() throws Exception {
    try (TestMesh one = new TestMesh(1, b -> b.drainTimeoutMs(60_000))) {
      one.register("m");
      Caller busy = call(one.channel(one.pod(0)), Map.of(), false);
      for (int i = 0; i < 2 * InferStream.MAX_RUNNING; i++) {
        busy.stream.onNext(request("m", "first"));
      }
      busy.next();
      CompletableFuture<Void> end = CompletableFuture.runAsync(one.pod(0)::close);
      long untilNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
      while (!busy.end.isDone()) {
        assertTrue(System.nanoTime() < untilNs, "the stream holds the pod up");
        // One for each that is answered: something of it is always under way.
        if (busy.answers.poll(10, TimeUnit.MILLISECONDS) != null) {
          busy.stream.onNext(request("m", "next"));
        }
      }
      assertEquals(Status.Code.UNAVAILABLE, busy.end.get().getCode());
      end.get(30, TimeUnit.SECONDS);
    }
  }

  @Test
  void aHeaderNamesTheModelOfAllMessagesAlsoThroughAHop() throws Exception {
    mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
    int holder = mesh.holder("m");
    for (int pod : List.of(holder, 1 - holder)) {
      Caller caller = call(pod, Map.of("mm-vmodel-id", "a"));
      caller.stream.onNext(request("whatever", "1"));
      caller.stream.onNext(request("", "2"));
      for (String id : List.of("1", "2")) {
        ModelStreamInferResponse answer = caller.next();
        assertEquals("", answer.getErrorMessage());
        assertEquals(id, answer.getInferResponse().getId());
        assertEquals("a", answer.getInferResponse().getModelName());
      }
      caller.stream.onCompleted();
      assertEquals(Status.Code.OK, caller.end.get(60, TimeUnit.SECONDS).getCode());
    }
  }

  @Test
  void aCallerThatDoesNotReadIsReadFromNoFurther() throws Exception {
    Caller caller = call(0, Map.of(), true);
    byte[] big = new byte[1 << 20];
    ModelInferRequest request =
        request("m", "big").toBuilder()
            .addRawInputContents(com.google.protobuf.ByteString.copyFrom(big))
            .build();
    for (FakeRuntime runtime : mesh.runtimes) {
      runtime.functions.put(
          "m",
          asked ->
              inference.ModelInferResponse.newBuilder()
                  .addOutputs(
                      inference.ModelInferResponse.InferOutputTensor.newBuilder().setName("y"))
                  .addRawOutputContents(asked.getRawInputContents(0))
                  .build());
    }
    for (int i = 0; i < 300; i++) {
      caller.stream.onNext(request);
    }
    caller.stream.onCompleted();
    // Answers fill the windows, then messages stop being asked for, then the caller's window ends.
    TestMesh.await("some inferences", () -> mesh.inferences() >= 10);
    int seen;
    do {
      seen = mesh.inferences();
      java.util.concurrent.locks.LockSupport.parkNanos(300_000_000);
    } while (mesh.inferences() != seen);
    assertTrue(seen < 200, seen + " of 300 messages ran though nobody read an answer");
    caller.stream.request(300);
    for (int i = 0; i < 300; i++) {
      assertEquals("", caller.next().getErrorMessage());
    }
    assertEquals(Status.Code.OK, caller.end.get(60, TimeUnit.SECONDS).getCode());
  }

  @Test
  void cancellingTheStreamStopsWhatRunsForIt() throws Exception {
    CountDownLatch gate = new CountDownLatch(1);
    for (FakeRuntime runtime : mesh.runtimes) {
      runtime.inferGate = gate;
    }
    Caller caller = call(0, Map.of());
    for (int i = 0; i < 3; i++) {
      caller.stream.onNext(request("m", "id" + i));
    }
    TestMesh.await(
        "three inferences",
        () -> mesh.runtimes.stream().mapToInt(runtime -> runtime.running.get()).sum() == 3);
    caller.stream.cancel("enough", null);
    TestMesh.await(
        "their end",
        () -> mesh.runtimes.stream().mapToInt(runtime -> runtime.cancelled.get()).sum() == 3);
    for (ServingPod pod : mesh.pods) {
      TestMesh.await("calls to end", () -> pod.inFlight() == 0 && pod.heldBytes() == 0);
    }
    assertNull(caller.answers.peek());
  }

  @Test
  void aStreamOutlivesTheLongestWaitOfACall() throws Exception {
    try (TestMesh patient = new TestMesh(1, b -> b.maxWaitMs(300))) {
      patient.register("m");
      patient.client(patient.pod(0)).modelInfer(TestMesh.request("m"));
      Caller caller = new Caller(false);
      StreamObserver<ModelInferRequest> unused =
          GRPCInferenceServiceGrpc.newStub(patient.channel(patient.pod(0)))
              .modelStreamInfer(caller);
      caller.stream.onNext(request("m", "early"));
      assertEquals("early", caller.next().getInferResponse().getId());
      long since = System.nanoTime();
      TestMesh.await("some time", () -> System.nanoTime() - since > 600_000_000);
      caller.stream.onNext(request("m", "late"));
      assertEquals("late", caller.next().getInferResponse().getId());
      caller.stream.onCompleted();
      assertEquals(Status.Code.OK, caller.end.get(60, TimeUnit.SECONDS).getCode());
    }
  }

  @Test
  void aModelThatIsUnloadedBetweenTwoMessagesIsLoadedAgain() throws Exception {
    Caller caller = call(0, Map.of());
    caller.stream.onNext(request("m", "1"));
    assertEquals("1", caller.next().getInferResponse().getId());
    int holder = mesh.holder("m");
    assertTrue(mesh.pod(holder).host().letGo("m"), "an idle stream pins nothing");
    TestMesh.await("the unload", () -> !mesh.pod(holder).host().isLoaded("m"));
    caller.stream.onNext(request("m", "2"));
    assertEquals("2", caller.next().getInferResponse().getId());
    caller.stream.onCompleted();
    assertEquals(Status.Code.OK, caller.end.get(60, TimeUnit.SECONDS).getCode());
    assertEquals(2, mesh.loads());
    assertEquals(new ArrayList<>(Set.of()), List.copyOf(caller.answers));
  }
}
