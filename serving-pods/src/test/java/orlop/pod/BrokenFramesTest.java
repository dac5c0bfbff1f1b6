package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What one client's wrong or senseless frames do to a pod: nothing that others notice. */
class BrokenFramesTest {
  private static final String INFER = "/inference.GRPCInferenceService/ModelInfer";
  private static final int PROTOCOL_ERROR = 1;
  private static final int FLOW_CONTROL_ERROR = 3;
  private static final int STREAM_CLOSED = 5;
  private static final int CANCEL = 8;
  private static final int ENHANCE_YOUR_CALM = 11;

  private static TestMesh mesh;

  @BeforeAll
  static void start() throws Exception {
    mesh = new TestMesh(1, b -> b.maxWaitMs(60_000));
    mesh.register("m");
    assertServes();
  }

  @AfterAll
  static void stop() {
    mesh.close();
  }

  private static void assertServes() {
    assertEquals("m", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")).getModelName());
    TestMesh.await("nothing in flight", () -> mesh.pod(0).inFlight() == 0);
    TestMesh.await("nothing held", () -> mesh.pod(0).heldBytes() == 0);
  }

  private static RawHttp2 client() throws IOException {
    return RawHttp2.client(mesh.pod(0).grpcPort());
  }

  private static byte[] request() {
    return RawHttp2.message(TestMesh.request("m").toByteArray());
  }

  private static void open(RawHttp2 client, int stream) throws IOException {
    client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, RawHttp2.call(INFER));
  }

  private static void assertAnswered(RawHttp2 client, int stream) throws IOException {
    RawHttp2.Frame headers = client.next(RawHttp2.HEADERS);
    assertEquals(stream, headers.stream());
    assertFalse(headers.ends());
    client.next(RawHttp2.DATA);
    assertTrue(client.next(RawHttp2.HEADERS).ends());
  }

  private static void assertReset(RawHttp2 client, int stream, Integer... codes)
      throws IOException {
    RawHttp2.Frame reset = client.next(RawHttp2.RST_STREAM);
    assertEquals(stream, reset.stream());
    assertTrue(Set.of(codes).contains(reset.number(0)), "error code " + reset.number(0));
  }

  private static void assertSentAway(RawHttp2 client, Integer... codes) throws IOException {
    RawHttp2.Frame goodbye = client.next(RawHttp2.GOAWAY);
    assertTrue(Set.of(codes).contains(goodbye.number(4)), "error code " + goodbye.number(4));
    RawHttp2.Frame more = client.next();
    while (more != null) {
      more = client.next();
    }
  }

  /** Many frames in few writes, until all are written or the other end has had enough. */
  private static void flood(RawHttp2 client, int count, byte[] frames) {
    ByteArrayOutputStream many = new ByteArrayOutputStream();
    try {
      for (int i = 0; i < count; i++) {
        many.writeBytes(frames);
        if (many.size() > 32_000) {
          client.write(many.toByteArray());
          many.reset();
        }
      }
      client.write(many.toByteArray());
    } catch (IOException e) {
      // It was closed, as hoped.
    }
  }

  private static byte[] frame(int type, int flags, int stream, byte[] payload) {
    return ByteBuffer.allocate(9 + payload.length)
        .put((byte) 0)
        .putShort((short) payload.length)
        .put((byte) type)
        .put((byte) flags)
        .putInt(stream)
        .put(payload)
        .array();
  }

  @Test
  void paddedDataIsReadWithoutItsPadding() throws Exception {
    try (RawHttp2 client = client()) {
      open(client, 1);
      byte[] request = request();
      byte[] padded = new byte[1 + request.length + 200];
      padded[0] = (byte) 200;
      System.arraycopy(request, 0, padded, 1, request.length);
      client.frame(RawHttp2.DATA, RawHttp2.PADDED | RawHttp2.END_STREAM, 1, padded);
      assertAnswered(client, 1);
    }
    assertServes();
  }

  @Test
  void paddingLongerThanItsFrameEndsTheConnection() throws Exception {
    try (RawHttp2 client = client()) {
      open(client, 1);
      client.frame(RawHttp2.DATA, RawHttp2.PADDED, 1, new byte[] {100, 0, 0});
      assertSentAway(client, PROTOCOL_ERROR);
    }
    assertServes();
  }

  @Test
  void emptyDataFramesWithoutEndCloseTheConnection() throws Exception {
    try (RawHttp2 client = client()) {
      open(client, 1);
      flood(client, 50, frame(RawHttp2.DATA, 0, 1, new byte[0]));
      assertSentAway(client, ENHANCE_YOUR_CALM);
    }
    assertServes();
  }

