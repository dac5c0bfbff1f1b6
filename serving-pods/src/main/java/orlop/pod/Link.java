package orlop.pod;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.http2.DefaultHttp2Connection;
import io.netty.handler.codec.http2.DefaultHttp2ConnectionDecoder;
import io.netty.handler.codec.http2.DefaultHttp2ConnectionEncoder;
import io.netty.handler.codec.http2.Http2Connection;
import io.netty.handler.codec.http2.Http2ConnectionDecoder;
import io.netty.handler.codec.http2.Http2ConnectionEncoder;
import io.netty.handler.codec.http2.Http2ConnectionHandler;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2FrameListener;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2PromisedRequestVerifier;
import io.netty.handler.codec.http2.Http2RemoteFlowController;
import io.netty.handler.codec.http2.Http2Settings;
import io.netty.handler.codec.http2.Http2Stream;
import io.netty.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * One HTTP/2 connection, whoever opened it, without a channel for each stream. Owned by its event
 * loop: every method runs there.
 *
 * <p>What is received on a stream is credited to its sender when the other side has taken it, so a
 * slow reader slows the writer, and at most a stream window of each stream waits in memory.
 */
abstract class Link extends Http2ConnectionHandler {
  /** What a peer may send on one stream, or a caller may have unread, before it has to wait. */
  static final int STREAM_WINDOW_BYTES = 1 << 20;

  /*
   * The window of a connection is no bound on memory, since that would let calls that wait hold up
   * those that do not; the pod's own count of bytes is.
   */
  private static final int CONNECTION_WINDOW_BYTES = 256 << 20;

  /**
   * What a frame of data may carry. Nobody holds it whole here, so this is only about the sender:
   * how long the others on its connection wait for such a frame.
   */
  static final int MAX_FRAME_BYTES = 64 << 10;

  final Loop loop;
  final Http2Connection.PropertyKey key;

  private final long pingAfterNs;
  private final long pongWithinNs;
  private final Windows windows;
  private final Outbox outbox;
  private @Nullable ChannelHandlerContext context;

  /** For frames of which nobody needs to know when they have left. */
  private @Nullable ChannelPromise done;

  private boolean reading;
  private boolean touched;
  private long lastReadNs = System.nanoTime();
  private long pingSentNs;
  private @Nullable Future<?> pinging;

  /**
   * @param pingAfterMs how long the peer may be silent before it is asked for a sign of life
   * @param pongWithinMs how long it may take to give one before the connection is closed
   */
  Link(
      Loop loop,
      Http2ConnectionDecoder decoder,
      Http2ConnectionEncoder encoder,
      Http2Settings settings,
      long pingAfterMs,
      long pongWithinMs) {
    super(decoder, encoder, settings);
    this.loop = loop;
    this.key = encoder.connection().newKey();
    if (!(encoder.flowController() instanceof Windows own)
        || !(encoder.frameWriter() instanceof Outbox out)) {
      throw new IllegalArgumentException("the encoder is not of Link.encoder");
    }
    this.windows = own;
    this.outbox = out;
    this.pingAfterNs = TimeUnit.MILLISECONDS.toNanos(pingAfterMs);
    this.pongWithinNs = TimeUnit.MILLISECONDS.toNanos(pongWithinMs);
  }

  static Http2Settings settings(int maxHeaderBytes) {
    return new Http2Settings()
        .initialWindowSize(STREAM_WINDOW_BYTES)
        .maxFrameSize(MAX_FRAME_BYTES)
        .maxHeaderListSize(maxHeaderBytes);
  }

  /** Netty's codec, but for the writing of frames and what flow control holds back. */
  static Http2ConnectionEncoder encoder(boolean server) {
    Http2Connection made = new DefaultHttp2Connection(server);
    Outbox outbox = new Outbox(made);
    made.remote().flowController(new Windows(made, outbox));
    return new DefaultHttp2ConnectionEncoder(made, outbox);
  }

  /**
   * @param validate whether headers are looked at for what HTTP/2 does not allow
   */
  static Http2ConnectionDecoder decoder(
      Http2ConnectionEncoder encoder, int maxHeaderBytes, boolean validate) {
    return new DefaultHttp2ConnectionDecoder(
        encoder.connection(),
        encoder,
        new Inbox(maxHeaderBytes, validate),
        Http2PromisedRequestVerifier.ALWAYS_VERIFY,
        true,
        true,
        validate,
        false);
  }

  final ChannelHandlerContext context() {
    ChannelHandlerContext known = context;
    if (known == null) {
      throw new IllegalStateException("the connection is not open yet");
    }
    return known;
  }

  /** The connection's preface has been sent. */
  @Override
  public void handlerAdded(ChannelHandlerContext ctx) throws Exception {
    context = ctx;
    done = ctx.newPromise().setSuccess();
    super.handlerAdded(ctx);
  }

