package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.http2.DefaultHttp2Connection;
import io.netty.handler.codec.http2.DefaultHttp2FrameReader;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.DefaultHttp2HeadersDecoder;
import io.netty.handler.codec.http2.Http2Connection;
import io.netty.handler.codec.http2.Http2FrameAdapter;
import io.netty.handler.codec.http2.Http2Headers;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Frames come out as they went in and in their order, however they are written. */
class OutboxTest {
  private static final int LIST_BYTES = 1 << 20;

  private final EmbeddedChannel channel = new EmbeddedChannel(new ChannelInboundHandlerAdapter());
  private final ChannelHandlerContext ctx = channel.pipeline().firstContext();
  private final Http2Connection connection = new DefaultHttp2Connection(false);
  private final Outbox outbox = new Outbox(connection);

  private static Http2Headers headers(int number, int valueBytes) {
    return new DefaultHttp2Headers(false)
        .path("/" + number)
        .set("grpc-timeout", number + "m")
        .set("x-filler", "v".repeat(valueBytes));
  }

  private static ByteBuf data(int number, int bytes) {
    return Unpooled.wrappedBuffer(new byte[bytes]).setByte(0, number);
  }

  private ByteBuf written() {
    outbox.spillIfTaken(ctx);
    channel.flush();
    List<ByteBuf> parts = new ArrayList<>();
    for (ByteBuf part = channel.readOutbound(); part != null; part = channel.readOutbound()) {
      parts.add(part);
    }
    return Unpooled.wrappedBuffer(parts.toArray(ByteBuf[]::new));
  }

  /** The frames in words. */
  private static List<String> read(ByteBuf bytes) throws Exception {
    List<String> seen = new ArrayList<>();
    DefaultHttp2FrameReader reader =
        new DefaultHttp2FrameReader(new DefaultHttp2HeadersDecoder(false, LIST_BYTES));
    ChannelHandlerContext ctx =
        new EmbeddedChannel(new ChannelInboundHandlerAdapter()).pipeline().firstContext();
    Http2FrameAdapter listener =
        new Http2FrameAdapter() {
          @Override
          public void onHeadersRead(
              ChannelHandlerContext c, int id, Http2Headers h, int padding, boolean end) {
            int filler = h.get("x-filler").length();
            seen.add("headers " + id + " " + h.path() + h.get("grpc-timeout") + filler + end);
          }

          @Override
          public int onDataRead(
              ChannelHandlerContext c, int id, ByteBuf data, int padding, boolean end) {
            int first = data.isReadable() ? data.getByte(data.readerIndex()) : -1;
            seen.add("data " + id + " " + first + " " + data.readableBytes() + end);
            return 0;
          }

          @Override
          public void onRstStreamRead(ChannelHandlerContext c, int id, long code) {
            seen.add("reset " + id + " " + code);
          }

          @Override
          public void onWindowUpdateRead(ChannelHandlerContext c, int id, int more) {
            seen.add("window " + id + " " + more);
          }

          @Override
          public void onPingRead(ChannelHandlerContext c, long word) {
            seen.add("ping " + word);
          }
        };
    while (bytes.isReadable()) {
      reader.readFrame(ctx, bytes, listener);
    }
    bytes.release();
    return seen;
  }

  @Test
  void framesKeepTheirOrderAndTheirContent() throws Exception {
    Random random = new Random(7);
    List<String> expected = new ArrayList<>();
    ByteBuf all = Unpooled.buffer();
    for (int i = 0; i < 3_000; i++) {
      int id = 2 * i + 1;
      boolean end = random.nextBoolean();
      switch (random.nextInt(6)) {
        case 0, 1 -> {
          outbox.writeHeaders(ctx, id, headers(i, i % 50), 0, end, ctx.newPromise());
          expected.add("headers " + id + " /" + i + i + "m" + i % 50 + end);
        }
        case 2, 3 -> {
          int bytes = 1 + (random.nextInt(3) == 0 ? random.nextInt(16_000) : random.nextInt(300));
          outbox.writeData(ctx, id, data(i & 0x7f, bytes), 0, end, ctx.newPromise());
          expected.add("data " + id + " " + (i & 0x7f) + " " + bytes + end);
        }
        case 4 -> {
          outbox.writeRstStream(ctx, id, 8, ctx.newPromise());
          expected.add("reset " + id + " 8");
          outbox.writePing(ctx, false, i, ctx.newPromise());
          expected.add("ping " + i);
        }
        default -> {
          outbox.writeWindowUpdate(ctx, id, i + 1, ctx.newPromise());
          expected.add("window " + id + " " + (i + 1));
        }
      }
      if (random.nextInt(20) == 0) {
        all.writeBytes(written());
      }
    }
    all.writeBytes(written());
    assertEquals(expected, read(all));
  }

