package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import java.io.ByteArrayOutputStream;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.Headers;

/** What a gRPC client may rely on when its frames pass through one pod or two. */
@Tag("slow")
class StreamRouterTest {

  /** Two pods, models that a real server beside them runs, and one of them loaded in pod 0. */
  private static final class Beside implements AutoCloseable {
    final TestMesh mesh = new TestMesh(2, b -> b.maxMessageBytes(4 << 20));
    final FakeSidecar sidecar = new FakeSidecar();
    final int holder;

    Beside() throws Exception {
      mesh.runtimes.forEach(runtime -> runtime.sidecar = sidecar.address());
      mesh.register("m");
      assertEquals("m", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")).getModelName());
      holder = mesh.holder("m");
    }

    /** The pod that holds the model, then the other one. */
    List<ManagedChannel> entries() {
      return List.of(mesh.channel(mesh.pod(holder)), mesh.channel(mesh.pod(1 - holder)));
    }

    void awaitIdle() {
      TestMesh.await(
          "nothing in flight", () -> mesh.pod(0).inFlight() + mesh.pod(1).inFlight() == 0);
      TestMesh.await("nothing held", () -> mesh.pod(0).heldBytes() + mesh.pod(1).heldBytes() == 0);
    }

    @Override
    public void close() {
      sidecar.close();
      mesh.close();
    }
  }

  /** A call whose messages are asked for one by one. */
  private static final class Stream extends ClientCall.Listener<byte[]> {
    final BlockingQueue<byte[]> messages = new LinkedBlockingQueue<>();
    final CompletableFuture<Status> ended = new CompletableFuture<>();
    final CompletableFuture<Metadata> trailers = new CompletableFuture<>();
    final ClientCall<byte[], byte[]> call;

    Stream(
        ManagedChannel channel,
        MethodDescriptor<byte[], byte[]> method,
        CallOptions options,
        Metadata headers) {
      call = channel.newCall(method, options);
      call.start(this, headers);
    }

    @Override
    public void onMessage(byte[] message) {
      messages.add(message);
    }

    @Override
    public void onClose(Status status, Metadata last) {
      trailers.complete(last);
      ended.complete(status);
    }

    byte @Nullable [] next() throws InterruptedException {
      call.request(1);
      return messages.poll(30, TimeUnit.SECONDS);
    }

    Status status() throws Exception {
      return ended.get(60, TimeUnit.SECONDS);
    }
  }

  private static Metadata forModel(String id) {
    Metadata headers = new Metadata();
    headers.put(Named.ascii(Headers.MODEL_ID), id);
    return headers;
  }

  private static byte[] request(String name) {
    return TestMesh.request(name).toByteArray();
  }

  /** Else its call would be run anew in another pod, or its word taken for that of its pod. */
  @Test
  void whatPodsTellEachOtherInTrailersIsNotTakenFromARuntime() throws Exception {
    try (Beside beside = new Beside()) {
      beside.sidecar.answer = Status.ABORTED.withDescription("no");
      beside.sidecar.trailers.put(Named.ascii(Headers.REFUSED), "not-here");
      beside.sidecar.trailers.put(Named.ascii(Headers.LOAD), "1;2;3;4;5;true");
      for (ManagedChannel entry : beside.entries()) {
        int before = beside.sidecar.calls.get();
        Stream call = new Stream(entry, Bytes.INFER, CallOptions.DEFAULT, new Metadata());
        call.call.sendMessage(request("m"));
        call.call.halfClose();
        assertEquals(Status.Code.ABORTED, call.status().getCode(), call.status().toString());
        Metadata trailers = call.trailers.get(60, TimeUnit.SECONDS);
        assertEquals("the end", trailers.get(FakeSidecar.TRAILER));
        assertEquals(null, trailers.get(Named.ascii(Headers.REFUSED)));
        assertEquals(null, trailers.get(Named.ascii(Headers.LOAD)));
        assertEquals(before + 1, beside.sidecar.calls.get());
      }
      beside.awaitIdle();
    }
  }

