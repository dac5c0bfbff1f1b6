package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.http2.AbstractHttp2ConnectionHandlerBuilder;
import io.netty.handler.codec.http2.Http2ConnectionAdapter;
import io.netty.handler.codec.http2.Http2ConnectionDecoder;
import io.netty.handler.codec.http2.Http2ConnectionEncoder;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2Settings;
import io.netty.handler.codec.http2.Http2Stream;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import io.netty.util.AsciiString;
import io.netty.util.concurrent.Future;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import mmesh.ModelRuntimeGrpc;
import org.jspecify.annotations.Nullable;
import orlop.api.PodControlGrpc;

/** A client's connection: makes a {@link Passage} of each of its streams. */
final class Inlet extends Link {
  private static final AsciiString POST = AsciiString.cached("POST");
  private static final String CONTROL = "/" + PodControlGrpc.SERVICE_NAME + "/";
  private static final Status NO_POD =
      Status.PERMISSION_DENIED.withDescription(
          "only pods and controllers of this mesh may call this, with a certificate that"
              + " tls.podTrust vouches for");
  private static final long PING_AFTER_MS = 120_000;
  private static final long PONG_WITHIN_MS = 20_000;
  private static final long LEAST_PING_NS = TimeUnit.SECONDS.toNanos(5);
  private static final int MAX_PING_STRIKES = 2;

  /** What the ping behind a goodbye carries, and how long its answer is awaited. */
  private static final long GOODBYE = 0x6f726c6f_70627965L;

  private static final long GOODBYE_HEARD_MS = 1_000;

  /*
   * A gRPC client resets the stream of each call that it cancels or whose deadline passes, which
   * happens by the thousand when a mesh is overloaded; what a reset stream costs here is little.
   */
  private static final int MAX_RESETS = 20_000;
  private static final int RESETS_WINDOW_S = 30;

  /*
   * What a client may do to no purpose but to keep this side busy: settings, and frames that have
   * their stream reset from here.
   */
  private static final int MAX_NUISANCES = 1_000;
  private static final long NUISANCES_WINDOW_NS = TimeUnit.SECONDS.toNanos(RESETS_WINDOW_S);

  /**
   * Frames that may be on their way on a stream when it is reset from here: a window of small ones.
   */
  private static final int LATE_FRAMES = STREAM_WINDOW_BYTES >> 10;

  private static final int MAX_LATE_FRAMES = 1_000 * LATE_FRAMES;

  private final Dispatcher pod;
  private final Outlet.Target own;
  private final Set<String> ownNames;

  /** Whether the other side may say what pods alone say: in the clear nobody checks. */
  private boolean trusted;

  private @Nullable Future<?> aging;
  private boolean saidGoodbye;
  private long leaveMs;
  private boolean left;
  private long lastPingNs;
  private long nuisancesSinceNs;
  private int nuisances;

  /** Frames that may still come on streams that were reset from here. */
  private int lateFrames;

  private int pingStrikes;

  private Inlet(
      Dispatcher pod,
      Loop loop,
      Outlet.Target own,
      Set<String> ownNames,
      Http2ConnectionDecoder decoder,
      Http2ConnectionEncoder encoder,
      Http2Settings settings) {
    super(loop, decoder, encoder, settings, PING_AFTER_MS, PONG_WITHIN_MS);
    this.pod = pod;
    this.own = own;
    this.ownNames = ownNames;
    this.trusted = pod.tls == null;
    this.lastPingNs = System.nanoTime() - LEAST_PING_NS;
    this.nuisancesSinceNs = lastPingNs;
    decoder.frameListener(new Requests());
    encoder
        .connection()
        .addListener(
            new Http2ConnectionAdapter() {
              @Override
              public void onStreamClosed(Http2Stream stream) {
                if (stream.isResetSent()) {
                  lateFrames = Math.min(lateFrames + LATE_FRAMES, MAX_LATE_FRAMES);
                }
                Passage passage = stream.getProperty(key);
                if (passage != null) {
                  passage.abandoned();
                }
              }
            });
  }

  /** Makes the handlers of accepted connections. */
  static final class Builder extends AbstractHttp2ConnectionHandlerBuilder<Inlet, Builder> {
    private final Dispatcher pod;
    private final Loop loop;
    private final Outlet.Target own;
    private final Set<String> ownNames;