  @Override
  public void channelActive(ChannelHandlerContext ctx) throws Exception {
    context = ctx;
    super.channelActive(ctx);
    begin();
  }

  /** Called when the channel is active and the preface is on its way. */
  void begin() throws Http2Exception {
    decoder()
        .flowController()
        .incrementWindowSize(
            connection().connectionStream(),
            CONNECTION_WINDOW_BYTES
                - decoder().flowController().windowSize(connection().connectionStream()));
    touch();
    long everyNs = Math.max(1, Math.min(pingAfterNs, pongWithinNs) / 2);
    pinging =
        loop.executor.scheduleWithFixedDelay(
            this::checkLife, everyNs, everyNs, TimeUnit.NANOSECONDS);
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) throws Exception {
    lastReadNs = System.nanoTime();
    super.channelRead(ctx, message);
  }

  /** The flush that Netty does here waits for the end of the loop's turn, like all others. */
  @Override
  public void channelReadComplete(ChannelHandlerContext ctx) throws Exception {
    reading = true;
    try {
      super.channelReadComplete(ctx);
    } finally {
      reading = false;
    }
  }

  @Override
  public void flush(ChannelHandlerContext ctx) {
    if (reading) {
      touch();
    } else {
      super.flush(ctx);
    }
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) throws Exception {
    if (pinging != null) {
      pinging.cancel(false);
    }
    super.channelInactive(ctx);
  }

  private void checkLife() {
    long now = System.nanoTime();
    if (pingSentNs != 0 && lastReadNs - pingSentNs < 0) {
      if (now - pingSentNs > pongWithinNs) {
        context().close();
      }
    } else if (now - lastReadNs > pingAfterNs) {
      pingSentNs = now;
      encoder().writePing(context(), false, now, done());
      touch();
    } else {
      pingSentNs = 0;
    }
  }

  /** Whether headers or data were sent since this was last asked. */
  final boolean sentSinceLastAsked() {
    return outbox.sentSinceLastAsked();
  }

  /** Has the frames that were written flushed soon; see {@link Loop#touch}. */
  final void touch() {
    if (!touched) {
      touched = true;
      loop.touch(this);
    }
  }

  final void flushNow() {
    touched = false;
    if (context != null) {
      flush(context);
    }
  }

  private ChannelPromise done() {
    ChannelPromise known = done;
    if (known == null) {
      throw new IllegalStateException("the connection is not open yet");
    }
    return known;
  }

  final void headers(Http2Stream stream, Http2Headers headers, boolean end) {
    headers(stream.id(), headers, end);
  }

  /** Opens the stream, when this side does and there is none of that number. */
  final void headers(int streamId, Http2Headers headers, boolean end) {
    ChannelPromise left = end ? context().newPromise() : done();
    encoder().writeHeaders(context(), streamId, headers, 0, end, left);
    touch();
  }

  /**
   * Sends the last frame of a stream.
   *
   * @param unheard whether the peer may still be sending what nobody will read
   */
  final void end(Http2Stream stream, Http2Headers last, boolean unheard) {
    ChannelPromise left = context().newPromise();
    if (unheard) {
      // Not before it has left: a reset would overtake what waits for a slow reader.
      left.addListener(
          done -> {
            if (done.isSuccess()) {
              reset(stream, Http2Error.NO_ERROR);
            }
          });
    }
    encoder().writeHeaders(context(), stream.id(), last, 0, true, left);
    touch();
  }

  /**
   * Sends data on, which it takes over.
   *
   * @param from whose sender gets the credit once the data has left; null when nobody does
   */
  final void data(Http2Stream stream, ByteBuf data, boolean end, @Nullable Credit from) {
    if (from != null && encoder().flowController().isWritable(stream)) {
      // There is room for more than this, so the sender need not wait until it has left.
      from.give();
      write(stream, data, end, null);
    } else {
      write(stream, data, end, from);
    }
  }

  /**
   * Sends data on, which it takes over.
   *
   * @param onceSent told when it has left, or cannot any more
   */
  final void write(Http2Stream stream, ByteBuf data, boolean end, @Nullable Credit onceSent) {
    Http2Stream.State state = stream.state();
    boolean open = state == Http2Stream.State.OPEN || state == Http2Stream.State.HALF_CLOSED_REMOTE;
    int bytes = data.readableBytes();
    if (!open) {
      data.release();
      if (onceSent != null) {
        onceSent.give();
      }
    } else if (windows.take(stream, bytes)) {
      send(stream, data, end, onceSent);
    } else {
      windows.addFlowControlled(stream, new Waiting(stream, data, end, onceSent));
    }
    touch();
  }

