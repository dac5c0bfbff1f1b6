package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2FrameAdapter;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Frames are read as they were written, in whatever pieces they come. */
class InboxTest {
  private static final int HEADER_LIST_BYTES = 20_000;
  private static final int HEADERS = 1;
  private static final int PUSH_PROMISE = 5;
  private static final int PING = 6;
  private static final int WINDOW_UPDATE = 8;
  private static final int UNKNOWN = 77;

  private final EmbeddedChannel channel = new EmbeddedChannel(new ChannelInboundHandlerAdapter());
  private final ChannelHandlerContext ctx = channel.pipeline().firstContext();
  private final Inbox inbox = new Inbox(HEADER_LIST_BYTES, false);
  private final Seen seen = new Seen();

  /** What a stream's data added up to, and the other frames in their order. */
  private static final class Seen extends Http2FrameAdapter {
    final TreeMap<Integer, ByteBuf> data = new TreeMap<>();
    final TreeMap<Integer, Integer> padding = new TreeMap<>();
    final List<Integer> ended = new ArrayList<>();
    final List<String> others = new ArrayList<>();
    int parts;
    boolean refusing;

    @Override
    public int onDataRead(ChannelHandlerContext c, int id, ByteBuf part, int padded, boolean end)
        throws Http2Exception {
      parts++;
      if (refusing) {
        throw Http2Exception.streamError(id, Http2Error.STREAM_CLOSED, "closed");
      }
      assertFalse(ended.contains(id), "data of stream " + id + " behind its end");
      data.computeIfAbsent(id, any -> Unpooled.buffer()).writeBytes(part);
      padding.merge(id, padded, Integer::sum);
      if (end) {
        ended.add(id);
      }
      return 0;
    }

    @Override
    public void onPingRead(ChannelHandlerContext c, long word) {
      others.add("ping " + word);
    }

    @Override
    public void onWindowUpdateRead(ChannelHandlerContext c, int id, int more) {
      others.add("window " + id + " " + more);
    }
  }

  private static ByteBuf frame(int type, int flags, int stream, byte[] payload) {
    return Unpooled.buffer(9 + payload.length)
        .writeMedium(payload.length)
        .writeByte(type)
        .writeByte(flags)
        .writeInt(stream)
        .writeBytes(payload);
  }

  private static byte[] bytes(Random random, int count) {
    byte[] bytes = new byte[count];
    random.nextBytes(bytes);
    return bytes;
  }

  private Http2Exception refusal(ByteBuf frame) {
    Http2Exception refused =
        assertThrows(Http2Exception.class, () -> inbox.readFrame(ctx, frame, seen));
    assertFalse(Http2Exception.isStreamError(refused));
    ByteBuf more = frame(PING, 0, 0, new byte[8]);
    assertTrue(
        org.junit.jupiter.api.Assertions.assertDoesNotThrow(
            () -> {
              inbox.readFrame(ctx, more, seen);
              return seen.others.isEmpty() && !more.isReadable();
            }),
        "what comes behind a broken frame is not looked at");
    return refused;
  }

  @Test
  void dataArrivesWholeInWhateverPiecesItComesAndNothingIsKept() throws Exception {
    inbox.maxFrameSize(64 << 10);
    Random random = new Random(11);
    Seen expected = new Seen();
    ByteBuf all = Unpooled.buffer();
    for (int i = 0; i < 400; i++) {
      int id = 2 * i + 1;
      if (i % 7 == 0) {
        all.writeBytes(frame(PING, 0, 0, Unpooled.copyLong(i).array()));
        expected.others.add("ping " + i);
      }
      if (i % 5 == 0) {
        all.writeBytes(frame(WINDOW_UPDATE, 0, id, RawHttp2.number(i + 1)));
        expected.others.add("window " + id + " " + (i + 1));
      }
      if (i % 11 == 0) {
        all.writeBytes(frame(UNKNOWN, 0, 0, new byte[random.nextInt(16_000)]));
      }
      byte[] data = bytes(random, random.nextInt(4) == 0 ? 0 : random.nextInt(64 << 10));
      boolean end = random.nextBoolean();
      int flags = end ? RawHttp2.END_STREAM : 0;
      int padding = 0;
      if (random.nextInt(3) == 0) {
        int pad = Math.min(random.nextInt(256), (64 << 10) - 1 - data.length);
        padding = 1 + pad;
        ByteBuf padded = Unpooled.buffer().writeByte(pad).writeBytes(data).writeZero(pad);
        byte[] payload = new byte[padded.readableBytes()];
        padded.readBytes(payload);
        all.writeBytes(frame(RawHttp2.DATA, flags | RawHttp2.PADDED, id, payload));
      } else {
        all.writeBytes(frame(RawHttp2.DATA, flags, id, data));
      }
      expected.data.put(id, Unpooled.wrappedBuffer(data));
      expected.padding.put(id, padding);
      if (end) {
        expected.ended.add(id);
      }
    }
    ByteBuf came = channel.alloc().directBuffer(all.readableBytes());
    int most = 0;
    while (all.isReadable()) {
      int step = random.nextInt(3) == 0 ? random.nextInt(60_000) : random.nextInt(3_000);
      came.writeBytes(all, Math.min(all.readableBytes(), 1 + step));
      inbox.readFrame(ctx, came, seen);
      most = Math.max(most, came.readableBytes());
    }
    assertEquals(0, came.readableBytes());
    assertTrue(most < Inbox.PART_BYTES + 9, most + " bytes had to wait for the rest of a frame");
    assertEquals(expected.data, seen.data);
    assertEquals(expected.padding, seen.padding);
    assertEquals(expected.ended, seen.ended);
    assertEquals(expected.others, seen.others);
    assertEquals(1, came.refCnt());
    came.release();
  }

