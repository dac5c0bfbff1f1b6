package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.sun.management.ThreadMXBean;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.netty.buffer.Unpooled;
import io.netty.util.concurrent.FastThreadLocalThread;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadInfo;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Messages of many frames: what their frames may be, what they cost, and what is left of them. */
class BulkFramesTest {
  private static final String INFER = "/inference.GRPCInferenceService/ModelInfer";
  private static final int LONG_FRAME = 64 << 10;
  private static final int MAX_FRAME_SIZE = 5;
  private static final int INITIAL_WINDOW_SIZE = 4;
  private static final int CANCEL = 8;

  private static TestMesh mesh;

  @BeforeAll
  static void start() throws Exception {
    mesh = new TestMesh(2, b -> b.eventLoops(1).maxMessageBytes(64 << 20).maxWaitMs(60_000));
    mesh.register("m");
    mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
  }

  @AfterAll
  static void stop() {
    mesh.close();
  }

  private static void awaitIdle() {
    for (ServingPod pod : mesh.pods) {
      TestMesh.await("nothing in flight", () -> pod.inFlight() == 0);
      TestMesh.await("nothing held", () -> pod.heldBytes() == 0);
    }
  }

  private static ModelInferRequest request(int bytes) {
    byte[] content = new byte[bytes];
    new Random(bytes).nextBytes(content);
    return ModelInferRequest.newBuilder()
        .setModelName("m")
        .addRawInputContents(ByteString.copyFrom(content))
        .build();
  }

  private static byte[] setting(int id, int value) {
    byte[] out = new byte[6];
    out[1] = (byte) id;
    System.arraycopy(RawHttp2.number(value), 0, out, 2, 4);
    return out;
  }

  /** A client that takes long frames and may write them: it has heard the pod's settings. */
  private static RawHttp2 client() throws IOException {
    RawHttp2 client = RawHttp2.client(mesh.pod(mesh.holder("m")).grpcPort());
    byte[] settings = new byte[12];
    System.arraycopy(setting(MAX_FRAME_SIZE, LONG_FRAME), 0, settings, 0, 6);
    System.arraycopy(setting(INITIAL_WINDOW_SIZE, 8 << 20), 0, settings, 6, 6);
    client.frame(RawHttp2.SETTINGS, 0, 0, settings);
    client.frame(RawHttp2.WINDOW_UPDATE, 0, 0, RawHttp2.number(8 << 20));
    client.frame(RawHttp2.PING, 0, 0, new byte[8]);
    assertEquals(1, client.next(RawHttp2.PING).flags());
    return client;
  }