  @Test
  void aUnaryCallReachesTheRuntimeUnderTheModelsOwnName() throws Exception {
    try (Beside beside = new Beside()) {
      beside.mesh.alias("other-name", "m");
      for (ManagedChannel entry : beside.entries()) {
        beside.sidecar.namesInside.clear();
        byte[] asked = TestMesh.request("other-name").toBuilder().setId("7").build().toByteArray();
        byte[] answer =
            ClientCalls.blockingUnaryCall(entry, Bytes.INFER, CallOptions.DEFAULT, asked);
        // The echo answers with the request, in which the name is field 1 as in an answer.
        ModelInferRequest expected = TestMesh.request("other-name").toBuilder().setId("7").build();
        assertEquals(expected, ModelInferRequest.parseFrom(answer));
        assertEquals(List.of("m"), beside.sidecar.namesInside);
        Metadata seen = beside.sidecar.headers.getLast();
        assertEquals("m", seen.get(Named.ascii(Headers.MODEL_ID)));
        assertEquals(null, seen.get(Named.ascii(Headers.FORWARDED_BY)));
      }
      beside.awaitIdle();
    }
  }

  /** Parsers take the last of several names, and the first one was routed. */
  @Test
  void aSecondNameBehindTheTensorsDoesNotRunAnotherModel() throws Exception {
    try (Beside beside = new Beside()) {
      beside.mesh.register("n");
      for (int bytes : new int[] {10, 1 << 20}) {
        ByteArrayOutputStream asked = new ByteArrayOutputStream();
        TestMesh.request("m").toBuilder()
            .addRawInputContents(ByteString.copyFrom(new byte[bytes]))
            .build()
            .writeTo(asked);
        ModelInferRequest.newBuilder().setModelName("n").build().writeTo(asked);
        for (ManagedChannel entry : beside.entries()) {
          for (Metadata headers : List.of(forModel("m"), new Metadata())) {
            beside.sidecar.namesInside.clear();
            Stream call = new Stream(entry, Bytes.INFER, CallOptions.DEFAULT, headers);
            call.call.sendMessage(asked.toByteArray());
            call.call.halfClose();
            Status status = call.status();
            assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode(), status.toString());
            String why = String.valueOf(status.getDescription());
            assertTrue(why.contains("names a model 2 times in field 1, expected once"), why);
            assertEquals(List.of(), beside.sidecar.namesInside);
          }
        }
      }
      beside.awaitIdle();
    }
  }

  @Test
  void aClientThatMeasuresItsBandwidthIsNotExpelled() throws Exception {
    try (Beside beside = new Beside()) {
      byte[] big =
          TestMesh.request("m").toBuilder()
              .addRawInputContents(ByteString.copyFrom(new byte[200_000]))
              .build()
              .toByteArray();
      // A connection with gRPC's automatic window asks by a ping after most of these answers.
      ManagedChannel entry =
          io.grpc.netty.NettyChannelBuilder.forAddress(
                  "127.0.0.1", beside.mesh.pod(beside.holder).grpcPort())
              .usePlaintext()
              .initialFlowControlWindow(65_535)
              .directExecutor()
              .build();
      try {
        for (int i = 0; i < 300; i++) {
          byte[] answer =
              ClientCalls.blockingUnaryCall(entry, Bytes.INFER, CallOptions.DEFAULT, big);
          assertEquals(big.length, answer.length);
        }
      } finally {
        entry.shutdownNow();
      }
    }
  }