  /** Writes what there is room for. */
  private void send(Http2Stream stream, ByteBuf data, boolean end, @Nullable Credit onceSent) {
    boolean told = end || onceSent != null;
    ChannelPromise last =
        !told ? null : outbox.gathers(data.readableBytes()) ? done() : context().newPromise();
    ChannelFuture left = outbox.writeData(context(), stream.id(), data, end, last);
    if (end) {
      closeStreamLocal(stream, left);
    }
    if (onceSent == null) {
      return;
    }
    if (left.isDone()) {
      onceSent.give();
    } else {
      left.addListener(over -> onceSent.give());
    }
  }

  /** Data that waits in line for room. */
  private final class Waiting implements Http2RemoteFlowController.FlowControlled {
    private final Http2Stream stream;
    private final ByteBuf data;
    private final boolean end;
    private final @Nullable Credit onceSent;
    private int left;
    private boolean sent;

    Waiting(Http2Stream stream, ByteBuf data, boolean end, @Nullable Credit onceSent) {
      this.stream = stream;
      this.data = data;
      this.end = end;
      this.onceSent = onceSent;
      this.left = data.readableBytes();
    }

    @Override
    public int size() {
      return left;
    }

    @Override
    public void write(ChannelHandlerContext ctx, int allowedBytes) {
      if (allowedBytes >= left) {
        left = 0;
        sent = true;
        send(stream, data, end, onceSent);
      } else if (allowedBytes > 0) {
        left -= allowedBytes;
        send(stream, data.readRetainedSlice(allowedBytes), false, null);
      }
    }

    @Override
    public void writeComplete() {}

    @Override
    public void error(ChannelHandlerContext ctx, Throwable cause) {
      if (!sent) {
        data.release();
      }
      if (onceSent != null) {
        onceSent.give();
      }
      onError(ctx, true, cause);
    }

    /** Never, since each part has its own sender to credit. */
    @Override
    public boolean merge(ChannelHandlerContext ctx, Http2RemoteFlowController.FlowControlled next) {
      return false;
    }
  }

  /** Ends a stream from this side, if it is not over. */
  final void reset(Http2Stream stream, Http2Error error) {
    if (stream.state() != Http2Stream.State.CLOSED) {
      resetStream(context(), stream.id(), error.code(), context().newPromise());
      touch();
    }
  }

  /** Lets the peer send that many more bytes on the stream. */
  final void credit(Http2Stream stream, int bytes) {
    try {
      if (bytes > 0 && decoder().flowController().consumeBytes(stream, bytes)) {
        touch();
      }
    } catch (Http2Exception e) {
      onError(context(), false, e);
    }
  }

  /** Tells the peer that no more calls are taken, lets those that run end, then closes. */
  final void retireWithin(long timeoutMs) {
    gracefulShutdownTimeoutMillis(timeoutMs);
    if (context != null) {
      // From the channel, so that it passes through this handler, which says goodbye.
      context.channel().close();
    }
  }

  /** Bytes received that their sender has not been told to be taken. */
  interface Credit {
    void give();
  }

  /** The frames that both sides treat alike. */
  abstract class Frames implements Http2FrameListener {
    @Override
    public void onHeadersRead(
        ChannelHandlerContext ctx,
        int streamId,
        Http2Headers headers,
        int dependency,
        short weight,
        boolean exclusive,
        int padding,
        boolean end)
        throws Http2Exception {
      onHeadersRead(ctx, streamId, headers, padding, end);
    }

    @Override
    public void onPriorityRead(
        ChannelHandlerContext ctx, int streamId, int dependency, short weight, boolean exclusive) {}

    @Override
    public void onSettingsAckRead(ChannelHandlerContext ctx) {}

    @Override
    public void onSettingsRead(ChannelHandlerContext ctx, Http2Settings settings) {}

    @Override
    public void onPingRead(ChannelHandlerContext ctx, long data) throws Http2Exception {}

    @Override
    public void onPingAckRead(ChannelHandlerContext ctx, long data) {}

    @Override
    public void onPushPromiseRead(
        ChannelHandlerContext ctx, int streamId, int promised, Http2Headers headers, int padding)
        throws Http2Exception {
      throw Http2Exception.connectionError(Http2Error.PROTOCOL_ERROR, "pushes are not taken");
    }

    @Override
    public void onGoAwayRead(ChannelHandlerContext ctx, int last, long error, ByteBuf debug) {}

    @Override
    public void onWindowUpdateRead(ChannelHandlerContext ctx, int streamId, int increment) {}

    @Override
    public void onUnknownFrame(
        ChannelHandlerContext ctx,
        byte type,
        int streamId,
        io.netty.handler.codec.http2.Http2Flags flags,
        ByteBuf payload) {}
  }

  /** Says why, and closes. */
  final void expel(Http2Error error, String why) {
    goAway(
        context(),
        connection().remote().lastStreamCreated(),
        error.code(),
        Unpooled.copiedBuffer(why, java.nio.charset.StandardCharsets.UTF_8),
        context().newPromise());
    flush(context());
    context().close();
  }
}
