package orlop.controller;

import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.handler.ssl.SslContext;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import orlop.api.LoadRequest;
import orlop.api.PodControlGrpc;
import orlop.api.UnloadRequest;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/**
 * Calls to the pods' control interface over one channel for each address. Thread-safe; calls block
 * and fail with {@link io.grpc.StatusRuntimeException}, {@code DEADLINE_EXCEEDED} past their bound.
 */
final class PodCalls implements AutoCloseable {
  private static final int KNOCK_MS = 1_000;

  private final Map<String, ManagedChannel> channels = new ConcurrentHashMap<>();
  private final ControllerConfig config;
  private final @Nullable SslContext tls;

  /**
   * @param tls null: in the clear
   */
  PodCalls(ControllerConfig config, @Nullable SslContext tls) {
    this.config = config;
    this.tls = tls;
  }

  /** Makes the pod load the model; with {@code wait}, returns when the load has ended. */
  void load(Pod pod, String modelId, boolean wait, long lastUsedMs) {
    var unused =
        PodControlGrpc.newBlockingStub(channel(pod))
            .withDeadlineAfter(
                wait ? config.loadTimeoutMs() : config.callTimeoutMs(), TimeUnit.MILLISECONDS)
            .load(
                LoadRequest.newBuilder()
                    .setModelId(modelId)
                    .setWait(wait)
                    .setLastUsedMs(lastUsedMs)
                    .build());
  }

  void unload(Pod pod, String modelId) {
    var unused =
        PodControlGrpc.newBlockingStub(channel(pod))
            .withDeadlineAfter(config.callTimeoutMs(), TimeUnit.MILLISECONDS)
            .unload(UnloadRequest.newBuilder().setModelId(modelId).build());
  }

  ManagedChannel channel(Pod pod) {
    return channels.computeIfAbsent(
        pod.address(),
        address -> {
          NettyChannelBuilder builder = NettyChannelBuilder.forTarget(address);
          return (tls == null ? builder.usePlaintext() : builder.sslContext(tls)).build();
        });
  }

  /**
   * Whether its machine answers that nobody listens at its address; blocks for a second at most.
   */
  static boolean refused(Pod pod) {
    String address = pod.address();
    int colon = address.lastIndexOf(':');
    try (Socket socket = new Socket()) {
      int port = Integer.parseInt(address.substring(colon + 1));
      socket.connect(new InetSocketAddress(address.substring(0, colon), port), KNOCK_MS);
      return false;
    } catch (ConnectException e) {
      return true;
    } catch (IOException | RuntimeException e) {
      return false;
    }
  }

  /** Closes the channels to addresses that no pod of the view has. */
  void retain(MeshView view) {
    Set<String> live = view.pods().stream().map(Pod::address).collect(Collectors.toSet());
    for (var entry : channels.entrySet()) {
      if (!live.contains(entry.getKey()) && channels.remove(entry.getKey(), entry.getValue())) {
        entry.getValue().shutdown();
      }
    }
  }

  int connections() {
    return channels.size();
  }

  @Override
  public void close() {
    channels.values().forEach(ManagedChannel::shutdownNow);
    channels.clear();
  }
}
