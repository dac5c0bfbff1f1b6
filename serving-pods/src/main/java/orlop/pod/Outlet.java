package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.http2.AbstractHttp2ConnectionHandlerBuilder;
import io.netty.handler.codec.http2.Http2ConnectionAdapter;
import io.netty.handler.codec.http2.Http2ConnectionDecoder;
import io.netty.handler.codec.http2.Http2ConnectionEncoder;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2Settings;
import io.netty.handler.codec.http2.Http2Stream;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * One connection to another place that answers calls: a pod, a runtime beside this one, or the
 * pod's own server of everything else. Owned by one event loop.
 *
 * <p>Calls that come before the peer has introduced itself, or while it has as many streams as it
 * allows, wait here; who gives up takes them out.
 */
final class Outlet {
  /*
   * A dead pod is to be found out soon. The others run on this machine, where a closed socket tells,
   * and gRPC servers expel a client who asks for signs of life more often than every five minutes.
   */
  private static final long PING_POD_AFTER_MS = 10_000;
  private static final long PING_OTHER_AFTER_MS = 7_200_000;
  private static final long PONG_WITHIN_MS = 5_000;
  private static final long RETIRE_MS = 600_000;

  /** Stream numbers are never used twice; the connection is replaced before they end. */
  private static final int LAST_STREAM = Integer.MAX_VALUE - 1_000;

  /**
   * Where calls can be sent.
   *
   * @param id of the pod or of the place
   * @param address {@code host:port}
   * @param pod whether it is another pod
   */
  record Target(String id, String address, boolean pod) {}

  private enum State {
    CONNECTING,
    OPEN,
    RETIRING,
    CLOSED
  }

  private final Target target;
  private final Deque<Leg> waiting = new ArrayDeque<>();
  private State state = State.CONNECTING;
  private @Nullable Connection connection;

  Outlet(Target target) {
    this.target = target;
  }

  Target target() {
    return target;
  }

  boolean takesCalls() {
    return state == State.CONNECTING || state == State.OPEN;
  }

  /** Sends a call there; news come to the sink, never from within this method. */
  Leg begin(Http2Headers headers, boolean end, Leg.Sink sink) {
    Leg leg = new Leg(this, headers, end, sink);
    Connection open = connection;
    if (state == State.OPEN
        && open != null
        && waiting.isEmpty()
        && open.connection().local().canOpenStream()) {
      open.start(leg);
    } else {
      waiting.add(leg);
    }
    return leg;
  }

  void forget(Leg leg) {
    waiting.remove(leg);
  }

  void data(Http2Stream stream, ByteBuf data, boolean end, Link.@Nullable Credit credit) {
    known().data(stream, data, end, credit);
  }

  void reset(Http2Stream stream, io.netty.handler.codec.http2.Http2Error error) {
    known().reset(stream, error);
  }

  private Connection known() {
    Connection open = connection;
    if (open == null) {
      throw new IllegalStateException("no connection to " + target);
    }
    return open;
  }

  /** Takes no more calls; closes when those under way have ended. */
  void retire() {
    if (state == State.OPEN) {
      state = State.RETIRING;
      known().retireWithin(RETIRE_MS);
      // Not at once, since whoever retires it may be about to begin a call elsewhere.
      known().loop.executor.execute(() -> failWaiting(target.address() + " is left"));
    } else if (state == State.CONNECTING) {
      failedToConnect("it is no longer wanted");
    }
  }

  void close() {
    Connection open = connection;
    state = State.CLOSED;
    if (open != null) {
      open.context().close();
      open.context().channel().unsafe().closeForcibly();
    }
    failWaiting("this pod is shutting down");
  }

  /** No connection came about; all calls that wait hear of it. */
  void failedToConnect(String why) {
    if (state == State.CONNECTING) {
      state = State.CLOSED;
      if (connection != null) {
        connection.context().close();
      }
      failWaiting(why);
    }
  }

  private void failWaiting(String why) {
    Status status = Status.UNAVAILABLE.withDescription(why);
    for (Leg leg = waiting.poll(); leg != null; leg = waiting.poll()) {
      leg.failed(status, true);
    }
  }

  private void startWaiting() {
    Connection open = connection;
    while (open != null
        && state == State.OPEN
        && !waiting.isEmpty()
        && open.connection().local().canOpenStream()) {
      open.start(waiting.remove());
    }
  }

  /** Makes the handler of the channel that is being connected. */
  Link connection(Loop loop, Handshakes handshakes) {
    return new Builder(loop, handshakes).build();
  }

  private final class Builder extends AbstractHttp2ConnectionHandlerBuilder<Connection, Builder> {
    private final Loop loop;
    private final Handshakes handshakes;

    Builder(Loop loop, Handshakes handshakes) {
      this.loop = loop;
      this.handshakes = handshakes;
      Http2ConnectionEncoder encoder = Link.encoder(false);
      codec(Link.decoder(encoder, loop.maxHeaderBytes, false), encoder);
      initialSettings(Link.settings(loop.maxHeaderBytes).pushEnabled(false));
      decoupleCloseAndGoAway(false);
    }

    @Override
    public Connection build() {
      return super.build();
    }