    /**
     * @param own answers what needs no model
     * @param ownNames the gRPC services that it has, and of those that it has only in part the
     *     methods
     */
    Builder(Dispatcher pod, Loop loop, Outlet.Target own, Set<String> ownNames) {
      this.pod = pod;
      this.loop = loop;
      this.own = own;
      this.ownNames = ownNames;
      initialSettings(Link.settings(pod.config.maxHeaderBytes()));
      decoderEnforceMaxRstFramesPerWindow(MAX_RESETS, RESETS_WINDOW_S);
      Http2ConnectionEncoder encoder = Link.encoder(true);
      codec(Link.decoder(encoder, pod.config.maxHeaderBytes(), true), encoder);
    }

    @Override
    public Inlet build() {
      return super.build();
    }

    @Override
    protected Inlet build(
        Http2ConnectionDecoder decoder, Http2ConnectionEncoder encoder, Http2Settings settings) {
      return new Inlet(pod, loop, own, ownNames, decoder, encoder, settings);
    }
  }

  /**
   * What the call is when it needs a model; null when the pod's own server answers it, if only by
   * UNIMPLEMENTED. What manages a runtime is nobody's business out here.
   */
  private @Nullable Op op(Http2Headers headers) {
    CharSequence path = headers.path();
    if (path == null) {
      return null;
    }
    Dataplane dataplane = pod.config.dataplane();
    Op v2 = Op.v2(path);
    if (v2 != null) {
      return v2;
    }
    String text = path.toString();
    int slash = text.indexOf('/', 1);
    if (slash <= 0) {
      return null;
    }
    String service = text.substring(1, slash);
    String method = text.substring(1);
    boolean own = ownNames.contains(service) || ownNames.contains(method);
    if (own || service.equals(ModelRuntimeGrpc.SERVICE_NAME) || !dataplane.allows(method)) {
      return null;
    }
    Dataplane.Rpc rpc = dataplane.rpcs().get(method);
    boolean named = rpc != null || Named.Asked.in(RequestHeaders.of(headers)).byHeaders();
    return named ? Op.other(method, rpc) : null;
  }

  /**
   * Whether it is a V2 call for a model that is not on the list; the pod's own server serves one.
   */
  private boolean isUnlisted(Http2Headers headers) {
    Op v2 = headers.path() == null ? null : Op.v2(headers.path());
    return v2 != null && !pod.config.dataplane().allows(v2.method);
  }

  private void accept(Http2Stream stream, Http2Headers headers, boolean end) {
    if (headers.path() == null || headers.scheme() == null) {
      end(stream, Wire.http(400), !end);
    } else if (!Wire.isGrpc(headers.get(Wire.CONTENT_TYPE))) {
      end(stream, Wire.http(415), !end);
    } else if (headers.method() == null || !AsciiString.contentEquals(POST, headers.method())) {
      end(stream, Wire.http(405), !end);
    } else if (!trusted && forPods(headers)) {
      end(stream, Wire.only(NO_POD, false), !end);
    } else if (isUnlisted(headers)) {
      end(stream, Wire.only(Dataplane.UNLISTED, false), !end);
    } else {
      Passage passage = new Passage(pod, this, stream, headers, op(headers), own);
      stream.setProperty(key, passage);
      passage.begin(end);
    }
  }

  @Override
  void begin() throws Http2Exception {
    super.begin();
    long mostMs = pod.config.maxConnectionAgeMs();
    if (mostMs > 0) {
      // Give or take a tenth, so that clients that came together do not come again together.
      long tenth = mostMs / 10;
      long ageMs = mostMs - tenth + ThreadLocalRandom.current().nextLong(2 * tenth + 1);
      aging =
          loop.executor.schedule(
              () -> leaveWithin(pod.config.maxConnectionAgeGraceMs()),
              ageMs,
              TimeUnit.MILLISECONDS);
    }
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) throws Exception {
    if (aging != null) {
      aging.cancel(false);
    }
    super.channelInactive(ctx);
  }

  /** Whether the call is one that only the pods and controllers of the mesh make. */
  private static boolean forPods(Http2Headers headers) {
    CharSequence path = headers.path();
    return headers.contains(Wire.FORWARDED_BY)
        || path != null && AsciiString.of(path).startsWith(CONTROL);
  }

  @Override
  public void userEventTriggered(ChannelHandlerContext ctx, Object event) throws Exception {
    PodTls.Mesh tls = pod.tls;
    if (tls != null && event instanceof SslHandshakeCompletionEvent ended) {
      if (pod.handshakes.ended("grpc", ctx.channel(), ended, true).isEmpty()) {
        trusted = Handshakes.shown(ctx.channel(), tls.isPod());
      } else {
        ctx.close();
      }
    }
    super.userEventTriggered(ctx, event);
  }

