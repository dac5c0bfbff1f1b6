package orlop.pod;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.ChannelPromise;
import io.netty.channel.VoidChannelPromise;
import io.netty.handler.codec.http2.DefaultHttp2FrameWriter;
import io.netty.handler.codec.http2.DefaultHttp2HeadersEncoder;
import io.netty.handler.codec.http2.Http2Connection;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2Flags;
import io.netty.handler.codec.http2.Http2FrameTypes;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2HeadersEncoder;
import io.netty.handler.codec.http2.Http2Settings;
import io.netty.util.AsciiString;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;

/**
 * Writes one connection's frames, the small ones into one buffer that leaves with the next flush: a
 * frame then costs its bytes, and no buffer, promise and place in the socket's vector of its own.
 * Owned by the connection's event loop.
 *
 * <p>A promise for a gathered frame is kept at once, since nothing can come between it and the
 * socket but the end of the connection. When the connection is going away every frame is handed on
 * by itself, so that its promise tells when it has left.
 */
final class Outbox extends DefaultHttp2FrameWriter {
  /** Payloads up to here are copied; passing on a reference to them costs more. */
  private static final int COPY_UP_TO_BYTES = 4_096;

  private static final int BUFFER_BYTES = 16 << 10;
  private static final int FRAME_HEADER_BYTES = 9;

  /*
   * Data stops where flow control or the socket says so, everything else does not. A peer that
   * makes this pod answer and reads nothing is cut off here.
   */
  static final int MAX_UNREAD_BYTES = 8 << 20;

  /*
   * Differ from call to call: in HPACK's table they would only push out what is worth keeping.
   * "Never indexed" is also what RFC 7541 wants for what identifies a call.
   */
  private static final Set<CharSequence> NOT_INDEXED =
      Set.of(
          Wire.TIMEOUT,
          Wire.MODEL,
          Wire.MODEL_BIN,
          Wire.ALIAS,
          Wire.ALIAS_BIN,
          AsciiString.cached(Headers.LOAD),
          AsciiString.cached(Headers.PROMISED),
          AsciiString.cached("traceparent"),
          AsciiString.cached("tracestate"),
          AsciiString.cached("grpc-trace-bin"),
          AsciiString.cached("x-request-id"));

  private final Http2Connection connection;
  private final Http2HeadersEncoder headersEncoder;
  private @Nullable ByteBuf gathered;

  /** For frames of which nobody needs to know when they have left. */
  private @Nullable ChannelPromise unheard;

  private boolean closed;
  private boolean sent;

  Outbox(Http2Connection connection) {
    this(connection, new DefaultHttp2HeadersEncoder((name, value) -> NOT_INDEXED.contains(name)));
  }

  private Outbox(Http2Connection connection, Http2HeadersEncoder headersEncoder) {
    super(headersEncoder);
    this.connection = connection;
    this.headersEncoder = headersEncoder;
  }

  /** Whether a promise for a payload of that size would be kept at once. */
  boolean gathers(int payloadBytes) {
    return payloadBytes <= COPY_UP_TO_BYTES
        && !closed
        && !connection.goAwaySent()
        && !connection.goAwayReceived();
  }

  /** Whether headers or data were sent since this was last asked. */
  boolean sentSinceLastAsked() {
    boolean was = sent;
    sent = false;
    return was;
  }

  /**
   * As {@link #spill}, unless the channel could not send it anyway: what is written one by one to a
   * peer that does not read goes on being gathered then.
   */
  void spillIfTaken(ChannelHandlerContext ctx) {
    if (ctx.channel().isWritable()) {
      spill(ctx);
    }
  }

  /** Hands what was gathered to the channel, which sends it with the next flush. */
  private void spill(ChannelHandlerContext ctx) {
    ByteBuf full = gathered;
    if (full == null) {
      return;
    }
    gathered = null;
    if (!full.isReadable()) {
      full.release();
      return;
    }
    ctx.write(full, unheard(ctx));
    ChannelOutboundBuffer unsent = ctx.channel().unsafe().outboundBuffer();
    if (unsent != null && unsent.totalPendingWriteBytes() > MAX_UNREAD_BYTES) {
      ctx.close();
    }
  }

  /** As {@link #spill}, with the rest of the buffer kept for what is written next. */
  private void cut(ChannelHandlerContext ctx) {
    ByteBuf open = gathered;
    if (closed) {
      spill(ctx);
    } else if (open != null) {
      ctx.write(open.readRetainedSlice(open.readableBytes()), unheard(ctx));
    }
  }

