package orlop.pod;

import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.PooledByteBufAllocator;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollDomainSocketChannel;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioDomainSocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.channel.unix.DomainSocketAddress;
import io.netty.util.ResourceLeakDetector;
import io.netty.util.concurrent.GlobalEventExecutor;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.net.UnknownHostException;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import orlop.placement.MeshView;

/**
 * The pod's gRPC port: an HTTP/2 router that passes frames on, stream to stream. A call stays on
 * the event loop of its client's connection, and so does each connection to where it goes.
 *
 * <p>Thread-safe.
 */
final class StreamRouter implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(StreamRouter.class.getName());
  private static final String UNIX = "unix:";
  private static final int CONNECT_TIMEOUT_MS = 1_000;
  private static final int SETTINGS_TIMEOUT_MS = 10_000;
  private static final int BACKLOG = 1_024;

  /** For what is still to be written, on each loop, and for the end of all of them. */
  private static final long CLOSE_MS = 2_000;

  private static final String LEAK_DETECTION = "io.netty.leakDetection.level";

  static {
    // Netty looks at a sample of all buffers by default, at 7 % of what a call costs.
    if (System.getProperty(LEAK_DETECTION) == null) {
      ResourceLeakDetector.setLevel(ResourceLeakDetector.Level.DISABLED);
    }
  }

  private final Dispatcher pod;
  private final EventLoopGroup group;
  private final Map<EventLoop, Loop> loops = new IdentityHashMap<>();
  private final ChannelGroup clients = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);
  private final Channel server;
  private final AtomicInteger next = new AtomicInteger();

  /**
   * Opens the port.
   *
   * @param own answers what needs no model
   * @param ownNames the gRPC services that it has, and of those that it has only in part the
   *     methods
   * @throws IOException naming the port when it cannot be opened
   */
  StreamRouter(Dispatcher pod, Outlet.Target own, Set<String> ownNames) throws IOException {
    this.pod = pod;
    PodConfig config = pod.config;
    boolean epoll = Epoll.isAvailable();
    group =
        new MultiThreadIoEventLoopGroup(
            config.eventLoops(),
            Loop.threads("orlop-io-" + config.id() + "-"),
            epoll ? EpollIoHandler.newFactory() : NioIoHandler.newFactory());
    for (int i = 0; i < config.eventLoops(); i++) {
      EventLoop executor = group.next();
      loops.put(executor, new Loop(executor, config.maxHeaderBytes(), this::open));
    }
    ServerBootstrap bootstrap =
        new ServerBootstrap()
            .group(group)
            .channel(epoll ? EpollServerSocketChannel.class : NioServerSocketChannel.class)
            .option(ChannelOption.SO_BACKLOG, BACKLOG)
            .option(ChannelOption.SO_REUSEADDR, true)
            .childOption(ChannelOption.TCP_NODELAY, true)
            .childOption(ChannelOption.ALLOCATOR, PooledByteBufAllocator.DEFAULT)
            .childHandler(
                new ChannelInitializer<>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    clients.add(channel);
                    Loop loop = loop(channel.eventLoop());
                    if (pod.tls != null) {
                      channel.pipeline().addLast(pod.handshakes.accept(pod.tls.front(), channel));
                    }
                    channel.pipeline().addLast(new Inlet.Builder(pod, loop, own, ownNames).build());
                  }
                });
    ChannelFuture bound =
        bootstrap
            .bind(new InetSocketAddress(config.host(), config.grpcPort()))
            .awaitUninterruptibly();
    if (!bound.isSuccess()) {
      group.shutdownGracefully(0, 0, TimeUnit.SECONDS);
      throw new IOException(
          "cannot listen on %s:%d (grpcPort): %s"
              .formatted(config.host(), config.grpcPort(), bound.cause().getMessage()),
          bound.cause());
    }
    server = bound.channel();
  }

  int port() {
    return ((InetSocketAddress) server.localAddress()).getPort();
  }

  private Loop loop(EventLoop executor) {
    Loop known = loops.get(executor);
    if (known == null) {
      throw new IllegalStateException("a channel runs on an event loop of somebody else");
    }
    return known;
  }

  /** One loop after the other, for calls that came in by another door. */
  Loop anyLoop() {
    int index = Math.floorMod(next.getAndIncrement(), loops.size());
    return loops.values().stream().skip(index).findFirst().orElseThrow();
  }

  /** Connects, on the loop; who waits for the connection hears of a failure. */
  private Outlet open(Loop loop, Outlet.Target target) {
    Outlet outlet = new Outlet(target);
    if (target.address().startsWith(UNIX)) {
      String path = target.address().substring(UNIX.length());
      SocketAddress socket =
          Epoll.isAvailable() ? new DomainSocketAddress(path) : UnixDomainSocketAddress.of(path);
      // Not at once, since a failure must not be told before the outlet is known.
      onLoop(loop.executor, () -> connect(loop, outlet, socket));
      return outlet;
    }
    int colon = target.address().lastIndexOf(':');
    String host = target.address().substring(0, colon);
    int port = Integer.parseInt(target.address().substring(colon + 1));
    // Asking for an address may take seconds, in which the loop must go on.
    Thread.startVirtualThread(
        () -> {
          InetAddress address;
          try {
            address = InetAddress.getByName(host.replaceAll("[\\[\\]]", ""));
          } catch (UnknownHostException e) {
            onLoop(loop.executor, () -> outlet.failedToConnect("host '" + host + "' is unknown"));
            return;
          }
          onLoop(loop.executor, () -> connect(loop, outlet, new InetSocketAddress(address, port)));
        });
    return outlet;
  }

  private void connect(Loop loop, Outlet outlet, SocketAddress address) {
    if (!outlet.takesCalls()) {
      return;
    }
    boolean epoll = Epoll.isAvailable();
    Bootstrap bootstrap = new Bootstrap().group(loop.executor);
    if (!(address instanceof InetSocketAddress)) {
      bootstrap.channel(epoll ? EpollDomainSocketChannel.class : NioDomainSocketChannel.class);
    } else {
      bootstrap
          .channel(epoll ? EpollSocketChannel.class : NioSocketChannel.class)
          .option(ChannelOption.TCP_NODELAY, true);
    }
    ChannelFuture connecting =
        bootstrap
            .option(ChannelOption.ALLOCATOR, PooledByteBufAllocator.DEFAULT)
            .option(ChannelOption.CONNECT_TIMEOUT_MILLIS, CONNECT_TIMEOUT_MS)
            .handler(
                new ChannelInitializer<>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    if (pod.tls != null
                        && outlet.target().pod()
                        && address instanceof InetSocketAddress to) {
                      channel
                          .pipeline()
                          .addLast(pod.handshakes.connect(pod.tls.pods(), channel, to));
                    }
                    channel.pipeline().addLast(outlet.connection(loop, pod.handshakes));
                  }
                })
            .connect(address);
    connecting.addListener(
        done -> {
          if (!done.isSuccess()) {
            Throwable why = done.cause();
            outlet.failedToConnect(
                why == null ? "it was cancelled" : String.valueOf(why.getMessage()));
          }
        });
    loop.executor.schedule(
        () -> outlet.failedToConnect("it does not speak HTTP/2"),
        CONNECT_TIMEOUT_MS + SETTINGS_TIMEOUT_MS,
        TimeUnit.MILLISECONDS);
  }

  /** Lets go of connections to pods that the view no longer knows. */
  void keepOnly(MeshView view) {
    for (Loop loop : loops.values()) {
      onLoop(loop.executor, () -> loop.keepOnly(view));
    }
  }

  private static void onLoop(EventLoop executor, Runnable step) {
    try {
      executor.execute(step);
    } catch (RejectedExecutionException e) {
      // The loop has ended, and with it all that the step is about.
      LOG.log(Level.DEBUG, "an event loop has ended");
    }
  }

  /** Takes no more connections, and no more calls on those that are open. Returns at once. */
  void shutdown(long timeoutMs) {
    server.close();
    for (Channel client : clients) {
      onLoop(
          client.eventLoop(),
          () -> {
            Inlet inlet = client.pipeline().get(Inlet.class);
            if (inlet != null) {
              inlet.leaveWithin(timeoutMs);
            }
          });
    }
  }

  /** Whether all clients have gone. */
  boolean terminated() {
    return clients.isEmpty();
  }

  /** Cuts what is still open, once what calls were told until now is written. Idempotent. */
  @Override
  public void close() {
    server.close();
    loops.values().forEach(StreamRouter::flush);
    for (Channel client : clients) {
      onLoop(client.eventLoop(), () -> client.unsafe().closeForcibly());
    }
    for (Loop loop : loops.values()) {
      onLoop(loop.executor, loop::close);
    }
    group.shutdownGracefully(0, 1, TimeUnit.SECONDS).awaitUninterruptibly(CLOSE_MS);
  }

  /** Waits for it: a group that is shut down closes its sockets before it runs what is queued. */
  private static void flush(Loop loop) {
    try {
      var unused = loop.executor.submit(loop::flush).awaitUninterruptibly(CLOSE_MS);
    } catch (RejectedExecutionException e) {
      LOG.log(Level.DEBUG, "an event loop has ended");
    }
  }
}