  @Test
  void aFrameThatIsNoDataMayBeNoLongerThanAllHeaders() throws Exception {
    inbox.maxFrameSize(64 << 10);
    ByteBuf header = frame(UNKNOWN, 0, 0, new byte[HEADER_LIST_BYTES + 1]).slice(0, 9);
    assertEquals(Http2Error.FRAME_SIZE_ERROR, refusal(header).error());
  }

  @Test
  void dataMayBeNoLongerThanWhatWasAllowed() throws Exception {
    inbox.maxFrameSize(64 << 10);
    ByteBuf header = frame(RawHttp2.DATA, 0, 1, new byte[(64 << 10) + 1]).slice(0, 9);
    assertEquals(Http2Error.FRAME_SIZE_ERROR, refusal(header).error());
  }

  @Test
  void moreIsNotAllowedBeforeThePeerHasHeardOfIt() {
    ByteBuf header = frame(RawHttp2.DATA, 0, 1, new byte[(16 << 10) + 1]).slice(0, 9);
    assertEquals(Http2Error.FRAME_SIZE_ERROR, refusal(header).error());
  }

  @Test
  void dataAmidAHeaderBlockEndsTheConnection() throws Exception {
    inbox.readFrame(ctx, frame(HEADERS, 0, 1, RawHttp2.call("/a")), seen);
    assertEquals(
        Http2Error.PROTOCOL_ERROR, refusal(frame(RawHttp2.DATA, 0, 1, new byte[100])).error());
  }

  @Test
  void dataAmidTheHeaderBlockOfAPushEndsTheConnection() throws Exception {
    inbox.readFrame(ctx, frame(PUSH_PROMISE, 0, 1, RawHttp2.number(2)), seen);
    assertEquals(
        Http2Error.PROTOCOL_ERROR, refusal(frame(RawHttp2.DATA, 0, 1, new byte[100])).error());
  }

  @Test
  void dataOfNoStreamEndsTheConnection() {
    assertEquals(
        Http2Error.PROTOCOL_ERROR, refusal(frame(RawHttp2.DATA, 0, 0, new byte[100])).error());
  }

  @Test
  void moreDataThanOnePartThatNobodyWantsIsOneError() throws Exception {
    inbox.maxFrameSize(64 << 10);
    seen.refusing = true;
    ByteBuf all = frame(RawHttp2.DATA, 0, 1, new byte[60_000]);
    ByteBuf came = Unpooled.buffer();
    int errors = 0;
    while (all.isReadable()) {
      came.writeBytes(all, Math.min(all.readableBytes(), 20_000));
      try {
        inbox.readFrame(ctx, came, seen);
      } catch (Http2Exception e) {
        assertTrue(Http2Exception.isStreamError(e));
        errors++;
      }
    }
    assertTrue(seen.parts > 2, seen.parts + " parts");
    assertEquals(1, errors);
    seen.refusing = false;
    inbox.readFrame(ctx, frame(PING, 0, 0, new byte[8]), seen);
    assertEquals(List.of("ping 0"), seen.others);
  }
}