  @Test
  void headersTraceContextAndTrailersPassBothWays() throws Exception {
    try (Beside beside = new Beside()) {
      for (ManagedChannel entry : beside.entries()) {
        Metadata headers = forModel("m");
        String trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.put(Named.ascii("traceparent"), trace);
        headers.put(
            Metadata.Key.of("any-bin", Metadata.BINARY_BYTE_MARSHALLER), new byte[] {0, 1, -1});
        Stream stream = new Stream(entry, FakeSidecar.STREAM, CallOptions.DEFAULT, headers);
        stream.call.halfClose();
        assertTrue(stream.status().isOk(), stream.status().toString());
        assertEquals("the end", stream.trailers.get().get(FakeSidecar.TRAILER));
        Metadata seen = beside.sidecar.headers.getLast();
        assertEquals(trace, seen.get(Named.ascii("traceparent")));
        assertArrayEquals(
            new byte[] {0, 1, -1},
            seen.get(Metadata.Key.of("any-bin", Metadata.BINARY_BYTE_MARSHALLER)));
      }
    }
  }

  @Test
  void aStreamInBothDirectionsAnswersMessageByMessage() throws Exception {
    try (Beside beside = new Beside()) {
      for (ManagedChannel entry : beside.entries()) {
        Stream stream = new Stream(entry, FakeSidecar.STREAM, CallOptions.DEFAULT, new Metadata());
        for (int i = 0; i < 50; i++) {
          byte[] message =
              TestMesh.request("m").toBuilder().setId("call-" + i).build().toByteArray();
          stream.call.sendMessage(message);
          assertArrayEquals(message, stream.next());
        }
        stream.call.halfClose();
        stream.call.request(1);
        assertTrue(stream.status().isOk(), stream.status().toString());
      }
      beside.awaitIdle();
    }
  }

  @Test
  void aStatusReachesTheCallerAsItWasGiven() throws Exception {
    try (Beside beside = new Beside()) {
      beside.sidecar.answer = Status.ABORTED.withDescription("größer als 100 %");
      for (ManagedChannel entry : beside.entries()) {
        Stream stream = new Stream(entry, Bytes.INFER, CallOptions.DEFAULT, new Metadata());
        stream.call.request(1);
        stream.call.sendMessage(request("m"));
        stream.call.halfClose();
        assertEquals(Status.Code.ABORTED, stream.status().getCode());
        assertEquals("größer als 100 %", stream.status().getDescription());
        assertEquals("the end", stream.trailers.get().get(FakeSidecar.TRAILER));
      }
      beside.awaitIdle();
    }
  }

  @Test
  void aSlowReaderSlowsTheWriterAndGetsEverything() throws Exception {
    try (Beside beside = new Beside()) {
      for (ManagedChannel entry : beside.entries()) {
        beside.sidecar.flooded.set(0);
        int cancelledBefore = beside.sidecar.cancelled.get();
        Stream stream = new Stream(entry, FakeSidecar.FLOOD, CallOptions.DEFAULT, forModel("m"));
        stream.call.sendMessage(request("m"));
        stream.call.halfClose();
        byte[] first = stream.next();
        assertEquals(FakeSidecar.FLOOD_MESSAGE_BYTES, first == null ? 0 : first.length);
        long stoppedAt = stopped(beside.sidecar.flooded);
        assertTrue(
            stoppedAt * FakeSidecar.FLOOD_MESSAGE_BYTES < 16 << 20,
            stoppedAt + " messages were sent to a reader who took one");
        for (int i = 1; i < stoppedAt + 500; i++) {
          byte[] message = stream.next();
          assertEquals((byte) i, message == null ? -1 : message[0], "message " + i);
        }
        stream.call.cancel("enough", null);
        TestMesh.await(
            "the writer to hear of it",
            () -> beside.sidecar.cancelled.get() == cancelledBefore + 1);
      }
      beside.awaitIdle();
    }
  }

  /** The value of a counter that has not moved for half a second. */
  private static long stopped(AtomicLong counter) {
    long[] seen = {counter.get(), System.nanoTime()};
    TestMesh.await(
        "the writer to stop",
        () -> {
          long now = counter.get();
          if (now != seen[0]) {
            seen[0] = now;
            seen[1] = System.nanoTime();
          }
          return System.nanoTime() - seen[1] > 500_000_000;
        });
    return seen[0];
  }