  /**
   * A client may ask for signs of life, but not all the time for nothing. One that measures its
   * bandwidth asks after each answer, so what was sent since the last time excuses it.
   */
  private void pinged() {
    long now = System.nanoTime();
    boolean early = now - lastPingNs < LEAST_PING_NS;
    lastPingNs = now;
    if (sentSinceLastAsked()) {
      pingStrikes = 0;
    } else if (early && ++pingStrikes > MAX_PING_STRIKES) {
      expel(Http2Error.ENHANCE_YOUR_CALM, "too_many_pings");
    }
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) throws Exception {
    super.exceptionCaught(ctx, cause);
    if (cause instanceof java.io.IOException) {
      ctx.close();
    }
  }

  @Override
  protected void onStreamError(
      ChannelHandlerContext ctx,
      boolean outbound,
      Throwable cause,
      Http2Exception.StreamException error) {
    if (!outbound && isLate(error)) {
      return;
    }
    super.onStreamError(ctx, outbound, cause, error);
    touch();
    if (!outbound) {
      nuisance("too_many_stream_errors");
    }
  }

  /**
   * Whether the frame was on its way when this side reset its stream, and is to be passed over. See
   * RFC 9113, section 5.1.
   */
  private boolean isLate(Http2Exception.StreamException error) {
    boolean late =
        lateFrames > 0
            && error.error() == Http2Error.STREAM_CLOSED
            && connection().stream(error.streamId()) == null;
    lateFrames -= late ? 1 : 0;
    return late;
  }

  private void nuisance(String what) {
    long now = System.nanoTime();
    if (now - nuisancesSinceNs > NUISANCES_WINDOW_NS) {
      nuisancesSinceNs = now;
      nuisances = 0;
    }
    if (++nuisances > MAX_NUISANCES) {
      expel(Http2Error.ENHANCE_YOUR_CALM, what);
    }
  }

  /**
   * Asks the client to begin no more calls here. Those that were on their way before it heard of
   * that are served like those under way, which may then take that long. See RFC 9113, section 6.8.
   */
  void leaveWithin(long timeoutMs) {
    if (saidGoodbye) {
      return;
    }
    saidGoodbye = true;
    goAway(
        context(),
        Integer.MAX_VALUE,
        Http2Error.NO_ERROR.code(),
        io.netty.buffer.Unpooled.EMPTY_BUFFER,
        context().newPromise());
    encoder().writePing(context(), false, GOODBYE, context().newPromise());
    touch();
    leaveMs = timeoutMs;
    loop.executor.schedule(
        this::leave, Math.min(timeoutMs, GOODBYE_HEARD_MS), TimeUnit.MILLISECONDS);
  }

  private void leave() {
    if (!left) {
      left = true;
      retireWithin(leaveMs);
    }
  }

  private final class Requests extends Frames {
    @Override
    public void onPingAckRead(ChannelHandlerContext ctx, long data) {
      if (data == GOODBYE && saidGoodbye) {
        leave();
      }
    }

    @Override
    public void onHeadersRead(
        ChannelHandlerContext ctx, int id, Http2Headers headers, int padding, boolean end) {
      Http2Stream stream = connection().stream(id);
      if (stream == null) {
        return;
      }
      Passage passage = stream.getProperty(key);
      if (passage == null) {
        accept(stream, headers, end);
      } else if (end) {
        passage.data(io.netty.buffer.Unpooled.EMPTY_BUFFER, 0, true);
      } else {
        reset(stream, Http2Error.PROTOCOL_ERROR);
        nuisance("too_many_stream_errors");
      }
    }

    @Override
    public void onSettingsRead(ChannelHandlerContext ctx, Http2Settings settings) {
      nuisance("too_many_settings");
    }

    @Override
    public int onDataRead(
        ChannelHandlerContext ctx, int id, ByteBuf data, int padding, boolean end) {
      Http2Stream stream = connection().stream(id);
      Passage passage = stream == null ? null : stream.getProperty(key);
      if (passage == null) {
        return data.readableBytes() + padding;
      }
      passage.data(data, padding, end);
      return 0;
    }

    @Override
    public void onRstStreamRead(ChannelHandlerContext ctx, int id, long code) {}

    @Override
    public void onPingRead(ChannelHandlerContext ctx, long data) {
      pinged();
    }
  }
}
