package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.ModelInferRequest;
import io.grpc.Status;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;

/** What a pod does when a client breaks the rules, or keeps them to the letter and is no help. */
class HostileClientTest {
  private static final String INFER = "/inference.GRPCInferenceService/ModelInfer";
  private static final int FLOW_CONTROL_ERROR = 3;
  private static final int CANCEL = 8;
  private static final int ENHANCE_YOUR_CALM = 11;

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  private static byte[] request() {
    return RawHttp2.message(TestMesh.request("m").toByteArray());
  }

  private static void awaitIdle(TestMesh mesh) {
    TestMesh.await("nothing in flight", () -> mesh.pod(0).inFlight() == 0);
    TestMesh.await("nothing held", () -> mesh.pod(0).heldBytes() == 0);
  }

  private static void assertServes(TestMesh mesh) {
    assertEquals("m", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")).getModelName());
  }

  private static TestMesh mesh() throws Exception {
    TestMesh mesh = new TestMesh(1, b -> b.maxMessageBytes(4 << 20).maxWaitMs(60_000));
    mesh.register("m");
    assertServes(mesh);
    return mesh;
  }

  /** The next header block ends the call with that status. */
  private static RawHttp2.Frame assertStatus(Status.Code code, RawHttp2 client) throws IOException {
    RawHttp2.Frame frame = client.next(RawHttp2.HEADERS);
    assertTrue(frame.ends(), "it does not end the stream");
    assertEquals(Integer.toString(code.value()), client.header("grpc-status"));
    return frame;
  }

  @Test
  void whatIsNotHttp2IsTurnedAway() throws Exception {
    try (TestMesh mesh = mesh();
        Socket socket = new Socket(InetAddress.getLoopbackAddress(), mesh.pod(0).grpcPort())) {
      socket.setSoTimeout(30_000);
      socket.getOutputStream().write(ascii("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
      socket.getInputStream().readAllBytes();
      assertServes(mesh);
    }
  }

  @Test
  void aCallWrittenByHandIsServed() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 1, RawHttp2.call(INFER));
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 1, request());
      assertFalse(client.next(RawHttp2.HEADERS).ends());
      byte[] answer = client.next(RawHttp2.DATA).payload();
      assertEquals(
          "m",
          inference.ModelInferResponse.parseFrom(Arrays.copyOfRange(answer, 5, answer.length))
              .getModelName());
      assertStatus(Status.Code.OK, client);
      awaitIdle(mesh);
    }
  }

  @Test
  void aRequestInPiecesOfOneByteIsServed() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 1, RawHttp2.call(INFER));
      byte[] request = request();
      for (int i = 0; i < request.length; i++) {
        int flags = i == request.length - 1 ? RawHttp2.END_STREAM : 0;
        client.frame(RawHttp2.DATA, flags, 1, new byte[] {request[i]});
      }
      client.next(RawHttp2.HEADERS);
      client.next(RawHttp2.DATA);
      assertStatus(Status.Code.OK, client);
      awaitIdle(mesh);
    }
  }

  @Test
  void aRequestThatIsCutOffOrEmptyIsRefused() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      byte[] request = request();
      byte[][] bodies = {
        Arrays.copyOf(request, request.length - 1),
        Arrays.copyOf(request, 3),
        new byte[0],
        {0, 0x7f, -1, -1, -1},
        {0, -1, -1, -1, -1},
        {9, 0, 0, 0, 1, 0}
      };
      Status.Code[] expected = {
        Status.Code.INVALID_ARGUMENT,
        Status.Code.INVALID_ARGUMENT,
        Status.Code.INVALID_ARGUMENT,
        Status.Code.RESOURCE_EXHAUSTED,
        Status.Code.RESOURCE_EXHAUSTED,
        // Compressed, it says, and does not say how.
        Status.Code.INTERNAL
      };
      int inferences = mesh.inferences();
      int stream = 1;
      for (byte[] body : bodies) {
        client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, RawHttp2.call(INFER));
        client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, stream, body);
        assertEquals(stream, assertStatus(expected[stream / 2], client).stream());
        stream += 2;
      }
      client.frame(
          RawHttp2.HEADERS,
          RawHttp2.END_HEADERS | RawHttp2.END_STREAM,
          stream,
          RawHttp2.call(INFER));
      assertStatus(Status.Code.INVALID_ARGUMENT, client);
      assertEquals(inferences, mesh.inferences());
      assertServes(mesh);
      awaitIdle(mesh);
    }
  }

  @Test
  void whatIsNoGrpcCallGetsAnHttpStatus() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      int both = RawHttp2.END_HEADERS | RawHttp2.END_STREAM;
      client.frame(
          RawHttp2.HEADERS,
          both,
          1,
          RawHttp2.block(
              ":method",
              "GET",
              ":scheme",
              "http",
              ":path",
              "/",
              ":authority",
              "pod",
              "content-type",
              "application/grpc"));
      assertTrue(client.next(RawHttp2.HEADERS).ends());
      assertEquals("405", client.header(":status"));
      client.frame(
          RawHttp2.HEADERS,
          both,
          3,
          RawHttp2.block(
              ":method",
              "POST",
              ":scheme",
              "http",
              ":path",
              INFER,
              ":authority",
              "pod",
              "content-type",
              "text/html"));
      assertTrue(client.next(RawHttp2.HEADERS).ends());
      assertEquals("415", client.header(":status"));
      assertEquals(0, mesh.pod(0).inFlight());
      assertServes(mesh);
    }
  }

  @Test
  void aCallThatNeverSendsItsRequestEndsAtItsDeadline() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      client.frame(
          RawHttp2.HEADERS, RawHttp2.END_HEADERS, 1, RawHttp2.call(INFER, "grpc-timeout", "200m"));
      client.frame(RawHttp2.DATA, 0, 1, new byte[] {0, 0, 0});
      assertStatus(Status.Code.DEADLINE_EXCEEDED, client);
      RawHttp2.Frame reset = client.next(RawHttp2.RST_STREAM);
      assertEquals(0, reset.number(0));
      awaitIdle(mesh);
      assertServes(mesh);
    }
  }

  @Test
  void aDeadlineAfterTheEndOfTimeHasNotPassed() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.getFirst().inferGate = gate;
      int stream = 1;
      for (String timeout : new String[] {"99999999H", "50m"}) {
        byte[] headers = RawHttp2.call(INFER, "grpc-timeout", timeout);
        client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, headers);
        client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, stream, request());
        stream += 2;
      }
      assertEquals(3, assertStatus(Status.Code.DEADLINE_EXCEEDED, client).stream());
      gate.countDown();
      RawHttp2.Frame answer = client.next(RawHttp2.HEADERS);
      assertEquals(1, answer.stream());
      assertFalse(answer.ends());
      awaitIdle(mesh);
    }
  }

  @Test
  void pingsWithoutEndCloseTheConnection() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      for (int i = 0; i < 10; i++) {
        try {
          client.frame(RawHttp2.PING, 0, 0, new byte[8]);
        } catch (IOException e) {
          break;
        }
      }
      RawHttp2.Frame goodbye = client.next(RawHttp2.GOAWAY);
      assertEquals(ENHANCE_YOUR_CALM, goodbye.number(4));
      assertTrue(goodbye.contains(ascii("too_many_pings")));
      assertServes(mesh);
    }
  }

  @Test
  void callsThatAreResetAtOnceLeaveNothingBehind() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      byte[] headers = RawHttp2.call(INFER);
      byte[] request = request();
      for (int i = 0; i < 5_000; i++) {
        int stream = 2 * i + 1;
        client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, headers);
        if (i % 3 == 0) {
          client.frame(RawHttp2.DATA, i % 2, stream, request);
        }
        client.frame(RawHttp2.RST_STREAM, 0, stream, RawHttp2.number(CANCEL));
      }
      assertServes(mesh);
      awaitIdle(mesh);
    }
  }

  @Test
  void resetsBeyondAllMeasureCloseTheConnection() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      byte[] headers = RawHttp2.call(INFER);
      Thread.ofVirtual()
          .start(
              () -> {
                try {
                  for (int i = 0; i < 30_000; i++) {
                    client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 2 * i + 1, headers);
                    client.frame(RawHttp2.RST_STREAM, 0, 2 * i + 1, RawHttp2.number(CANCEL));
                  }
                } catch (IOException e) {
                  // That is what is expected.
                }
              });
      RawHttp2.Frame last = client.next();
      while (last != null && last.type() != RawHttp2.GOAWAY) {
        last = client.next();
      }
      if (last != null) {
        assertEquals(ENHANCE_YOUR_CALM, last.number(4));
      }
      awaitIdle(mesh);
      assertServes(mesh);
    }
  }

  @Test
  void aConnectionThatBreaksInARequestLeavesNothingBehind() throws Exception {
    try (TestMesh mesh = mesh()) {
      for (int i = 0; i < 20; i++) {
        try (RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
          client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 1, RawHttp2.call(INFER));
          client.frame(RawHttp2.DATA, 0, 1, Arrays.copyOf(request(), 20));
          client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 3, RawHttp2.call(INFER));
          client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 3, request());
          client.next(RawHttp2.HEADERS);
        }
      }
      awaitIdle(mesh);
      assertServes(mesh);
    }
  }

  @Test
  void moreBytesThanTheWindowAllowsCloseTheConnection() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      mesh.register("cold");
      java.util.concurrent.CountDownLatch gate = new java.util.concurrent.CountDownLatch(1);
      mesh.runtimes.getFirst().loadGate = gate;
      byte[] big =
          ModelInferRequest.newBuilder()
              .setModelName("cold")
              .addRawInputContents(com.google.protobuf.ByteString.copyFrom(new byte[3 << 20]))
              .build()
              .toByteArray();
      byte[] message = RawHttp2.message(big);
      client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 1, RawHttp2.call(INFER));
      try {
        for (int at = 0; at < message.length; at += 16_000) {
          client.frame(
              RawHttp2.DATA,
              0,
              1,
              Arrays.copyOfRange(message, at, Math.min(message.length, at + 16_000)));
        }
      } catch (IOException e) {
        // It may be closed before all is written.
      }
      RawHttp2.Frame end = client.next();
      while (end != null && end.type() != RawHttp2.GOAWAY && end.type() != RawHttp2.RST_STREAM) {
        end = client.next();
      }
      if (end != null) {
        assertEquals(FLOW_CONTROL_ERROR, end.number(end.type() == RawHttp2.GOAWAY ? 4 : 0));
      }
      assertTrue(mesh.pod(0).heldBytes() <= 2 * Link.STREAM_WINDOW_BYTES);
      gate.countDown();
      awaitIdle(mesh);
      assertServes(mesh);
    }
  }

  @Test
  void anAnswerThatNobodyReadsIsCountedAndLetGoWithItsConnection() throws Exception {
    try (TestMesh mesh = mesh()) {
      byte[] big =
          RawHttp2.message(
              TestMesh.request("m").toBuilder()
                  .addRawInputContents(com.google.protobuf.ByteString.copyFrom(new byte[900_000]))
                  .build()
                  .toByteArray());
      try (RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
        client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 1, RawHttp2.call(INFER));
        for (int at = 0; at < big.length; at += 16_000) {
          int to = Math.min(big.length, at + 16_000);
          client.frame(
              RawHttp2.DATA,
              to == big.length ? RawHttp2.END_STREAM : 0,
              1,
              Arrays.copyOfRange(big, at, to));
        }
        // Frames are read, but the window is never opened again.
        int got = 0;
        while (got < 65_535) {
          got += client.next(RawHttp2.DATA).payload().length;
        }
        assertEquals(65_535, got);
        TestMesh.await("the call to have ended", () -> mesh.pod(0).inFlight() == 0);
        assertTrue(mesh.pod(0).heldBytes() >= 900_000, mesh.pod(0).heldBytes() + " bytes held");
        assertServes(mesh);
      }
      awaitIdle(mesh);
    }
  }

  @Test
  void headersThatBreakHttp2EndTheirStream() throws Exception {
    try (TestMesh mesh = mesh();
        RawHttp2 client = RawHttp2.client(mesh.pod(0).grpcPort())) {
      client.frame(
          RawHttp2.HEADERS,
          RawHttp2.END_HEADERS,
          1,
          RawHttp2.block(":method", "POST", "content-type", "application/grpc"));
      RawHttp2.Frame end = client.next();
      assertNotNull(end);
      assertTrue(end.ends() || end.type() == RawHttp2.RST_STREAM, end.toString());
      assertServes(mesh);
      awaitIdle(mesh);
    }
  }

  @Test
  void anOldConnectionIsAskedToGoAndNoCallFailsByIt() throws Exception {
    try (TestMesh aging = new TestMesh(1, builder -> builder.connectionAge(1_000, 10_000))) {
      aging.register("m");
      ServingPod pod = aging.pod(0);
      try (RawHttp2 client = RawHttp2.client(pod.grpcPort())) {
        RawHttp2.Frame goodbye = client.next(RawHttp2.GOAWAY);
        assertEquals(0, goodbye.number(4), "an error code");
      }
      // Over more than one life of a connection.
      long untilNs = System.nanoTime() + 2_500_000_000L;
      int calls = 0;
      while (System.nanoTime() < untilNs) {
        assertEquals("m", aging.client(pod).modelInfer(TestMesh.request("m")).getModelName());
        calls++;
      }
      assertTrue(calls > 10, "only " + calls);
    }
  }
}
