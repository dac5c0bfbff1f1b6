package orlop.bridge;

import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ServerLiveRequest;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.handler.ssl.SslContext;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;

/**
 * Asynchronous Open Inference Protocol calls to the pods of a mesh. Thread-safe; shared by all
 * streams of a process.
 *
 * <p>Pods take turns. A pod that answers {@code UNAVAILABLE} is passed over for 100 ms, doubling up
 * to 5 s, and the call goes on to the next one, at most once to each pod and within one deadline;
 * inference has no side effect, so a second execution does no harm. Where all pods are being passed
 * over, they are asked all the same. An address that resolves to several pods spreads over them.
 */
public final class MeshClient implements AutoCloseable {
  /** These say that no pod was heard, or nothing about whether one was. */
  private static final Set<Status.Code> SILENCE =
      Set.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED, Status.Code.CANCELLED);

  private static final int MAX_MESSAGE_BYTES = 128 << 20;
  private static final long PROBE_TIMEOUT_MS = 2_000;

  private final List<Peer> peers;
  private final AtomicInteger turn = new AtomicInteger();
  private volatile long lastHeardNs;

  private MeshClient(List<Peer> peers) {
    this.peers = peers;
    this.lastHeardNs = System.nanoTime();
  }

  /**
   * Does not wait for a connection: a mesh that is away is a failed call, not a failed start.
   *
   * @param addresses pods as {@code host:port}, at least one
   */
  public static MeshClient connect(List<String> addresses) {
    return connect(addresses, null, "");
  }

  /**
   * As the other.
   *
   * @param tls null: in the clear
   * @param serverName that the pods' certificates must have; empty: the one that is called
   */
  public static MeshClient connect(
      List<String> addresses, @Nullable SslContext tls, String serverName) {
    if (addresses.isEmpty()) {
      throw new IllegalArgumentException("meshAddresses is empty, expected at least one host:port");
    }
    List<Peer> peers = new ArrayList<>();
    for (String address : addresses) {
      NettyChannelBuilder builder = NettyChannelBuilder.forTarget("dns:///" + address);
      if (!serverName.isEmpty()) {
        builder.overrideAuthority(serverName);
      }
      peers.add(
          new Peer(
              address,
              (tls == null ? builder.usePlaintext() : builder.sslContext(tls))
                  .directExecutor()
                  .defaultLoadBalancingPolicy("round_robin")
                  .maxInboundMessageSize(MAX_MESSAGE_BYTES)
                  .keepAliveTime(30, TimeUnit.SECONDS)
                  .build()));
    }
    return new MeshClient(List.copyOf(peers));
  }

  /**
   * Scores one request. The future never fails; it completes on a network thread, which must not be
   * held.
   */
  CompletableFuture<Answer> infer(ModelInferRequest request, ModelName model, long timeoutMs) {
    return infer(request, model, "online", timeoutMs);
  }

  /**
   * As {@link #infer(ModelInferRequest, ModelName, long)}.
   *
   * @param purpose as in {@link StreamConfig}
   */
  CompletableFuture<Answer> infer(
      ModelInferRequest request, ModelName model, String purpose, long timeoutMs) {
    CompletableFuture<Answer> answer = new CompletableFuture<>();
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    Metadata headers = headersFor(model);
    headers.put(Metadata.Key.of(Headers.PURPOSE, Metadata.ASCII_STRING_MARSHALLER), purpose);
    infer(request, headers, deadlineNs, new ArrayList<>(peers.size()), answer);
    return answer;
  }

  private void infer(
      ModelInferRequest request,
      Metadata headers,
      long deadlineNs,
      List<Peer> tried,
      CompletableFuture<Answer> answer) {
    Peer peer = next(tried);
    tried.add(peer);
    start(
        peer,
        GRPCInferenceServiceGrpc.getModelInferMethod(),
        request,
        headers,
        deadlineNs,
        (status, response) -> {
          if (status.isOk() && response != null) {
            answer.complete(new Answer.Scored(response));
          } else if (status.getCode() == Status.Code.UNAVAILABLE
              && tried.size() < peers.size()
              && deadlineNs > System.nanoTime()) {
            infer(request, headers, deadlineNs, tried, answer);
          } else {
            answer.complete(failed(status, peer));
          }
        });
  }

  /** Header values are ASCII; other names travel in the binary form of the header. */
  private static Metadata headersFor(ModelName model) {
    Metadata headers = new Metadata();
    String key = model.alias() ? Headers.VMODEL_ID : Headers.MODEL_ID;
    if (model.name().chars().allMatch(c -> c >= ' ' && c <= '~')) {
      headers.put(Metadata.Key.of(key, Metadata.ASCII_STRING_MARSHALLER), model.name());
    } else {
      headers.put(
          Metadata.Key.of(key + Metadata.BINARY_HEADER_SUFFIX, Metadata.BINARY_BYTE_MARSHALLER),
          model.name().getBytes(StandardCharsets.UTF_8));
    }
    return headers;
  }

  /** Whether any pod answers that it is alive, within two seconds. Never fails. */
  CompletableFuture<Boolean> reachable() {
    CompletableFuture<Boolean> reachable = new CompletableFuture<>();
    AtomicInteger open = new AtomicInteger(peers.size());
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(PROBE_TIMEOUT_MS);
    for (Peer peer : peers) {
      start(
          peer,
          GRPCInferenceServiceGrpc.getServerLiveMethod(),
          ServerLiveRequest.getDefaultInstance(),
          new Metadata(),
          deadlineNs,
          (status, response) -> {
            if (!SILENCE.contains(status.getCode())) {
              reachable.complete(true);
            } else if (open.decrementAndGet() == 0) {
              reachable.complete(false);
            }
          });
    }
    return reachable;
  }

  /** When a pod last answered anything, good or bad, in {@link System#nanoTime}. */
  long lastHeardNs() {
    return lastHeardNs;
  }

  private Peer next(List<Peer> tried) {
    long nowNs = System.nanoTime();
    int first = turn.getAndIncrement();
    Peer fallback = null;
    for (int i = 0; i < peers.size(); i++) {
      Peer peer = peers.get(Math.floorMod(first + i, peers.size()));
      if (!tried.contains(peer)) {
        if (!peer.isPassedOver(nowNs)) {
          return peer;
        }
        fallback = fallback == null ? peer : fallback;
      }
    }
    return fallback == null ? peers.getFirst() : fallback;
  }

  private <Q, A> void start(
      Peer peer,
      MethodDescriptor<Q, A> method,
      Q request,
      Metadata headers,
      long deadlineNs,
      Ending<A> ending) {
    CallOptions options =
        CallOptions.DEFAULT.withDeadlineAfter(
            Math.max(1, deadlineNs - System.nanoTime()), TimeUnit.NANOSECONDS);
    ClientCall<Q, A> call = peer.channel.newCall(method, options);
    try {
      call.start(new Unary<>(peer, ending), headers);
      call.request(2);
      call.sendMessage(request);
      call.halfClose();
    } catch (RuntimeException e) {
      // The listener is still told, with this as the cause.
      call.cancel("could not be sent", e);
    }
  }

  private static Answer.Failed failed(Status status, Peer peer) {
    Throwable cause = status.getCause();
    String said = status.getDescription() == null ? "" : ": " + status.getDescription();
    String why = cause == null || cause.getMessage() == null ? "" : " (" + cause.getMessage() + ")";
    return new Answer.Failed(
        status.isOk() ? Status.Code.INTERNAL : status.getCode(),
        "pod " + peer.address + " answered " + status.getCode() + said + why);
  }

  /** Closes the connections; calls in flight end with {@code UNAVAILABLE}. */
  @Override
  public void close() {
    for (Peer peer : peers) {
      peer.channel.shutdownNow();
    }
    for (Peer peer : peers) {
      try {
        peer.channel.awaitTermination(2, TimeUnit.SECONDS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  @FunctionalInterface
  private interface Ending<A> {
    void ended(Status status, @Nullable A response);
  }

  private final class Unary<A> extends ClientCall.Listener<A> {
    private final Peer peer;
    private final Ending<A> ending;
    private @Nullable A response;

    Unary(Peer peer, Ending<A> ending) {
      this.peer = peer;
      this.ending = ending;
    }

    @Override
    public void onMessage(A message) {
      response = message;
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      if (status.getCode() == Status.Code.UNAVAILABLE) {
        peer.failed(System.nanoTime());
      } else if (!SILENCE.contains(status.getCode())) {
        peer.answered();
        lastHeardNs = System.nanoTime();
      }
      ending.ended(status, response);
    }
  }

  /** One address. Its fields are hints, so that a lost update costs one call to a dead pod. */
  private static final class Peer {
    private static final long FIRST_PASS_OVER_NS = TimeUnit.MILLISECONDS.toNanos(100);
    private static final int MAX_DOUBLINGS = 6;

    final String address;
    final ManagedChannel channel;
    private volatile int failures;
    private volatile long passedOverUntilNs;

    Peer(String address, ManagedChannel channel) {
      this.address = address;
      this.channel = channel;
    }

    boolean isPassedOver(long nowNs) {
      return failures > 0 && nowNs - passedOverUntilNs < 0;
    }

    void failed(long nowNs) {
      int seen = failures;
      long forNs = Math.min(FIRST_PASS_OVER_NS << Math.min(seen, MAX_DOUBLINGS), 5_000_000_000L);
      passedOverUntilNs = nowNs + forNs;
      failures = Math.min(seen + 1, MAX_DOUBLINGS);
    }

    void answered() {
      if (failures != 0) {
        failures = 0;
      }
    }
  }
}
