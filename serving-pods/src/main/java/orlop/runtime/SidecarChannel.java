package orlop.runtime;

import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioDomainSocketChannel;
import java.lang.System.Logger.Level;
import java.net.UnixDomainSocketAddress;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import mmesh.ModelRuntimeGrpc;
import mmesh.RuntimeStatusRequest;
import mmesh.RuntimeStatusResponse;
import org.jspecify.annotations.Nullable;

/**
 * The connection to a runtime beside this process, over which it is told what to load, and the
 * knowledge whether it is there. A connection that breaks is taken for the runtime's end: it has
 * lost its models, and is asked until it is ready again. Thread-safe.
 */
final class SidecarChannel implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(SidecarChannel.class.getName());
  static final String UNIX = "unix:";
  private static final long FIRST_PAUSE_MS = 50;
  private static final long STATUS_EVERY_MS = 2_000;
  private static final long STATUS_TIMEOUT_MS = 2_000;

  private final String address;
  private final @Nullable EventLoopGroup group;
  private final ManagedChannel channel;
  private final Object lock = new Object();
  private volatile RuntimeStatusResponse status = RuntimeStatusResponse.getDefaultInstance();
  private volatile Runnable whenLost = () -> {};
  private volatile Runnable whenBack = () -> {};
  private volatile boolean closed;
  // Guarded by lock.
  private boolean ready;

  private SidecarChannel(String address) {
    this.address = address;
    NettyChannelBuilder builder;
    if (address.startsWith(UNIX)) {
      group =
          new MultiThreadIoEventLoopGroup(
              1,
              Thread.ofPlatform().daemon().name("orlop-sidecar").factory(),
              NioIoHandler.newFactory());
      builder =
          NettyChannelBuilder.forAddress(
                  UnixDomainSocketAddress.of(address.substring(UNIX.length())))
              .channelType(NioDomainSocketChannel.class)
              .eventLoopGroup(group)
              .overrideAuthority("localhost");
    } else {
      group = null;
      builder = NettyChannelBuilder.forTarget("dns:///" + address);
    }
    // An idle channel would close its connection, which here means that the runtime has gone.
    channel = builder.usePlaintext().disableRetry().idleTimeout(3_650, TimeUnit.DAYS).build();
  }

  /**
   * Waits until the runtime says that it is ready.
   *
   * @throws IllegalStateException naming the address and what it said last, when it is not in time
   */
  static SidecarChannel connect(String address, long timeoutMs) throws InterruptedException {
    SidecarChannel made = new SidecarChannel(address);
    boolean done = false;
    try {
      String last = made.pollUntilReady(timeoutMs);
      if (last != null) {
        throw new IllegalStateException(
            "the runtime at %s was not ready within %d ms: %s".formatted(address, timeoutMs, last));
      }
      done = true;
    } finally {
      if (!done) {
        made.close();
      }
    }
    Thread.ofVirtual().name("orlop-sidecar-watch").start(made::watch);
    return made;
  }

  /** What the runtime last said of itself. */
  RuntimeStatusResponse status() {
    return status;
  }

  ModelRuntimeGrpc.ModelRuntimeBlockingStub stub(long timeoutMs) {
    return ModelRuntimeGrpc.newBlockingStub(channel)
        .withDeadlineAfter(timeoutMs, TimeUnit.MILLISECONDS);
  }

  /** Told, on a virtual thread, each time the runtime has gone with its models, and is back. */
  void watched(Runnable lost, Runnable back) {
    whenLost = lost;
    whenBack = back;
  }

  /** Waits while the runtime is away; false when it is not back in time. */
  boolean awaitReady(long timeoutMs) throws InterruptedException {
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    synchronized (lock) {
      while (!ready && !closed) {
        long leftMs = TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime());
        if (leftMs <= 0) {
          return false;
        }
        lock.wait(leftMs);
      }
      return ready;
    }
  }

  /** Whether it is connected now. */
  boolean connected() {
    return channel.getState(false) == ConnectivityState.READY;
  }

  private void ready(boolean now) {
    synchronized (lock) {
      ready = now;
      lock.notifyAll();
    }
  }

  private void watch() {
    try {
      while (!closed) {
        CompletableFuture<Void> left = new CompletableFuture<>();
        channel.notifyWhenStateChanged(ConnectivityState.READY, () -> left.complete(null));
        left.join();
        if (closed) {
          return;
        }
        ready(false);
        LOG.log(Level.WARNING, "the runtime at {0} has gone", address);
        whenLost.run();
        String last = pollUntilReady(Long.MAX_VALUE / 2_000_000);
        if (last == null && !closed) {
          LOG.log(Level.WARNING, "the runtime at {0} is ready again", address);
          whenBack.run();
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** What it said last when it did not become ready in time; null when it is ready. */
  private @Nullable String pollUntilReady(long timeoutMs) throws InterruptedException {
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    long pauseMs = FIRST_PAUSE_MS;
    String last;
    while (true) {
      try {
        channel.resetConnectBackoff();
        RuntimeStatusResponse said =
            stub(STATUS_TIMEOUT_MS)
                .withWaitForReady()
                .runtimeStatus(RuntimeStatusRequest.getDefaultInstance());
        if (said.getStatus() == RuntimeStatusResponse.Status.READY) {
          status = said;
          ready(true);
          return null;
        }
        last = "it says " + said.getStatus();
      } catch (StatusRuntimeException e) {
        last = e.getStatus().getCode() + ": " + e.getStatus().getDescription();
      }
      long leftMs = TimeUnit.NANOSECONDS.toMillis(deadlineNs - System.nanoTime());
      if (leftMs <= 0 || closed) {
        return last;
      }
      Thread.sleep(Math.min(pauseMs, leftMs));
      pauseMs = Math.min(2 * pauseMs, STATUS_EVERY_MS);
    }
  }

  @Override
  public void close() {
    closed = true;
    synchronized (lock) {
      lock.notifyAll();
    }
    channel.shutdownNow();
    if (group != null) {
      group.shutdownGracefully(0, 1, TimeUnit.SECONDS);
    }
  }
}
