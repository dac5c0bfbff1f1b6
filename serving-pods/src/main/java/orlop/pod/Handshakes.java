package orlop.pod;

import io.netty.channel.Channel;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslHandler;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.nio.channels.ClosedChannelException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Predicate;
import javax.net.ssl.SSLSession;

/**
 * The TLS handshakes of one pod: their sums run on virtual threads, so that an event loop never
 * stands still for one, and those that fail are counted by port. Thread-safe.
 */
final class Handshakes implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Handshakes.class.getName());
  private static final long LOG_EVERY_NS = TimeUnit.SECONDS.toNanos(10);

  private final Metrics metrics;
  private final ExecutorService sums = Executors.newVirtualThreadPerTaskExecutor();
  private final AtomicLong nextLogNs = new AtomicLong(System.nanoTime());

  Handshakes(Metrics metrics) {
    this.metrics = metrics;
  }

  /** The first handler of a connection that somebody opened to this pod. */
  SslHandler accept(SslContext by, Channel channel) {
    return by.newHandler(channel.alloc(), sums);
  }

  /** The first handler of a connection that this pod opens. */
  SslHandler connect(SslContext by, Channel channel, InetSocketAddress to) {
    return by.newHandler(channel.alloc(), to.getHostString(), to.getPort(), sums);
  }

  /**
   * Looks at how a handshake ended.
   *
   * @param port what to count a failure under: {@code grpc}, {@code rest} or {@code pod}
   * @param h2 whether the two sides must have agreed on HTTP/2
   * @return empty when the connection may be used, else why not
   */
  String ended(String port, Channel channel, SslHandshakeCompletionEvent event, boolean h2) {
    Throwable cause = event.cause();
    if (cause instanceof ClosedChannelException) {
      // Whoever looks whether the port is open, a probe mostly.
      return "the connection was closed during the TLS handshake";
    }
    SslHandler tls = channel.pipeline().get(SslHandler.class);
    if (cause == null && (!h2 || tls != null && "h2".equals(tls.applicationProtocol()))) {
      return "";
    }
    String why = cause == null ? "no HTTP/2 (ALPN h2) was offered" : String.valueOf(cause);
    metrics.handshakeFailed(port);
    long now = System.nanoTime();
    long next = nextLogNs.get();
    if (now - next >= 0 && nextLogNs.compareAndSet(next, now + LOG_EVERY_NS)) {
      LOG.log(
          Level.WARNING,
          "TLS handshake with {0} failed ({1} port): {2}",
          String.valueOf(channel.remoteAddress()),
          port,
          why);
    }
    return "TLS handshake failed: " + why;
  }

  /** Whether the other side of the channel has shown what {@code isPod} asks for. */
  static boolean shown(Channel channel, Predicate<SSLSession> isPod) {
    SslHandler tls = channel.pipeline().get(SslHandler.class);
    return tls != null && isPod.test(tls.engine().getSession());
  }

  @Override
  public void close() {
    sums.shutdown();
  }
}