    @Override
    protected Connection build(
        Http2ConnectionDecoder decoder, Http2ConnectionEncoder encoder, Http2Settings settings) {
      Connection made = new Connection(loop, handshakes, decoder, encoder, settings);
      connection = made;
      return made;
    }
  }

  /** The HTTP/2 side of the outlet. */
  private final class Connection extends Link {
    private final Handshakes handshakes;
    private long resetCode = -1;

    Connection(
        Loop loop,
        Handshakes handshakes,
        Http2ConnectionDecoder decoder,
        Http2ConnectionEncoder encoder,
        Http2Settings settings) {
      super(
          loop,
          decoder,
          encoder,
          settings,
          target.pod() ? PING_POD_AFTER_MS : PING_OTHER_AFTER_MS,
          PONG_WITHIN_MS);
      this.handshakes = handshakes;
      decoder.frameListener(new Answers());
      encoder.connection().addListener(new Life());
    }

    void start(Leg leg) {
      int id = connection().local().incrementAndGetNextStreamId();
      if (id < 0 || id > LAST_STREAM) {
        failLater(leg, "the connection is used up");
        retire();
        return;
      }
      headers(id, leg.headers, leg.headersEnd());
      Http2Stream stream = connection().stream(id);
      if (stream == null) {
        failLater(leg, "the connection takes no stream");
        return;
      }
      stream.setProperty(key, leg);
      leg.opened(stream);
    }

    /** Not at once, since whoever begins a call does not know its leg yet. */
    private void failLater(Leg leg, String why) {
      loop.executor.execute(() -> leg.failed(Status.UNAVAILABLE.withDescription(why), true));
    }

    @Nullable Leg leg(Http2Stream stream) {
      return stream.getProperty(key);
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) throws Exception {
      state = State.CLOSED;
      super.channelInactive(ctx);
      failWaiting("the connection to " + target.address() + " was lost");
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext ctx, Object event) throws Exception {
      if (event instanceof SslHandshakeCompletionEvent ended) {
        String why = handshakes.ended("pod", ctx.channel(), ended, true);
        if (!why.isEmpty()) {
          failedToConnect(why);
          ctx.close();
        }
      }
      super.userEventTriggered(ctx, event);
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) throws Exception {
      super.exceptionCaught(ctx, cause);
      ctx.close();
    }

    private final class Answers extends Frames {
      @Override
      public void onSettingsRead(ChannelHandlerContext ctx, Http2Settings settings) {
        if (state == State.CONNECTING) {
          state = State.OPEN;
        }
        startWaiting();
      }

      @Override
      public void onHeadersRead(
          ChannelHandlerContext ctx, int id, Http2Headers headers, int padding, boolean end) {
        Http2Stream stream = connection().stream(id);
        Leg leg = stream == null ? null : leg(stream);
        if (leg != null) {
          leg.received(headers, end);
        }
      }

      @Override
      public int onDataRead(
          ChannelHandlerContext ctx, int id, ByteBuf data, int padding, boolean end) {
        Http2Stream stream = connection().stream(id);
        Leg leg = stream == null ? null : leg(stream);
        int bytes = data.readableBytes() + padding;
        if (stream == null || leg == null || leg.over()) {
          return bytes;
        }
        leg.received(data.retain(), end, () -> credit(stream, bytes));
        return 0;
      }

      @Override
      public void onRstStreamRead(ChannelHandlerContext ctx, int id, long code) {
        Http2Stream stream = connection().stream(id);
        Leg leg = stream == null ? null : leg(stream);
        if (leg != null) {
          leg.failed(
              Wire.ofReset(code),
              code == io.netty.handler.codec.http2.Http2Error.REFUSED_STREAM.code());
        }
      }

      @Override
      public void onGoAwayRead(ChannelHandlerContext ctx, int last, long error, ByteBuf debug) {
        resetCode = error;
        if (state == State.OPEN || state == State.CONNECTING) {
          state = State.RETIRING;
          String why = debug.toString(StandardCharsets.UTF_8);
          failWaiting(target.address() + " is going away" + (why.isEmpty() ? "" : ": " + why));
          ctx.executor().execute(() -> retireWithin(RETIRE_MS));
        }
      }
    }

    private final class Life extends Http2ConnectionAdapter {
      @Override
      public void onStreamClosed(Http2Stream stream) {
        Leg leg = leg(stream);
        if (leg != null && !leg.over()) {
          boolean unprocessed =
              connection().goAwayReceived()
                  && stream.id() > connection().local().lastStreamKnownByPeer();
          leg.failed(
              Status.UNAVAILABLE.withDescription(
                  unprocessed
                      ? target.address() + " is going away (error code " + resetCode + ")"
                      : "the connection to " + target.address() + " was lost"),
              unprocessed);
        }
        startWaiting();
      }
    }

    @Override
    protected void onStreamError(
        ChannelHandlerContext ctx,
        boolean outbound,
        Throwable cause,
        Http2Exception.StreamException error) {
      Http2Stream stream = connection().stream(error.streamId());
      Leg leg = stream == null ? null : leg(stream);
      // What could not be written is the consequence of an end that is told by itself.
      if (leg != null && !outbound) {
        leg.failed(
            Status.INTERNAL.withDescription("the answer breaks HTTP/2: " + error.getMessage()),
            false);
      }
      super.onStreamError(ctx, outbound, cause, error);
    }
  }
}