  private static void send(RawHttp2 client, int stream, byte[] message, int bytes, boolean end)
      throws IOException {
    client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, stream, RawHttp2.call(INFER));
    for (int at = 0; at < bytes; at += LONG_FRAME) {
      int to = Math.min(bytes, at + LONG_FRAME);
      int flags = end && to == bytes ? RawHttp2.END_STREAM : 0;
      client.frame(RawHttp2.DATA, flags, stream, Arrays.copyOfRange(message, at, to));
    }
  }

  @Test
  void longFramesAreTakenAndWrittenWhereTheyAreAllowed() throws Exception {
    ModelInferRequest request = request(900_000);
    try (RawHttp2 client = client()) {
      byte[] message = RawHttp2.message(request.toByteArray());
      send(client, 1, message, message.length, true);
      ByteArrayOutputStream answer = new ByteArrayOutputStream();
      int longest = 0;
      RawHttp2.Frame frame;
      do {
        frame = client.next();
        assertNotNull(frame);
        if (frame.type() == RawHttp2.DATA) {
          answer.write(frame.payload());
          longest = Math.max(longest, frame.payload().length);
        }
      } while (!frame.ends());
      assertEquals(LONG_FRAME, longest);
      byte[] framed = answer.toByteArray();
      ModelInferResponse told =
          ModelInferResponse.parseFrom(
              Arrays.copyOfRange(framed, Wire.PREFIX_BYTES, framed.length));
      assertArrayEquals(
          request.getRawInputContents(0).toByteArray(), told.getRawOutputContents(0).toByteArray());
    }
    awaitIdle();
  }

  @Test
  void aResetAmidAMessageLeavesNothingBehind() throws Exception {
    byte[] message = RawHttp2.message(request(900_000).toByteArray());
    try (RawHttp2 client = client()) {
      ServingPod pod = mesh.pod(mesh.holder("m"));
      for (int stream = 1; stream < 20; stream += 2) {
        send(client, stream, message, 5 * LONG_FRAME, false);
        TestMesh.await("its bytes to be held", () -> pod.heldBytes() >= 5 * LONG_FRAME);
        client.frame(RawHttp2.RST_STREAM, 0, stream, RawHttp2.number(CANCEL));
        awaitIdle();
      }
    }
  }

  @Test
  void aConnectionThatBreaksAmidAFrameLeavesNothingBehind() throws Exception {
    byte[] message = RawHttp2.message(request(900_000).toByteArray());
    ServingPod pod = mesh.pod(mesh.holder("m"));
    for (int i = 0; i < 5; i++) {
      try (RawHttp2 client = client()) {
        send(client, 1, message, LONG_FRAME, false);
        // Half of a long frame: what has come of it does not wait for the rest.
        byte[] half = new byte[9 + LONG_FRAME / 2];
        half[0] = 1;
        half[8] = 1;
        client.write(half);
        TestMesh.await("half a frame", () -> pod.heldBytes() >= LONG_FRAME + LONG_FRAME / 4);
      }
      awaitIdle();
    }
  }

  /** Heap that the event loops have allocated so far. */
  private static long allocatedByLoops() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long sum = 0;
    for (ThreadInfo each : threads.getThreadInfo(threads.getAllThreadIds())) {
      if (each != null && each.getThreadName().startsWith("orlop-io-pod-")) {
        sum += threads.getThreadAllocatedBytes(each.getThreadId());
      }
    }
    return sum;
  }

  /** The median of some calls of that size, in bytes of heap. */
  private static long heapOfOneCall(ServingPod entry, int bytes) {
    ModelInferRequest request = request(bytes);
    long[] each = new long[15];
    for (int i = -30; i < each.length; i++) {
      long before = allocatedByLoops();
      assertEquals(bytes, mesh.client(entry).modelInfer(request).getRawOutputContents(0).size());
      awaitIdle();
      if (i >= 0) {
        each[i] = allocatedByLoops() - before;
      }
    }
    Arrays.sort(each);
    return each[each.length / 2];
  }

  @Test
  void theHeapThatACallTakesHardlyGrowsWithItsFrames() {
    ServingPod pod = mesh.pod(mesh.holder("m"));
    long small = heapOfOneCall(pod, 1_000);
    long large = heapOfOneCall(pod, 8 << 20);
    int frames = 2 * (8 << 20) / (16 << 10);
    assertTrue(
        large - small < 32L * frames,
        "%d bytes of heap for a small call, %d for one of %d frames"
            .formatted(small, large, frames));
  }

  @Test
  void theHeapOfAForwardedCallHardlyGrowsWithItsFrames() {
    ServingPod other = mesh.pod(1 - mesh.holder("m"));
    long small = heapOfOneCall(other, 1_000);
    long large = heapOfOneCall(other, 8 << 20);
    int frames = 4 * (8 << 20) / (16 << 10);
    assertTrue(
        large - small < 160L * frames,
        "%d bytes of heap for a small call, %d for one of %d frames"
            .formatted(small, large, frames));
  }

  @Test
  void threadsOfLoopsAreOfTheKindThatBuffersAreKeptFor() throws Exception {
    boolean[] kept = new boolean[1];
    Thread first =
        Loop.threads("io-")
            .newThread(
                () -> kept[0] = FastThreadLocalThread.currentThreadWillCleanupFastThreadLocals());
    first.start();
    first.join();
    assertTrue(kept[0]);
    assertTrue(first.isDaemon());
    assertEquals("io-0", first.getName());
  }

  @Test
  void aMessageIsCollectedInNoMoreThanItSaysThatItTakes() {
    var begun = Unpooled.buffer().writeByte(0).writeInt(1_000).writeZero(95);
    assertEquals(512, Request.room(begun, 150));
    assertEquals(600, Request.room(begun, 300));
    assertEquals(1_005, Request.room(begun, 700));
    var huge = Unpooled.buffer().writeByte(0).writeInt(-1).writeZero(95);
    assertEquals(600, Request.room(huge, 300));
    assertEquals(512, Request.room(Unpooled.buffer().writeByte(0), 2));
  }

  /** While a stream waits, what follows its first message is collected behind it. */
  @Test
  void whatIsBehindTheFirstMessageIsCopiedNoMoreThanTwiceHoweverSmallItsParts() {
    var begun = Unpooled.buffer().writeByte(0).writeInt(100).writeZero(100);
    long copied = 0;
    int room = begun.readableBytes();
    for (int size = room + 1; size < Link.STREAM_WINDOW_BYTES; size++) {
      if (size > room) {
        copied += size;
        room = Request.room(begun, size);
      }
    }
    assertTrue(copied < 2 * Link.STREAM_WINDOW_BYTES, copied + " bytes copied");
  }

  @Test
  void aLargeAnswerThatIsReadSlowlyDoesNotCutOffTheCallsBesideIt() throws Exception {
    int calls = 3_000;
    ServingPod pod = mesh.pod(mesh.holder("m"));
    byte[] large = RawHttp2.message(request(32 << 20).toByteArray());
    byte[] small = RawHttp2.message(request(10).toByteArray());
    try (RawHttp2 client = RawHttp2.client(pod.grpcPort())) {
      client.frame(RawHttp2.SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 64 << 20));
      client.frame(RawHttp2.WINDOW_UPDATE, 0, 0, RawHttp2.number(64 << 20));
      client.frame(RawHttp2.HEADERS, RawHttp2.END_HEADERS, 1, RawHttp2.call(INFER));
      for (int at = 0; at < large.length; at += 16_000) {
        int to = Math.min(large.length, at + 16_000);
        int flags = to == large.length ? RawHttp2.END_STREAM : 0;
        client.frame(RawHttp2.DATA, flags, 1, Arrays.copyOfRange(large, at, to));
      }
      TestMesh.await("the large answer", () -> pod.heldBytes() > 0 && pod.inFlight() == 0);
      for (int i = 1; i <= calls; i++) {
        send(client, 2 * i + 1, small, small.length, true);
      }
      int ended = 0;
      while (ended <= calls) {
        RawHttp2.Frame frame = client.next();
        assertNotNull(frame, "the connection was closed after " + ended + " answers");
        ended += frame.ends() ? 1 : 0;
      }
    }
    awaitIdle();
  }
}