  @Test
  void aHeaderBlockLongerThanAFrameGoesOnInOthers() throws Exception {
    outbox.writeHeaders(ctx, 1, headers(1, 50_000), 0, false, ctx.newPromise());
    outbox.writeHeaders(ctx, 3, headers(2, 10), 0, true, ctx.newPromise());
    assertEquals(List.of("headers 1 /11m50000false", "headers 3 /22m10true"), read(written()));
  }

  @Test
  void dataLongerThanAFrameGoesInSeveralOfWhichTheLastIsToldAndNothingIsKept() throws Exception {
    ByteBuf data = channel.alloc().directBuffer(40_000).writeZero(40_000).setByte(0, 5);
    ChannelFuture left = outbox.writeData(ctx, 1, data, 0, true, ctx.newPromise());
    assertFalse(left.isDone());
    outbox.writeData(ctx, 3, data(7, 10), 0, true, ctx.newPromise());
    assertEquals(
        List.of(
            "data 1 5 16384false", "data 1 0 16384false", "data 1 0 7232true", "data 3 7 10true"),
        read(written()));
    assertTrue(left.isSuccess());
    assertEquals(0, data.refCnt());
  }

  @Test
  void aConnectionThatHasEndedKeepsNothingOfWhatIsStillWritten() {
    outbox.close();
    channel.close();
    ByteBuf data = channel.alloc().directBuffer(40_000).writeZero(40_000);
    ChannelFuture left = outbox.writeData(ctx, 1, data, 0, true, ctx.newPromise());
    assertFalse(left.isSuccess());
    assertTrue(left.isDone());
    assertEquals(0, data.refCnt());
  }

  @Test
  void aPromiseOfAConnectionThatGoesAwayTellsWhenItsFrameHasLeft() throws Exception {
    assertTrue(outbox.writeHeaders(ctx, 1, headers(1, 1), 0, true, ctx.newPromise()).isDone());
    connection.goAwaySent(0, 0, Unpooled.EMPTY_BUFFER);
    ChannelFuture left = outbox.writeHeaders(ctx, 3, headers(2, 1), 0, true, ctx.newPromise());
    ChannelFuture last = outbox.writeData(ctx, 5, data(1, 10), 0, true, ctx.newPromise());
    assertFalse(left.isDone());
    assertFalse(last.isDone());
    assertEquals(
        List.of("headers 1 /11m1true", "headers 3 /22m1true", "data 5 1 10true"), read(written()));
    assertTrue(left.isSuccess());
    assertTrue(last.isSuccess());
  }

  @Test
  void theLastOfSeveralFramesIsToldWhenItHasLeftHoweverShortItIs() throws Exception {
    ByteBuf data = channel.alloc().directBuffer(20_000).writeZero(20_000).setByte(0, 5);
    ChannelFuture left = outbox.writeData(ctx, 1, data, 0, true, ctx.newPromise());
    assertFalse(left.isDone());
    assertEquals(List.of("data 1 5 16384false", "data 1 0 3616true"), read(written()));
    assertTrue(left.isSuccess());
  }

  /** The socket may have been told of the memory by its address, and not have taken it yet. */
  @Test
  void whatWasHandedOnStaysWhereItIsWhenALongHeaderBlockFollows() throws Exception {
    outbox.writeData(ctx, 1, data(5, 10_000), 0, false, ctx.newPromise());
    channel.flush();
    ByteBuf header = channel.readOutbound();
    assertEquals(9, header.readableBytes());
    long address = header.memoryAddress() + header.readerIndex();
    ByteBuf payload = channel.readOutbound();
    outbox.writeHeaders(ctx, 3, headers(1, 50_000), 0, true, ctx.newPromise());
    assertEquals(address, header.memoryAddress() + header.readerIndex());
    outbox.writeHeaders(ctx, 5, headers(2, 10), 0, true, ctx.newPromise());
    ByteBuf all = Unpooled.wrappedBuffer(header, payload, written());
    assertEquals(
        List.of("data 1 5 10000false", "headers 3 /11m50000true", "headers 5 /22m10true"),
        read(all));
  }
}
