package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.placement.CopyState;
import orlop.placement.Memory;
import orlop.placement.Pod;
import orlop.registry.PodSession;

/** What callers see when the place that a call was sent on to breaks off or breaks the rules. */
@Tag("slow")
class BrokenTargetTest {
  private static final byte[] ANSWER_HEADERS =
      RawHttp2.block(":status", "200", "content-type", "application/grpc");
  private static final byte[] ANSWER_TRAILERS = RawHttp2.block("grpc-status", "0");
  private static final int END = RawHttp2.END_HEADERS | RawHttp2.END_STREAM;

  /** What a server written by hand does with each of its connections. */
  private interface Script {
    void run(RawHttp2 peer) throws IOException;
  }

  private static final class Target implements AutoCloseable {
    private final ServerSocket socket;
    private final List<RawHttp2> peers = new CopyOnWriteArrayList<>();

    Target(Script script) throws IOException {
      socket = new ServerSocket(0, 16, InetAddress.getLoopbackAddress());
      Thread.ofVirtual().start(() -> accept(script));
    }

    private void accept(Script script) {
      while (true) {
        Socket accepted;
        try {
          accepted = socket.accept();
        } catch (IOException e) {
          return;
        }
        Thread.ofVirtual()
            .start(
                () -> {
                  try {
                    RawHttp2 peer = new RawHttp2(accepted);
                    peers.add(peer);
                    peer.readPreface();
                    peer.frame(RawHttp2.SETTINGS, 0, 0, new byte[0]);
                    script.run(peer);
                  } catch (IOException e) {
                    // The pod has closed it, or the test is over.
                  }
                });
      }
    }

    String address() {
      return "127.0.0.1:" + socket.getLocalPort();
    }

    int connections() {
      return peers.size();
    }

    @Override
    public void close() throws IOException {
      socket.close();
      for (RawHttp2 peer : peers) {
        peer.close();
      }
    }
  }

  /** The stream of the next request, once that has ended. */
  private static int request(RawHttp2 peer) throws IOException {
    for (RawHttp2.Frame frame = peer.next(); frame != null; frame = peer.next()) {
      if (frame.ends()) {
        return frame.stream();
      }
    }
    throw new IOException("no request");
  }

