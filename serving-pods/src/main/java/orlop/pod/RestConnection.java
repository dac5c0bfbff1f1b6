package orlop.pod;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.socket.DuplexChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.DefaultHttpContent;
import io.netty.handler.codec.http.DefaultHttpResponse;
import io.netty.handler.codec.http.DefaultLastHttpContent;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.handler.codec.http.TooLongHttpHeaderException;
import io.netty.handler.codec.http.TooLongHttpLineException;
import io.netty.handler.ssl.SslHandler;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import io.netty.util.ReferenceCountUtil;
import io.netty.util.concurrent.ScheduledFuture;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * One HTTP/1.1 connection: takes requests one after the other, whole and within bounds, and writes
 * their answers. Owned by its event loop; only {@link #answer} may be called from elsewhere.
 */
final class RestConnection extends ChannelInboundHandlerAdapter {
  /*
   * What holds time: a new connection has readTimeoutMs for its first head, a kept one KEEP_ALIVE_MS
   * for the first byte of the next and then readTimeoutMs for the head; a body, and an answer on its
   * way out, must move in each readTimeoutMs, and altogether has that long and one second more for
   * each MIN_BYTES_PER_SECOND. While a request is
   * handled nothing is timed here: the call has its own deadline.
   *
   * What comes while a request is handled (pipelining) is kept, at most what one read brings, and
   * reading pauses. Otherwise reading goes on, which is how a caller that hangs up is noticed.
   */
  private static final long KEEP_ALIVE_MS = 75_000;
  private static final long LINGER_MS = 5_000;
  private static final long MIN_BYTES_PER_SECOND = 16 << 10;
  private static final int FIRST_BODY_BYTES = 4 << 10;
  private static final int WRITTEN_BYTES = 64 << 10;
  private static final long DISCARD_BYTES = 64L << 20;

  private enum State {
    HEAD,
    BODY,
    HANDLING,
    WRITING,
    /** The answer is out and the rest of the request is thrown away, then the connection closes. */
    DISCARDING
  }

  private final RestServer server;
  private final Deque<Object> pipelined = new ArrayDeque<>();
  private final long timeoutNs;

  private State state = State.HEAD;
  private boolean headBegun;
  private boolean keepAlive;
  private boolean acceptsGzip;
  private @Nullable HttpRequest head;
  private byte[] body = new byte[0];
  private int received;
  private long expected;
  private long startNs;
  private long movedBytes;
  private long checkedBytes;
  private @Nullable RestRequest handled;
  private @Nullable ScheduledFuture<?> timer;

  RestConnection(RestServer server) {
    this.server = server;
    this.timeoutNs = TimeUnit.MILLISECONDS.toNanos(server.readTimeoutMs());
  }

  /** Stands before the codec and tells when the first byte of a head has come. */
  ChannelInboundHandlerAdapter firstByte() {
    return new ChannelInboundHandlerAdapter() {
      @Override
      public void channelRead(ChannelHandlerContext ctx, Object message) {
        if (state == State.HEAD && !headBegun) {
          headBegun = true;
          // Answers must be written from behind the codec.
          time(ctx.pipeline().context(RestConnection.this), timeoutNs);
        }
        ctx.fireChannelRead(message);
      }
    };
  }

  @Override
  public void channelActive(ChannelHandlerContext ctx) {
    time(ctx, timeoutNs);
  }

  @Override
  public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
    if (event instanceof SslHandshakeCompletionEvent ended
        && !server.secured(ctx.channel(), ended)) {
      ctx.close();
    }
    ctx.fireUserEventTriggered(event);
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) {
    untime();
    freeBody();
    RestRequest left = handled;
    if (left != null) {
      left.leave();
    }
    pipelined.forEach(ReferenceCountUtil::release);
    pipelined.clear();
    server.closed(ctx.channel());
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    // A reset by the peer, mostly; whatever it is, this connection cannot go on.
    ctx.close();
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) {
    if (state == State.HANDLING || state == State.WRITING || !pipelined.isEmpty()) {
      pipelined.add(message);
      ctx.channel().config().setAutoRead(false);
      return;
    }
    take(ctx, message);
  }

  private void take(ChannelHandlerContext ctx, Object message) {
    try {
      if (state == State.DISCARDING) {
        discard(ctx, message);
        return;
      }
      if (message instanceof HttpObject part && part.decoderResult().isFailure()) {
        undecodable(ctx, part.decoderResult().cause());
        return;
      }
      if (message instanceof HttpRequest request) {
        begin(ctx, request);
      }
      if (state == State.BODY && message instanceof HttpContent content) {
        append(ctx, content.content());
        if (state == State.BODY && message instanceof LastHttpContent) {
          handle(ctx);
        }
      }
    } finally {
      ReferenceCountUtil.release(message);
    }
  }

  private void undecodable(ChannelHandlerContext ctx, Throwable cause) {
    if (cause instanceof TooLongHttpLineException) {
      refuse(
          ctx, new RestError(414, "the request line is longer than " + RestServer.MAX_LINE_BYTES));
    } else if (cause instanceof TooLongHttpHeaderException) {
      refuse(
          ctx,
          new RestError(431, "the headers are longer than " + server.maxHeaderBytes() + " bytes"));
    } else {
      refuse(ctx, RestError.bad("this is not HTTP/1.1: " + cause.getMessage()));
    }
  }

  private void begin(ChannelHandlerContext ctx, HttpRequest request) {
    if (request.protocolVersion().majorVersion() != 1) {
      refuse(ctx, RestError.bad("this is not HTTP/1.1 but " + request.protocolVersion()));
      return;
    }
    head = request;
    keepAlive = HttpUtil.isKeepAlive(request);
    acceptsGzip = RestEncoding.acceptsGzip(request.headers().getAll("accept-encoding"));
    received = 0;
    movedBytes = 0;
    checkedBytes = 0;
    startNs = System.nanoTime();
    state = State.BODY;
    expected = -1;
    if (request.headers().contains(HttpHeaderNames.TRANSFER_ENCODING)) {
      if (!HttpHeaderValues.CHUNKED.contentEqualsIgnoreCase(
          request.headers().get(HttpHeaderNames.TRANSFER_ENCODING))) {
        refuse(ctx, new RestError(501, "the only transfer encoding served is chunked"));
        return;
      }
    } else {
      expected = HttpUtil.getContentLength(request, 0L);
    }
    if (expected > server.maxBodyBytes()) {
      refuse(ctx, tooLarge());
      return;
    }
    String expect = request.headers().get(HttpHeaderNames.EXPECT);
    if (expect != null && !HttpHeaderValues.CONTINUE.contentEqualsIgnoreCase(expect)) {
      refuse(ctx, new RestError(417, "expectation '" + expect + "' cannot be met"));
      return;
    }
    if (expect != null) {
      ctx.writeAndFlush(
          new DefaultFullHttpResponse(
              HttpVersion.HTTP_1_1, HttpResponseStatus.CONTINUE, Unpooled.EMPTY_BUFFER));
    }
    time(ctx, timeoutNs);
  }

  private RestError tooLarge() {
    return new RestError(
        413, "the body has more than " + server.maxBodyBytes() + " bytes, the limit");
  }

  private void append(ChannelHandlerContext ctx, ByteBuf content) {
    int more = content.readableBytes();
    if (more > server.maxBodyBytes() - received) {
      refuse(ctx, tooLarge());
      return;
    }
    if (received + more > body.length && !grow(received + more)) {
      refuse(ctx, server.full());
      return;
    }
    content.readBytes(body, received, more);
    received += more;
    movedBytes = received;
  }

  /** Memory is taken as bytes come, not as a header promises them. */
  private boolean grow(int needed) {
    long most = expected >= 0 ? expected : server.maxBodyBytes();
    long doubled = Math.max(2L * body.length, Math.min(FIRST_BODY_BYTES, most));
    int capacity = (int) Math.max(needed, Math.min(doubled, most));
    if (!server.hold(capacity - body.length)) {
      return false;
    }
    body = Arrays.copyOf(body, capacity);
    return true;
  }

  private void handle(ChannelHandlerContext ctx) {
    HttpRequest request = head;
    if (request == null) {
      return;
    }
    untime();
    head = null;
    state = State.HANDLING;
    int held = body.length;
    byte[] whole = held == received ? body : Arrays.copyOf(body, received);
    body = new byte[0];
    RestRequest next =
        new RestRequest(
            request.method().name(), request.uri(), request.headers(), whole, server, held);
    handled = next;
    server.handle(next, this, ctx, acceptsGzip);
  }

  /** Writes the answer to the request that is being handled. From any thread. */
  void answer(ChannelHandlerContext ctx, RestReply reply, boolean gzipped) {
    ctx.executor()
        .execute(
            () -> {
              handled = null;
              if (ctx.channel().isActive()) {
                write(ctx, reply, gzipped, State.WRITING);
              } else {
                server.answered(reply.bytes());
              }
            });
  }

  /** Answers before the request has come in whole, throws the rest away and ends the connection. */
  private void refuse(ChannelHandlerContext ctx, RestError error) {
    HttpRequest begun = head;
    freeBody();
    head = null;
    keepAlive = false;
    RestReply reply = error.replyAt(begun == null ? "" : begun.uri());
    write(ctx, reply, false, State.DISCARDING);
  }

  private void write(ChannelHandlerContext ctx, RestReply reply, boolean gzipped, State next) {
    state = next;
    long bytes = reply.bytes();
    boolean stays = keepAlive && !server.stopping();
    HttpResponse response =
        new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.valueOf(reply.status()));
    response
        .headers()
        .set(HttpHeaderNames.CONTENT_TYPE, reply.type())
        .set(HttpHeaderNames.CONTENT_LENGTH, bytes)
        .set(
            HttpHeaderNames.CONNECTION,
            stays ? HttpHeaderValues.KEEP_ALIVE : HttpHeaderValues.CLOSE);
    if (gzipped) {
      response.headers().set(HttpHeaderNames.CONTENT_ENCODING, HttpHeaderValues.GZIP);
    }
    reply.headers().forEach(response.headers()::set);
    startNs = System.nanoTime();
    movedBytes = 0;
    checkedBytes = 0;
    time(ctx, next == State.WRITING ? timeoutNs : TimeUnit.MILLISECONDS.toNanos(LINGER_MS));
    ctx.write(response);
    ByteBuf body = Unpooled.wrappedBuffer(reply.parts().toArray(ByteBuffer[]::new));
    while (body.readableBytes() > WRITTEN_BYTES) {
      // In pieces, so that it shows how much of it the caller has read.
      ctx.write(new DefaultHttpContent(body.readRetainedSlice(WRITTEN_BYTES)))
          .addListener(done -> movedBytes += state == State.WRITING ? WRITTEN_BYTES : 0);
    }
    ctx.writeAndFlush(new DefaultLastHttpContent(body))
        .addListener(
            done -> {
              if (next == State.WRITING) {
                server.answered(bytes);
                written(ctx, done.isSuccess() && stays);
              } else if (done.isSuccess()) {
                // To close now would reset the connection, and the answer with it.
                sayGoodbye(ctx.channel());
              } else {
                ctx.close();
              }
            });
  }

  /** Ends what goes out, and still reads. */
  private static void sayGoodbye(Channel channel) {
    SslHandler tls = channel.pipeline().get(SslHandler.class);
    if (tls != null) {
      tls.closeOutbound();
    } else if (channel instanceof DuplexChannel duplex) {
      duplex.shutdownOutput();
    }
  }

  private void written(ChannelHandlerContext ctx, boolean goOn) {
    untime();
    if (!goOn) {
      ctx.close();
      return;
    }
    state = State.HEAD;
    headBegun = !pipelined.isEmpty();
    time(ctx, headBegun ? timeoutNs : TimeUnit.MILLISECONDS.toNanos(KEEP_ALIVE_MS));
    while (!pipelined.isEmpty() && state != State.HANDLING && state != State.WRITING) {
      take(ctx, pipelined.remove());
    }
    if (pipelined.isEmpty()) {
      ctx.channel().config().setAutoRead(true);
    }
  }

  private void discard(ChannelHandlerContext ctx, Object message) {
    if (message instanceof HttpContent content) {
      movedBytes += content.content().readableBytes();
    }
    if (message instanceof LastHttpContent || movedBytes > DISCARD_BYTES) {
      ctx.close();
    }
  }

  // ---- time

  private void time(ChannelHandlerContext ctx, long ns) {
    untime();
    timer = ctx.executor().schedule(() -> late(ctx), ns, TimeUnit.NANOSECONDS);
  }

  private void untime() {
    ScheduledFuture<?> pending = timer;
    timer = null;
    if (pending != null) {
      pending.cancel(false);
    }
  }

  private void late(ChannelHandlerContext ctx) {
    timer = null;
    switch (state) {
      case HEAD -> {
        if (headBegun) {
          refuse(
              ctx, new RestError(408, "the head took more than " + server.readTimeoutMs() + " ms"));
        } else {
          ctx.close();
        }
      }
      case BODY -> {
        if (!earned(ctx)) {
          refuse(
              ctx,
              new RestError(
                  408,
                  "%d bytes of the body came in %d ms, fewer than expected"
                      .formatted(
                          received, TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNs))));
        }
      }
      case WRITING -> {
        if (!earned(ctx)) {
          ctx.close();
        }
      }
      case DISCARDING -> ctx.close();
      case HANDLING -> {}
    }
  }

  /** Whether bytes moved of late, and fast enough as a whole; if so, the timer runs on. */
  private boolean earned(ChannelHandlerContext ctx) {
    long boughtNs = movedBytes * TimeUnit.SECONDS.toNanos(1) / MIN_BYTES_PER_SECOND;
    long leftNs = startNs + timeoutNs + boughtNs - System.nanoTime();
    if (leftNs <= 0 || movedBytes == checkedBytes) {
      return false;
    }
    checkedBytes = movedBytes;
    time(ctx, Math.min(leftNs, timeoutNs));
    return true;
  }

  private void freeBody() {
    server.release(body.length);
    body = new byte[0];
  }

  /** Closes the connection if no request is under way. */
  void closeIfIdle(Channel channel) {
    channel
        .eventLoop()
        .execute(
            () -> {
              if (state == State.HEAD && pipelined.isEmpty()) {
                channel.close();
              }
            });
  }
}
