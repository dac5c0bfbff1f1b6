package orlop.pod;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.HttpDecoderConfig;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * The HTTP/1.1 server under the REST front. Event loops carry bytes; each whole request is handled
 * on a virtual thread. Thread-safe.
 *
 * <p>Bounds: connections ({@code maxInFlight}), the bytes of bodies that come in and answers that
 * go out ({@code maxInFlightBytes}), one body ({@code maxMessageBytes}), the headers ({@code
 * maxHeaderBytes}) and the line before them (8 KiB), and time for every step of a connection.
 */
final class RestServer implements AutoCloseable {
  static final int MAX_LINE_BYTES = 8_192;

  private static final System.Logger LOG = System.getLogger(RestServer.class.getName());
  private static final int MAX_LOOPS = 4;

  private final PodConfig config;
  private final Handler handler;
  private final PodTls.@Nullable Mesh tls;
  private final Handshakes handshakes;
  private final EventLoopGroup loops;
  private final Channel listening;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private final Map<Channel, RestConnection> connections = new ConcurrentHashMap<>();
  private final AtomicInteger open = new AtomicInteger();
  private final AtomicInteger handling = new AtomicInteger();
  private final AtomicLong heldBytes = new AtomicLong();
  private volatile boolean stopping;

  /** Answers a request; may block, is told by the request when the caller hangs up. */
  interface Handler {
    RestReply answer(RestRequest request);
  }

  /**
   * @param tls null: in the clear
   * @throws IOException naming the port that cannot be opened
   */
  RestServer(PodConfig config, Handler handler, PodTls.@Nullable Mesh tls, Handshakes handshakes)
      throws IOException {
    this.config = config;
    this.handler = handler;
    this.tls = tls;
    this.handshakes = handshakes;
    int threads = Math.min(MAX_LOOPS, Runtime.getRuntime().availableProcessors());
    ThreadFactory names = Loop.threads("orlop-rest-" + config.id() + "-");
    loops = new MultiThreadIoEventLoopGroup(threads, names, NioIoHandler.newFactory());
    try {
      listening = listen();
    } catch (IOException | RuntimeException e) {
      close();
      throw e;
    }
  }

  private Channel listen() throws IOException {
    ServerBootstrap bootstrap =
        new ServerBootstrap()
            .group(loops)
            .channel(NioServerSocketChannel.class)
            .option(ChannelOption.SO_BACKLOG, 1_024)
            .option(ChannelOption.SO_REUSEADDR, true)
            .childOption(ChannelOption.TCP_NODELAY, true)
            .childHandler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    accept(channel);
                  }
                });
    var bound = bootstrap.bind(new InetSocketAddress(config.host(), config.restPort()));
    bound.awaitUninterruptibly();
    if (!bound.isSuccess()) {
      throw new IOException(
          "cannot listen on %s:%d (restPort): %s"
              .formatted(config.host(), config.restPort(), bound.cause().getMessage()),
          bound.cause());
    }
    return bound.channel();
  }

  private void accept(Channel channel) {
    if (open.incrementAndGet() > config.maxInFlight() || stopping) {
      open.decrementAndGet();
      channel.close();
      return;
    }
    RestConnection connection = new RestConnection(this);
    connections.put(channel, connection);
    HttpDecoderConfig decoding =
        new HttpDecoderConfig()
            .setMaxInitialLineLength(MAX_LINE_BYTES)
            .setMaxHeaderSize(config.maxHeaderBytes())
            .setMaxChunkSize(1 << 16);
    if (tls != null) {
      channel.pipeline().addLast(handshakes.accept(tls.rest(), channel));
    }
    channel
        .pipeline()
        .addLast(connection.firstByte())
        .addLast(new HttpServerCodec(decoding))
        .addLast(connection);
  }

  int port() {
    return ((InetSocketAddress) listening.localAddress()).getPort();
  }

  // ---- for the connections

  /** Whether the connection may go on after its handshake. */
  boolean secured(Channel channel, SslHandshakeCompletionEvent ended) {
    return handshakes.ended("rest", channel, ended, false).isEmpty();
  }

  int maxBodyBytes() {
    return config.maxMessageBytes();
  }

  int maxHeaderBytes() {
    return config.maxHeaderBytes();
  }

  long readTimeoutMs() {
    return config.restReadTimeoutMs();
  }

  boolean stopping() {
    return stopping;
  }

  RestError full() {
    return new RestError(
        429,
        "pod '%s' is overloaded: REST bodies would hold more than maxInFlightBytes, %d"
            .formatted(config.id(), config.maxInFlightBytes()));
  }

  /** Takes memory for a body; false when there is none left. */
  boolean hold(long bytes) {
    if (heldBytes.addAndGet(bytes) <= config.maxInFlightBytes()) {
      return true;
    }
    heldBytes.addAndGet(-bytes);
    return false;
  }

  void release(long bytes) {
    heldBytes.addAndGet(-bytes);
  }

  void handle(
      RestRequest request, RestConnection from, ChannelHandlerContext ctx, boolean takesGzip) {
    handling.incrementAndGet();
    try {
      threads.execute(() -> run(request, from, ctx, takesGzip));
    } catch (RejectedExecutionException e) {
      handling.decrementAndGet();
      request.freeBody();
      ctx.close();
    }
  }

  private void run(
      RestRequest request, RestConnection from, ChannelHandlerContext ctx, boolean takesGzip) {
    RestReply reply;
    try {
      reply = handler.answer(request);
    } catch (RuntimeException | Error e) {
      LOG.log(Level.WARNING, "REST {0} {1} failed: {2}", request.method, request.rawPath, e);
      reply = new RestError(500, e.toString()).replyAt(request.rawPath);
    } finally {
      request.freeBody();
    }
    RestReply packed = takesGzip ? RestEncoding.gzipped(reply) : null;
    RestReply out = packed != null ? packed : reply;
    if (!hold(out.bytes())) {
      packed = null;
      out = full().replyAt(request.rawPath);
      heldBytes.addAndGet(out.bytes());
    }
    try {
      from.answer(ctx, out, packed != null);
    } catch (RejectedExecutionException e) {
      answered(out.bytes());
    }
  }

  /** An answer is out, or lost. */
  void answered(long bytes) {
    release(bytes);
    handling.decrementAndGet();
  }

  void closed(Channel channel) {
    if (connections.remove(channel) != null) {
      open.decrementAndGet();
    }
  }

  // ---- for tests and gauges

  int connections() {
    return open.get();
  }

  long heldBytes() {
    return heldBytes.get();
  }

  // ---- the end

  /** Takes no new connections and waits for the requests under way. */
  void stop(long timeoutMs) throws InterruptedException {
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    stopping = true;
    listening.close();
    connections.forEach((channel, connection) -> connection.closeIfIdle(channel));
    while (handling.get() > 0 && System.nanoTime() < deadlineNs) {
      TimeUnit.MILLISECONDS.sleep(5);
    }
  }

  @Override
  public void close() {
    stopping = true;
    loops.shutdownGracefully(0, 1_000, TimeUnit.MILLISECONDS);
    threads.shutdownNow();
  }
}