  @Test
  void continuationsWithoutEndCloseTheConnection() throws Exception {
    try (RawHttp2 client = client()) {
      client.frame(RawHttp2.HEADERS, 0, 1, RawHttp2.call(INFER));
      flood(client, 10_000, frame(RawHttp2.CONTINUATION, 0, 1, RawHttp2.block("x", "y")));
      try {
        assertSentAway(client, ENHANCE_YOUR_CALM, PROTOCOL_ERROR);
      } catch (SocketException e) {
        // Closed as well: what was still being written is answered with a reset, which may
        // overtake.
      }
    }
    assertServes();
  }

  @Test
  void anotherFrameAmidAHeaderBlockClosesTheConnection() throws Exception {
    try (RawHttp2 client = client()) {
      client.frame(RawHttp2.HEADERS, 0, 1, RawHttp2.call(INFER));
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 1, request());
      assertSentAway(client, PROTOCOL_ERROR);
    }
    assertServes();
  }

  @Test
  void headersInPiecesAreReadAsOne() throws Exception {
    try (RawHttp2 client = client()) {
      byte[] block = RawHttp2.call(INFER);
      client.frame(RawHttp2.HEADERS, 0, 1, Arrays.copyOf(block, 7));
      client.frame(
          RawHttp2.CONTINUATION,
          RawHttp2.END_HEADERS,
          1,
          Arrays.copyOfRange(block, 7, block.length));
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 1, request());
      assertAnswered(client, 1);
    }
    assertServes();
  }

  @Test
  void settingsWithoutEndCloseTheConnection() throws Exception {
    try (RawHttp2 client = client()) {
      flood(client, 5_000, frame(RawHttp2.SETTINGS, 0, 0, new byte[0]));
      assertSentAway(client, ENHANCE_YOUR_CALM);
    }
    assertServes();
  }

  @Test
  void streamsThatWantToBeResetCloseTheConnectionInTheEnd() throws Exception {
    try (RawHttp2 client = client()) {
      byte[] headers = RawHttp2.call(INFER);
      Thread.ofVirtual()
          .start(
              () -> {
                for (int i = 0; i < 5_000; i++) {
                  flood(
                      client, 1, frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 2 * i + 1, headers));
                  flood(client, 1, frame(RawHttp2.WINDOW_UPDATE, 0, 2 * i + 1, new byte[4]));
                }
              });
      assertSentAway(client, ENHANCE_YOUR_CALM);
    }
    assertServes();
  }

  @Test
  void aWindowThatOverflowsEndsItsStreamOrTheConnection() throws Exception {
    try (RawHttp2 client = client()) {
      byte[] most = RawHttp2.number(Integer.MAX_VALUE);
      open(client, 1);
      client.frame(RawHttp2.WINDOW_UPDATE, 0, 1, most);
      assertReset(client, 1, FLOW_CONTROL_ERROR);
      open(client, 3);
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 3, request());
      assertAnswered(client, 3);
      client.frame(RawHttp2.WINDOW_UPDATE, 0, 0, most);
      assertSentAway(client, FLOW_CONTROL_ERROR);
    }
    assertServes();
  }

  @Test
  void anAnswerWaitsForTheWindowAndGoesOnWithIt() throws Exception {
    try (RawHttp2 client = client()) {
      // A stream's window of nothing at first.
      client.frame(RawHttp2.SETTINGS, 0, 0, new byte[] {0, 4, 0, 0, 0, 0});
      open(client, 1);
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 1, request());
      assertFalse(client.next(RawHttp2.HEADERS).ends());
      TestMesh.await("the call to have ended", () -> mesh.pod(0).inFlight() == 0);
      assertTrue(mesh.pod(0).heldBytes() > 0);
      int got = 0;
      RawHttp2.Frame frame;
      client.frame(RawHttp2.WINDOW_UPDATE, 0, 1, RawHttp2.number(1));
      do {
        frame = client.next();
        assertNotNull(frame);
        if (frame.type() == RawHttp2.DATA) {
          got += frame.payload().length;
          client.frame(RawHttp2.WINDOW_UPDATE, 0, 1, RawHttp2.number(1));
        }
      } while (!frame.ends());
      assertTrue(got > 5, got + " bytes");
    }
    assertServes();
  }

  @Test
  void headersThatHttp2ForbidsEndTheirStream() throws Exception {
    String[][] wrong = {
      {":unknown", "x"},
      {":path", "/twice"},
      {":status", "200"},
      {"Upper-Case", "x"},
      {"connection", "close"},
      {"transfer-encoding", "chunked"},
    };
    for (String[] field : wrong) {
      try (RawHttp2 client = client()) {
        client.frame(
            RawHttp2.HEADERS, RawHttp2.END_HEADERS, 1, RawHttp2.call(INFER, field[0], field[1]));
        RawHttp2.Frame end = client.next();
        assertNotNull(end, field[0]);
        boolean told = end.type() == RawHttp2.RST_STREAM || end.type() == RawHttp2.GOAWAY;
        assertTrue(told, field[0] + " was answered by " + end);
        assertEquals(PROTOCOL_ERROR, end.number(end.type() == RawHttp2.GOAWAY ? 4 : 0), field[0]);
      }
    }
    assertServes();
  }

  @Test
  void dataAfterTheEndOfARequestEndsItsStream() throws Exception {
    try (RawHttp2 client = client()) {
      var gate = new java.util.concurrent.CountDownLatch(1);
      mesh.runtimes.getFirst().inferGate = gate;
      open(client, 1);
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 1, request());
      client.frame(RawHttp2.DATA, 0, 1, request());
      assertReset(client, 1, STREAM_CLOSED);
      gate.countDown();
      mesh.runtimes.getFirst().inferGate = null;
    }
    assertServes();
  }

  @Test
  void aResetAfterTheEndOfARequestCancelsTheCall() throws Exception {
    try (RawHttp2 client = client()) {
      var gate = new java.util.concurrent.CountDownLatch(1);
      mesh.runtimes.getFirst().inferGate = gate;
      open(client, 1);
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 1, request());
      TestMesh.await("the call", () -> mesh.pod(0).inFlight() == 1);
      client.frame(RawHttp2.RST_STREAM, 0, 1, RawHttp2.number(CANCEL));
      TestMesh.await("the end of the call", () -> mesh.pod(0).inFlight() == 0);
      gate.countDown();
      mesh.runtimes.getFirst().inferGate = null;
      open(client, 3);
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 3, request());
      assertAnswered(client, 3);
    }
    assertServes();
  }

  @Test
  void trailersMayEndARequestAndMayNotStandInIt() throws Exception {
    try (RawHttp2 client = client()) {
      open(client, 1);
      client.frame(RawHttp2.DATA, 0, 1, request());
      client.frame(
          RawHttp2.HEADERS,
          RawHttp2.END_HEADERS | RawHttp2.END_STREAM,
          1,
          RawHttp2.block("x-checksum", "7"));
      assertAnswered(client, 1);
      open(client, 3);
      client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 3, RawHttp2.block("x", "y"));
      assertReset(client, 3, PROTOCOL_ERROR);
    }
    assertServes();
  }

  @Test
  void streamNumbersThatGoBackOrAreEvenAreNotTaken() throws Exception {
    try (RawHttp2 client = client()) {
      open(client, 3);
      open(client, 1);
      assertReset(client, 1, STREAM_CLOSED);
      open(client, 4);
      assertSentAway(client, PROTOCOL_ERROR);
    }
    assertServes();
  }

  @Test
  void unknownFramesArePassedOver() throws Exception {
    try (RawHttp2 client = client()) {
      client.frame(0x77, 0xff, 0, new byte[50]);
      open(client, 1);
      client.frame(0x78, 0, 1, new byte[5]);
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 1, request());
      assertAnswered(client, 1);
    }
    assertServes();
  }

  @Test
  void whatWasOnItsWayWhenItsCallWasRefusedIsNoNuisance() throws Exception {
    byte[] request =
        RawHttp2.message(
            TestMesh.request("unknown").toBuilder()
                .addRawInputContents(com.google.protobuf.ByteString.copyFrom(new byte[1_000_000]))
                .build()
                .toByteArray());
    try (RawHttp2 client = client()) {
      for (int stream = 1; stream < 60; stream += 2) {
        open(client, stream);
        for (int at = 0; at < request.length; at += 16_000) {
          int to = Math.min(request.length, at + 16_000);
          int flags = to == request.length ? RawHttp2.END_STREAM : 0;
          client.frame(RawHttp2.DATA, flags, stream, Arrays.copyOfRange(request, at, to));
        }
        RawHttp2.Frame refusal = client.next(RawHttp2.HEADERS);
        assertEquals(stream, refusal.stream());
        assertTrue(refusal.ends());
        assertReset(client, stream, 0);
      }
      open(client, 61);
      client.frame(RawHttp2.DATA, RawHttp2.END_STREAM, 61, request());
      RawHttp2.Frame next = client.next();
      assertNotNull(next);
      assertEquals(RawHttp2.HEADERS, next.type(), "nothing is said to what came too late");
      assertEquals(61, next.stream());
    }
    assertServes();
  }
}