  @Test
  void aRuntimeThatDoesNotReadStopsTheSender() throws Exception {
    try (Beside beside = new Beside()) {
      for (ManagedChannel entry : beside.entries()) {
        int sinksBefore = beside.sidecar.sinks.size();
        Stream stream = new Stream(entry, FakeSidecar.SINK, CallOptions.DEFAULT, forModel("m"));
        AtomicLong sent = new AtomicLong();
        byte[] message = new byte[100_000];
        long idleSinceNs = System.nanoTime();
        while (System.nanoTime() - idleSinceNs < 500_000_000 && sent.get() < 1_000) {
          if (stream.call.isReady()) {
            stream.call.sendMessage(message);
            sent.incrementAndGet();
            idleSinceNs = System.nanoTime();
          } else {
            Thread.onSpinWait();
          }
        }
        assertTrue(sent.get() * message.length < 24 << 20, sent + " messages were taken");
        TestMesh.await("the sink", () -> beside.sidecar.sinks.size() == sinksBefore + 1);
        stream.call.halfClose();
        stream.call.request(1);
        beside.sidecar.sinks.getLast().request(10_000);
        assertTrue(stream.status().isOk(), stream.status().toString());
      }
      beside.awaitIdle();
    }
  }

  @Test
  void aModelStaysWhileAStreamUsesIt() throws Exception {
    try (Beside beside = new Beside()) {
      Stream stream =
          new Stream(
              beside.entries().getLast(), FakeSidecar.STREAM, CallOptions.DEFAULT, new Metadata());
      stream.call.sendMessage(request("m"));
      assertArrayEquals(request("m"), stream.next());
      beside.mesh.registry.deleteModel("m");
      TestMesh.await(
          "the model to be unknown", () -> beside.mesh.registry.view().model("m") == null);
      stream.call.sendMessage(request("m"));
      assertArrayEquals(request("m"), stream.next());
      FakeRuntime runtime = beside.mesh.runtimes.get(beside.holder);
      assertEquals(1, runtime.loaded.get());
      stream.call.halfClose();
      stream.call.request(1);
      assertTrue(stream.status().isOk());
      TestMesh.await("the unload", () -> runtime.loaded.get() == 0);
    }
  }

  @Test
  void aCancelledCallIsCancelledAtItsRuntime() throws Exception {
    try (Beside beside = new Beside()) {
      beside.sidecar.silent = true;
      int expected = 0;
      for (ManagedChannel entry : beside.entries()) {
        int before = beside.sidecar.calls.get();
        Stream stream = new Stream(entry, Bytes.INFER, CallOptions.DEFAULT, new Metadata());
        stream.call.sendMessage(request("m"));
        stream.call.halfClose();
        TestMesh.await("the call", () -> beside.sidecar.calls.get() == before + 1);
        stream.call.cancel("not wanted", null);
        int now = ++expected;
        TestMesh.await("the cancellation", () -> beside.sidecar.cancelled.get() == now);
      }
      beside.awaitIdle();
    }
  }

  @Test
  void theDeadlineGoesWithTheCallAndEndsIt() throws Exception {
    try (Beside beside = new Beside()) {
      beside.sidecar.silent = true;
      for (ManagedChannel entry : beside.entries()) {
        beside.sidecar.deadlinesMs.clear();
        int before = beside.sidecar.cancelled.get();
        Stream stream =
            new Stream(
                entry,
                Bytes.INFER,
                CallOptions.DEFAULT.withDeadlineAfter(1, TimeUnit.SECONDS),
                new Metadata());
        stream.call.sendMessage(request("m"));
        stream.call.halfClose();
        assertEquals(Status.Code.DEADLINE_EXCEEDED, stream.status().getCode());
        long seen = beside.sidecar.deadlinesMs.getFirst();
        assertTrue(seen > 0 && seen <= 1_000, "deadline in " + seen + " ms");
        TestMesh.await("the cancellation", () -> beside.sidecar.cancelled.get() == before + 1);
      }
      beside.awaitIdle();
    }
  }

