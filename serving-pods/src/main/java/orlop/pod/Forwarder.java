package orlop.pod;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.channel.ChannelOption;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/**
 * Sends calls on to other pods, bytes unchanged, over one HTTP/2 connection per pod. Thread-safe
 * and asynchronous: answers arrive on the connection's event loop.
 *
 * <p>A call that fails here is never repeated by this class; whether that is safe is for the {@link
 * Call} to judge.
 */
final class Forwarder implements AutoCloseable {
  private static final int CONNECT_TIMEOUT_MS = 1_000;

  private final int maxMessageBytes;
  private final Map<String, Line> lines = new ConcurrentHashMap<>();
  private volatile boolean closed;

  /** The connection to one pod. */
  private record Line(String address, ManagedChannel channel) {}

  /** How the other pod answered; on an event loop, so it must not block. */
  interface Reply {
    void ended(Status status, Metadata trailers, byte @Nullable [] message);
  }

  /** A call under way. */
  interface Hop {
    void cancel();
  }

  Forwarder(int maxMessageBytes) {
    this.maxMessageBytes = maxMessageBytes;
  }

  Hop send(Pod target, Op op, byte[] message, Metadata headers, Deadline deadline, Reply reply) {
    ClientCall<byte[], byte[]> call =
        line(target).channel.newCall(op.method, CallOptions.DEFAULT.withDeadline(deadline));
    call.start(new Listener(reply), headers);
    call.request(2);
    call.sendMessage(message);
    call.halfClose();
    return () -> call.cancel("the caller has gone", null);
  }

  /** Closes the connections to pods that the view no longer knows; calls in flight finish. */
  void keepOnly(MeshView view) {
    for (String podId : List.copyOf(lines.keySet())) {
      if (view.pod(podId) == null) {
        Line gone = lines.remove(podId);
        if (gone != null) {
          gone.channel.shutdown();
        }
      }
    }
  }

  int connections() {
    return lines.size();
  }

  private Line line(Pod pod) {
    Line known = lines.get(pod.id());
    if (known != null && known.address.equals(pod.address())) {
      return known;
    }
    return lines.compute(
        pod.id(),
        (id, old) -> {
          if (old != null && old.address.equals(pod.address())) {
            return old;
          }
          if (old != null) {
            old.channel.shutdown();
          }
          return new Line(pod.address(), open(pod.address()));
        });
  }

  private ManagedChannel open(String address) {
    ManagedChannel channel =
        NettyChannelBuilder.forTarget("dns:///" + address)
            .usePlaintext()
            .directExecutor()
            .disableRetry()
            .disableServiceConfigLookUp()
            .maxInboundMessageSize(maxMessageBytes)
            .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, CONNECT_TIMEOUT_MS)
            .keepAliveTime(10, TimeUnit.SECONDS)
            .keepAliveTimeout(5, TimeUnit.SECONDS)
            .build();
    if (closed) {
      channel.shutdownNow();
    }
    return channel;
  }

  @Override
  public void close() {
    closed = true;
    for (Line line : lines.values()) {
      line.channel.shutdownNow();
    }
    lines.clear();
  }

  private static final class Listener extends ClientCall.Listener<byte[]> {
    private final Reply reply;
    private byte @Nullable [] message;

    Listener(Reply reply) {
      this.reply = reply;
    }

    @Override
    public void onMessage(byte[] received) {
      message = received;
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      reply.ended(status, trailers, message);
    }
  }
}