  /** Nothing is fired when such a frame cannot leave: the connection has ended then. */
  private ChannelPromise unheard(ChannelHandlerContext ctx) {
    ChannelPromise known = unheard;
    if (known == null) {
      known = new VoidChannelPromise(ctx.channel(), false);
      unheard = known;
    }
    return known;
  }

  private ByteBuf room(ChannelHandlerContext ctx, int bytes) {
    ByteBuf open = gathered;
    if (open != null && open.writableBytes() < bytes) {
      spill(ctx);
      open = null;
    }
    if (open == null) {
      open = ctx.alloc().directBuffer(Math.max(bytes, BUFFER_BYTES));
      gathered = open;
    }
    return open;
  }

  private static ByteBuf header(ByteBuf out, int bytes, byte type, int flags, int streamId) {
    return out.writeMedium(bytes).writeByte(type).writeByte(flags).writeInt(streamId);
  }

  private static ChannelPromise undone(ChannelHandlerContext ctx, ChannelPromise promise) {
    return promise.isDone() ? ctx.newPromise() : promise;
  }

  private static ChannelFuture done(ChannelPromise promise) {
    promise.trySuccess();
    return promise;
  }

  // ---- frames that make up calls

  @Override
  public ChannelFuture writeHeaders(
      ChannelHandlerContext ctx,
      int streamId,
      Http2Headers headers,
      int padding,
      boolean end,
      ChannelPromise promise) {
    sent = true;
    if (padding > 0 || !gathers(0)) {
      spill(ctx);
      return super.writeHeaders(ctx, streamId, headers, padding, end, undone(ctx, promise));
    }
    ByteBuf open = gathered;
    if (open != null && open.refCnt() > 1 && mostBytes(headers) > COPY_UP_TO_BYTES) {
      // The buffer may grow, which moves it, and parts of it are on their way to the socket.
      spill(ctx);
    }
    ByteBuf out = room(ctx, COPY_UP_TO_BYTES);
    int start = out.writerIndex();
    try {
      headersEncoder.encodeHeaders(streamId, headers, out.writerIndex(start + FRAME_HEADER_BYTES));
    } catch (Http2Exception | RuntimeException e) {
      out.writerIndex(start);
      return ctx.newFailedFuture(e);
    }
    int bytes = out.writerIndex() - start - FRAME_HEADER_BYTES;
    int flags = end ? Http2Flags.END_STREAM : 0;
    out.writerIndex(start);
    if (bytes <= maxFrameSize()) {
      header(out, bytes, Http2FrameTypes.HEADERS, flags | Http2Flags.END_HEADERS, streamId);
      out.writerIndex(start + FRAME_HEADER_BYTES + bytes);
    } else {
      continued(out, out.copy(start + FRAME_HEADER_BYTES, bytes), flags, streamId);
    }
    return done(promise);
  }

  /** What the frames of a header block may take: HPACK adds less than that to names and values. */
  private static long mostBytes(Http2Headers headers) {
    long bytes = 2 * FRAME_HEADER_BYTES;
    for (Map.Entry<CharSequence, CharSequence> header : headers) {
      bytes += header.getKey().length() + header.getValue().length() + 2 * FRAME_HEADER_BYTES;
    }
    return bytes;
  }

  /** A block that is longer than a frame may be. */
  private void continued(ByteBuf out, ByteBuf block, int flags, int streamId) {
    byte type = Http2FrameTypes.HEADERS;
    int here = flags;
    while (block.isReadable()) {
      int bytes = Math.min(maxFrameSize(), block.readableBytes());
      here |= bytes == block.readableBytes() ? Http2Flags.END_HEADERS : 0;
      header(out, bytes, type, here, streamId).writeBytes(block, bytes);
      type = Http2FrameTypes.CONTINUATION;
      here = 0;
    }
    block.release();
  }

  @Override
  public ChannelFuture writeHeaders(
      ChannelHandlerContext ctx,
      int streamId,
      Http2Headers headers,
      int dependency,
      short weight,
      boolean exclusive,
      int padding,
      boolean end,
      ChannelPromise promise) {
    return writeHeaders(ctx, streamId, headers, padding, end, promise);
  }