  @Test
  void aMessageBeyondTheLimitIsRefused() throws Exception {
    try (Beside beside = new Beside()) {
      byte[] big =
          TestMesh.request("m").toBuilder()
              .addRawInputContents(ByteString.copyFrom(new byte[5 << 20]))
              .build()
              .toByteArray();
      for (ManagedChannel entry : beside.entries()) {
        Status status =
            TestMesh.failure(
                () -> ClientCalls.blockingUnaryCall(entry, Bytes.INFER, CallOptions.DEFAULT, big));
        assertEquals(Status.Code.RESOURCE_EXHAUSTED, status.getCode(), status.toString());
        assertTrue(String.valueOf(status.getDescription()).contains("maxMessageBytes"));
      }
      beside.awaitIdle();
      assertEquals(1, beside.sidecar.ended.get());
    }
  }

  @Test
  void headersBeyondTheLimitEndTheirCallAlone() throws Exception {
    try (Beside beside = new Beside()) {
      for (ManagedChannel entry : beside.entries()) {
        Stream other = new Stream(entry, FakeSidecar.STREAM, CallOptions.DEFAULT, new Metadata());
        other.call.sendMessage(request("m"));
        assertArrayEquals(request("m"), other.next());
        Metadata huge = forModel("m");
        huge.put(Named.ascii("x-huge"), "x".repeat(20_000));
        Stream stream = new Stream(entry, Bytes.INFER, CallOptions.DEFAULT, huge);
        stream.call.sendMessage(request("m"));
        stream.call.halfClose();
        assertFalse(stream.status().isOk());
        other.call.sendMessage(request("m"));
        assertArrayEquals(request("m"), other.next());
        byte[] next =
            ClientCalls.blockingUnaryCall(entry, Bytes.INFER, CallOptions.DEFAULT, request("m"));
        assertArrayEquals(request("m"), next);
        other.call.cancel("done", null);
      }
      beside.awaitIdle();
    }
  }

  @Test
  void aRuntimeThatDiesInAStreamEndsItAsUnavailable() throws Exception {
    try (Beside beside = new Beside()) {
      for (int entry = 0; entry < 2; entry++) {
        Stream stream =
            new Stream(
                beside.entries().get(entry),
                FakeSidecar.STREAM,
                CallOptions.DEFAULT,
                new Metadata());
        stream.call.sendMessage(request("m"));
        assertArrayEquals(request("m"), stream.next());
        if (entry == 1) {
          beside.sidecar.close();
          stream.call.request(1);
          assertEquals(Status.Code.UNAVAILABLE, stream.status().getCode());
        } else {
          stream.call.cancel("done", null);
        }
      }
      beside.awaitIdle();
    }
  }

  @Test
  void whenTheRuntimeBesideOnePodIsGoneAnotherPodServesTheCall() throws Exception {
    try (Beside beside = new Beside();
        FakeSidecar second = new FakeSidecar()) {
      beside.mesh.runtimes.get(1 - beside.holder).sidecar = second.address();
      beside.sidecar.close();
      byte[] answer =
          ClientCalls.blockingUnaryCall(
              beside.entries().getFirst(), Bytes.INFER, CallOptions.DEFAULT, request("m"));
      assertArrayEquals(request("m"), answer);
      assertEquals(1, second.calls.get());
    }
  }

  @Test
  void aClosingPodLetsItsStreamsEnd() throws Exception {
    try (Beside beside = new Beside()) {
      ManagedChannel entry = beside.entries().getFirst();
      Stream stream = new Stream(entry, FakeSidecar.STREAM, CallOptions.DEFAULT, new Metadata());
      stream.call.sendMessage(request("m"));
      assertArrayEquals(request("m"), stream.next());
      ServingPod closing = beside.mesh.pod(beside.holder);
      Thread closer = Thread.ofVirtual().start(closing::close);
      TestMesh.await(
          "the pod to leave", () -> beside.mesh.registry.view().pod(closing.id()) == null);
      for (int i = 0; i < 20; i++) {
        stream.call.sendMessage(request("m"));
        assertArrayEquals(request("m"), stream.next());
      }
      stream.call.halfClose();
      stream.call.request(1);
      assertTrue(stream.status().isOk(), stream.status().toString());
      closer.join();
    }
  }