  private static void answer(RawHttp2 peer, int stream, byte[] message) throws IOException {
    peer.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, ANSWER_HEADERS);
    peer.frame(RawHttp2.DATA, 0, stream, RawHttp2.message(message));
    peer.frame(RawHttp2.HEADERS, END, stream, ANSWER_TRAILERS);
  }

  private static byte[] goAway(int last) {
    return java.nio.ByteBuffer.allocate(8).putInt(last).putInt(0).array();
  }

  /** Two pods; the runtime beside the one that holds the model is the target, by the other real. */
  private static final class Beside implements AutoCloseable {
    final TestMesh mesh = new TestMesh(2);
    final FakeSidecar other = new FakeSidecar();
    final Target target;
    final int holder;

    Beside(Script script) throws Exception {
      target = new Target(script);
      mesh.runtimes.forEach(runtime -> runtime.sidecar = other.address());
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      holder = mesh.holder("m");
      mesh.register("broken");
      mesh.runtimes.forEach(runtime -> runtime.sidecar = target.address());
      // Not called, so that only the test's own calls reach the target.
      var loaded =
          orlop.api.PodControlGrpc.newBlockingStub(mesh.channel(mesh.pod(holder)))
              .load(orlop.api.LoadRequest.newBuilder().setModelId("broken").setWait(true).build());
      assertNotNull(loaded);
      mesh.runtimes.forEach(runtime -> runtime.sidecar = other.address());
      TestMesh.await("the copy", () -> mesh.loadedCopies("broken") == 1);
      other.calls.set(0);
    }

    Call call(MethodDescriptor<byte[], byte[]> method) {
      return new Call(this, method);
    }

    @Override
    public void close() throws Exception {
      target.close();
      other.close();
      mesh.close();
    }
  }

  /** A call with one message. */
  private static final class Call extends ClientCall.Listener<byte[]> {
    final List<byte[]> messages = new CopyOnWriteArrayList<>();
    private final CompletableFuture<Status> ended = new CompletableFuture<>();

    Call(Beside beside, MethodDescriptor<byte[], byte[]> method) {
      Metadata headers = new Metadata();
      headers.put(Named.ascii(orlop.api.Headers.MODEL_ID), "broken");
      ClientCall<byte[], byte[]> call =
          beside.mesh.channel(beside.mesh.pod(beside.holder)).newCall(method, CallOptions.DEFAULT);
      call.start(this, headers);
      call.request(1_000_000);
      call.sendMessage(TestMesh.request("broken").toByteArray());
      call.halfClose();
    }

    @Override
    public void onMessage(byte[] message) {
      messages.add(message);
    }

    @Override
    public void onClose(Status status, Metadata last) {
      ended.complete(status);
    }

    Status status() throws Exception {
      return ended.get(60, TimeUnit.SECONDS);
    }
  }

  private static void assertIdle(Beside beside) {
    for (ServingPod pod : beside.mesh.pods) {
      TestMesh.await("nothing in flight", () -> pod.inFlight() == 0);
      TestMesh.await("nothing held", () -> pod.heldBytes() == 0);
    }
  }

  @Test
  void aStreamBeyondTheLastOneOfAGoAwayRunsElsewhere() throws Exception {
    Script script =
        peer -> {
          request(peer);
          peer.frame(RawHttp2.GOAWAY, 0, 0, goAway(0));
        };
    try (Beside beside = new Beside(script)) {
      Call call = beside.call(FakeSidecar.STREAM);
      assertEquals(Status.Code.OK, call.status().getCode(), call.status().toString());
      assertArrayEquals(TestMesh.request("broken").toByteArray(), call.messages.getFirst());
      assertEquals(1, beside.other.calls.get());
      assertIdle(beside);
    }
  }

  @Test
  void aStreamThatAGoAwayCoversEndsWhereItIsAndTheNextOpensAConnection() throws Exception {
    byte[] answer = {1, 2, 3};
    Script script =
        peer -> {
          int stream = request(peer);
          peer.frame(RawHttp2.GOAWAY, 0, 0, goAway(stream));
          answer(peer, stream, answer);
          request(peer);
        };
    try (Beside beside = new Beside(script)) {
      for (int i = 1; i <= 3; i++) {
        Call call = beside.call(FakeSidecar.STREAM);
        assertEquals(Status.Code.OK, call.status().getCode(), call.status().toString());
        assertArrayEquals(answer, call.messages.getFirst());
        assertEquals(i, beside.target.connections());
      }
      assertEquals(0, beside.other.calls.get());
      assertIdle(beside);
    }
  }

  @Test
  void aStreamThatMayHaveRunIsNotRunAgainAndAnInferenceIs() throws Exception {
    Script script =
        peer -> {
          request(peer);
          peer.close();
        };
    try (Beside beside = new Beside(script)) {
      assertEquals(Status.Code.UNAVAILABLE, beside.call(FakeSidecar.STREAM).status().getCode());
      assertEquals(0, beside.other.calls.get());
      Call inference = beside.call(Bytes.INFER);
      assertEquals(Status.Code.OK, inference.status().getCode(), inference.status().toString());
      assertEquals(1, beside.other.calls.get());
      assertIdle(beside);
    }
  }

  @Test
  void eachResetCodeBecomesItsStatus() throws Exception {
    Map<Integer, Status.Code> expected =
        Map.of(
            0, Status.Code.INTERNAL,
            1, Status.Code.INTERNAL,
            2, Status.Code.INTERNAL,
            3, Status.Code.INTERNAL,
            8, Status.Code.UNAVAILABLE,
            11, Status.Code.RESOURCE_EXHAUSTED,
            12, Status.Code.PERMISSION_DENIED,
            99, Status.Code.INTERNAL);
    for (var each : expected.entrySet()) {
      Script script =
          peer -> {
            int stream = request(peer);
            peer.frame(RawHttp2.RST_STREAM, 0, stream, RawHttp2.number(each.getKey()));
            request(peer);
          };
      try (Beside beside = new Beside(script)) {
        Status status = beside.call(FakeSidecar.STREAM).status();
        assertEquals(each.getValue(), status.getCode(), each.getKey() + ": " + status);
        assertEquals(0, beside.other.calls.get());
        assertIdle(beside);
      }
    }
  }

  @Test
  void aRefusedStreamRunsElsewhere() throws Exception {
    Script script =
        peer -> {
          int stream = request(peer);
          peer.frame(RawHttp2.RST_STREAM, 0, stream, RawHttp2.number(7));
          request(peer);
        };
    try (Beside beside = new Beside(script)) {
      Status status = beside.call(FakeSidecar.STREAM).status();
      assertEquals(Status.Code.OK, status.getCode(), status.toString());
      assertEquals(1, beside.other.calls.get());
      assertIdle(beside);
    }
  }

  @Test
  void headersThatAnnounceMoreArePassedOver() throws Exception {
    Script script =
        peer -> {
          int stream = request(peer);
          peer.frame(
              RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, RawHttp2.block(":status", "103"));
          answer(peer, stream, new byte[] {1});
          request(peer);
        };
    try (Beside beside = new Beside(script)) {
      Call call = beside.call(FakeSidecar.STREAM);
      assertEquals(Status.Code.OK, call.status().getCode(), call.status().toString());
      assertArrayEquals(new byte[] {1}, call.messages.getFirst());
      assertIdle(beside);
    }
  }

  @Test
  void paddingIsCreditedWithTheDataItComesWith() throws Exception {
    int frames = 2 * Link.STREAM_WINDOW_BYTES / 300;
    Script script =
        peer -> {
          int stream = request(peer);
          peer.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, ANSWER_HEADERS);
          byte[] message = RawHttp2.message(new byte[40]);
          byte[] padded = new byte[1 + message.length + 255];
          padded[0] = (byte) 255;
          System.arraycopy(message, 0, padded, 1, message.length);
          for (int i = 0; i < frames; i++) {
            peer.frame(RawHttp2.DATA, RawHttp2.PADDED, stream, padded);
            if (i % 1_000 == 0) {
              // Until the pod has read all of it and given its credit.
              peer.frame(RawHttp2.PING, 0, 0, new byte[8]);
              peer.next(RawHttp2.PING);
              peer.frame(RawHttp2.PING, 0, 0, new byte[8]);
              peer.next(RawHttp2.PING);
            }
          }
          peer.frame(RawHttp2.HEADERS, END, stream, ANSWER_TRAILERS);
          request(peer);
        };
    try (Beside beside = new Beside(script)) {
      Call call = beside.call(FakeSidecar.STREAM);
      assertEquals(Status.Code.OK, call.status().getCode(), call.status().toString());
      assertEquals(frames, call.messages.size());
      assertIdle(beside);
    }
  }

  @Test
  void anAnswerThatBreaksTheRulesIsAnInternalError() throws Exception {
    List<Script> wrong =
        List.of(
            peer -> {
              int stream = request(peer);
              peer.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, ANSWER_HEADERS);
              peer.frame(RawHttp2.DATA, RawHttp2.END_STREAM, stream, new byte[] {0, 0, 0, 0, 0});
              request(peer);
            },
            peer -> {
              int stream = request(peer);
              peer.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, ANSWER_HEADERS);
              peer.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, ANSWER_TRAILERS);
              request(peer);
            },
            peer -> {
              int stream = request(peer);
              peer.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, ANSWER_HEADERS);
              peer.frame(RawHttp2.WINDOW_UPDATE, 0, stream, RawHttp2.number(Integer.MAX_VALUE));
              request(peer);
            });
    for (Script script : wrong) {
      try (Beside beside = new Beside(script)) {
        Status status = beside.call(FakeSidecar.STREAM).status();
        assertEquals(Status.Code.INTERNAL, status.getCode(), status.toString());
        assertEquals(0, beside.other.calls.get());
        assertIdle(beside);
      }
    }
  }

  @Test
  void anAnswerBeforeTheEndOfItsRequestEndsTheCall() throws Exception {
    Script script =
        peer -> {
          RawHttp2.Frame headers = peer.next(RawHttp2.HEADERS);
          peer.frame(
              RawHttp2.HEADERS,
              END,
              headers.stream(),
              RawHttp2.block(
                  ":status", "200", "content-type", "application/grpc", "grpc-status", "9"));
          peer.frame(RawHttp2.RST_STREAM, 0, headers.stream(), RawHttp2.number(0));
          request(peer);
        };
    try (Beside beside = new Beside(script)) {
      Status status = beside.call(FakeSidecar.STREAM).status();
      assertEquals(Status.Code.FAILED_PRECONDITION, status.getCode(), status.toString());
      assertIdle(beside);
    }
  }

  @Test
  void aPodThatFallsSilentIsAskedForASignOfLifeAndLeft() throws Exception {
    Script script =
        peer -> {
          request(peer);
          peer.next(RawHttp2.PING);
          // And no word in answer.
          peer.next();
        };
    try (TestMesh mesh = new TestMesh(1);
        Target silent = new Target(script)) {
      mesh.register("m");
      try (PodSession session =
          mesh.registry.join(
              new Pod(
                  "silent",
                  silent.address(),
                  "",
                  java.util.Set.of(),
                  Memory.ram(1_000_000),
                  Memory.NONE,
                  0,
                  0,
                  false,
                  1,
                  "test"))) {
        session.publish("m", new CopyState.Loaded(Memory.ram(1_000), 1), 1);
        session.flush(10_000);
        long startNs = System.nanoTime();
        assertEquals(
            "m", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")).getModelName());
        long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNs);
        assertTrue(tookMs > 9_000, "answered after " + tookMs + " ms");
        assertEquals(1, silent.connections());
      }
    }
  }
}