  @Override
  public ChannelFuture writeData(
      ChannelHandlerContext ctx,
      int streamId,
      ByteBuf data,
      int padding,
      boolean end,
      ChannelPromise promise) {
    if (padding > 0) {
      sent = true;
      spill(ctx);
      return super.writeData(ctx, streamId, data, padding, end, undone(ctx, promise));
    }
    return writeData(ctx, streamId, data, end, promise);
  }

  /**
   * Writes data, which this takes over, in as many frames as it needs.
   *
   * @param last told when the last of them has left; null when nobody needs to know
   * @return {@code last}, or what stands for it
   */
  ChannelFuture writeData(
      ChannelHandlerContext ctx,
      int streamId,
      ByteBuf data,
      boolean end,
      @Nullable ChannelPromise last) {
    sent = true;
    int most = maxFrameSize();
    boolean whole = data.readableBytes() <= most;
    while (data.readableBytes() > most) {
      header(room(ctx, FRAME_HEADER_BYTES), most, Http2FrameTypes.DATA, 0, streamId);
      cut(ctx);
      ctx.write(data.readRetainedSlice(most), unheard(ctx));
    }
    int bytes = data.readableBytes();
    // The end of long data tells when all of it has left, so it is not copied, short as it may be.
    boolean copied = whole && gathers(bytes);
    ByteBuf out = room(ctx, FRAME_HEADER_BYTES + (copied ? bytes : 0));
    header(out, bytes, Http2FrameTypes.DATA, end ? Http2Flags.END_STREAM : 0, streamId);
    if (copied) {
      out.writeBytes(data, data.readerIndex(), bytes);
      data.release();
      return last == null ? ctx.newSucceededFuture() : done(last);
    }
    cut(ctx);
    return ctx.write(data, last == null ? unheard(ctx) : undone(ctx, last));
  }

  @Override
  public ChannelFuture writeRstStream(
      ChannelHandlerContext ctx, int streamId, long errorCode, ChannelPromise promise) {
    if (!gathers(0)) {
      spill(ctx);
      return super.writeRstStream(ctx, streamId, errorCode, undone(ctx, promise));
    }
    ByteBuf out = room(ctx, FRAME_HEADER_BYTES + 4);
    header(out, 4, Http2FrameTypes.RST_STREAM, 0, streamId).writeInt((int) errorCode);
    return done(promise);
  }

  @Override
  public ChannelFuture writeWindowUpdate(
      ChannelHandlerContext ctx, int streamId, int increment, ChannelPromise promise) {
    if (!gathers(0)) {
      spill(ctx);
      return super.writeWindowUpdate(ctx, streamId, increment, undone(ctx, promise));
    }
    ByteBuf out = room(ctx, FRAME_HEADER_BYTES + 4);
    header(out, 4, Http2FrameTypes.WINDOW_UPDATE, 0, streamId).writeInt(increment);
    return done(promise);
  }

  // ---- the rest, which keeps its place among them

  @Override
  public ChannelFuture writeSettings(
      ChannelHandlerContext ctx, Http2Settings settings, ChannelPromise promise) {
    spill(ctx);
    return super.writeSettings(ctx, settings, promise);
  }

  @Override
  public ChannelFuture writeSettingsAck(ChannelHandlerContext ctx, ChannelPromise promise) {
    if (!gathers(0)) {
      spill(ctx);
      return super.writeSettingsAck(ctx, undone(ctx, promise));
    }
    header(room(ctx, FRAME_HEADER_BYTES), 0, Http2FrameTypes.SETTINGS, Http2Flags.ACK, 0);
    return done(promise);
  }

  @Override
  public ChannelFuture writePing(
      ChannelHandlerContext ctx, boolean ack, long data, ChannelPromise promise) {
    if (!gathers(0)) {
      spill(ctx);
      return super.writePing(ctx, ack, data, undone(ctx, promise));
    }
    int flags = ack ? Http2Flags.ACK : 0;
    header(room(ctx, FRAME_HEADER_BYTES + 8), 8, Http2FrameTypes.PING, flags, 0).writeLong(data);
    return done(promise);
  }

  @Override
  public ChannelFuture writeGoAway(
      ChannelHandlerContext ctx,
      int lastStreamId,
      long errorCode,
      ByteBuf debug,
      ChannelPromise promise) {
    spill(ctx);
    return super.writeGoAway(ctx, lastStreamId, errorCode, debug, promise);
  }

  /** The connection has ended. */
  @Override
  public void close() {
    closed = true;
    ByteBuf unsent = gathered;
    gathered = null;
    if (unsent != null) {
      unsent.release();
    }
    super.close();
  }
}