  @Test
  void aMethodThatNobodyServesIsUnimplemented() throws Exception {
    try (Beside beside = new Beside()) {
      var unknown = Bytes.method(MethodDescriptor.MethodType.UNARY, "test.Runtime/Nothing");
      for (ManagedChannel entry : beside.entries()) {
        for (Metadata headers : List.of(new Metadata(), forModel("m"))) {
          Stream stream = new Stream(entry, unknown, CallOptions.DEFAULT, headers);
          stream.call.request(1);
          stream.call.sendMessage(new byte[3]);
          stream.call.halfClose();
          assertEquals(Status.Code.UNIMPLEMENTED, stream.status().getCode());
        }
      }
      beside.awaitIdle();
    }
  }

  @Test
  void thousandsOfCallsAtOnceAreAllAnswered() throws Exception {
    try (Beside beside = new Beside()) {
      Map<Integer, Stream> streams = new java.util.HashMap<>();
      for (int i = 0; i < 4_000; i++) {
        Stream stream =
            new Stream(
                beside.entries().get(i % 2), Bytes.INFER, CallOptions.DEFAULT, new Metadata());
        stream.call.request(2);
        stream.call.sendMessage(
            TestMesh.request("m").toBuilder().setId("call-" + i).build().toByteArray());
        stream.call.halfClose();
        streams.put(i, stream);
      }
      for (var each : streams.entrySet()) {
        assertTrue(each.getValue().status().isOk(), each.getValue().status().toString());
        byte[] message = each.getValue().messages.take();
        assertEquals("call-" + each.getKey(), ModelInferRequest.parseFrom(message).getId());
      }
      beside.awaitIdle();
    }
  }

  @Test
  void whatARuntimeBesideThePodWasSentAndSentIsOffered() throws Exception {
    try (Beside beside = new Beside()) {
      int from = 2 * beside.sidecar.calls.get();
      TestMesh.await("the first call's", () -> beside.mesh.events.size() == from);
      int large = 300_000;
      for (int bytes : new int[] {10, large}) {
        for (ManagedChannel entry : beside.entries()) {
          beside.mesh.events.clear();
          byte[] asked =
              TestMesh.request("m").toBuilder()
                  .setId("call-" + bytes)
                  .addRawInputContents(ByteString.copyFrom(new byte[bytes]))
                  .build()
                  .toByteArray();
          ClientCalls.blockingUnaryCall(entry, Bytes.INFER, CallOptions.DEFAULT, asked);
          TestMesh.await("the events", () -> beside.mesh.events.size() == 2);
          for (orlop.api.PayloadEvent event : beside.mesh.events) {
            assertEquals("call-" + bytes, event.id());
            assertEquals("m", event.modelId());
            assertEquals("urn:pod-" + beside.holder, event.source());
            assertArrayEquals(asked, event.value());
          }
        }
      }
      beside.awaitIdle();
    }
  }

  @Test
  void theStatusOfARuntimeThatFailedIsOffered() throws Exception {
    try (Beside beside = new Beside()) {
      TestMesh.await("the first call's", () -> beside.mesh.events.size() == 2);
      beside.mesh.events.clear();
      beside.sidecar.answer = Status.ABORTED.withDescription("not today");
      TestMesh.failure(
          () ->
              ClientCalls.blockingUnaryCall(
                  beside.entries().getLast(), Bytes.INFER, CallOptions.DEFAULT, request("m")));
      TestMesh.await("the events", () -> beside.mesh.events.size() == 2);
      assertArrayEquals(request("m"), beside.mesh.events.getFirst().value());
      orlop.api.PayloadEvent failure = beside.mesh.events.getLast();
      assertEquals(Status.Code.ABORTED.value(), failure.statusCode());
      assertEquals(
          "not today", new String(failure.value(), java.nio.charset.StandardCharsets.UTF_8));
      beside.awaitIdle();
    }
  }
}
