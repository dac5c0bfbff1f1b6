package orlop.controller;

import io.grpc.Server;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import orlop.api.DemandReport;
import orlop.api.LoadRequest;
import orlop.api.LoadResponse;
import orlop.api.PodControlGrpc;
import orlop.api.UnloadRequest;
import orlop.api.UnloadResponse;
import orlop.api.WatchDemandRequest;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.Memory;
import orlop.placement.Pod;
import orlop.registry.PodSession;
import orlop.registry.Registry;
import orlop.registry.RegistryException;

/** A pod that loads at once what it is asked to, over a real socket, and publishes it. */
final class FakePod extends PodControlGrpc.PodControlImplBase implements AutoCloseable {
  final String id;
  final List<String> loads = new CopyOnWriteArrayList<>();
  final List<String> unloads = new CopyOnWriteArrayList<>();

  /** Models whose load fails, and why. */
  final Map<String, String> broken = new ConcurrentHashMap<>();

  /** What counts as the last use of each load, milliseconds since the epoch. */
  final Map<String, Long> usedMs = new ConcurrentHashMap<>();

  /** Whether it has no room for anything. */
  volatile boolean full;

  /** Holds loads back until it opens. */
  volatile @Nullable CountDownLatch gate;

  /** Loads that the gate holds back. */
  final AtomicInteger held = new AtomicInteger();

  private final List<StreamObserver<DemandReport>> watchers = new CopyOnWriteArrayList<>();
  private final Server server;
  private final PodSession session;

  FakePod(String id, Registry registry) throws IOException, RegistryException {
    this.id = id;
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .addService(this)
            .build()
            .start();
    session =
        registry.join(
            new Pod(
                id,
                "127.0.0.1:" + server.getPort(),
                "",
                Set.of(),
                Memory.ram(1 << 20),
                Memory.NONE,
                0,
                0,
                false,
                1,
                "test"));
  }

  @Override
  public void load(LoadRequest request, StreamObserver<LoadResponse> response) {
    loads.add(request.getModelId());
    usedMs.put(request.getModelId(), request.getLastUsedMs());
    if (full) {
      response.onError(
          Status.RESOURCE_EXHAUSTED.withDescription(id + " is full").asRuntimeException());
      return;
    }
    pass(gate);
    String cause = broken.get(request.getModelId());
    if (cause != null) {
      session.publish(
          request.getModelId(),
          new CopyState.FailedToLoad(Fault.PERMANENT, cause, System.currentTimeMillis() + 60_000),
          1_000);
      response.onError(Status.FAILED_PRECONDITION.withDescription(cause).asRuntimeException());
      return;
    }
    session.publish(request.getModelId(), new CopyState.Loaded(Memory.ram(1_000), 5), 1_000);
    response.onNext(LoadResponse.getDefaultInstance());
    response.onCompleted();
  }

  private void pass(@Nullable CountDownLatch closed) {
    if (closed != null) {
      held.incrementAndGet();
      try {
        if (!closed.await(60, TimeUnit.SECONDS)) {
          throw new IllegalStateException("the test never opened the gate");
        }
      } catch (InterruptedException e) {
        throw new IllegalStateException("interrupted at the gate", e);
      }
    }
  }

  /** As a pod does when credentials changed. */
  void forgetFailure(String modelId) {
    broken.remove(modelId);
    session.withdraw(modelId);
  }

  void withdraw(String modelId) {
    session.withdraw(modelId);
  }

  void publish(String modelId, CopyState state, long sinceMs) {
    session.publish(modelId, state, sinceMs);
  }

  @Override
  public void unload(UnloadRequest request, StreamObserver<UnloadResponse> response) {
    unloads.add(request.getModelId());
    session.withdraw(request.getModelId());
    response.onNext(UnloadResponse.getDefaultInstance());
    response.onCompleted();
  }

  @Override
  public void watchDemand(WatchDemandRequest request, StreamObserver<DemandReport> response) {
    ((ServerCallStreamObserver<DemandReport>) response)
        .setOnCancelHandler(() -> watchers.remove(response));
    response.onNext(DemandReport.newBuilder().setPodId(id).build());
    watchers.add(response);
  }

  boolean watched() {
    return !watchers.isEmpty();
  }

  void report(String modelId, long calls, long lastUsedMs) {
    watchers.forEach(
        watcher ->
            watcher.onNext(
                DemandReport.newBuilder()
                    .setPodId(id)
                    .addModels(
                        DemandReport.ModelDemand.newBuilder()
                            .setModelId(modelId)
                            .setCalls(calls)
                            .setLastUsedMs(lastUsedMs))
                    .build()));
  }

  /** As by kill -9: nobody listens any more, and the registry does not know. */
  void die() throws InterruptedException {
    server.shutdownNow().awaitTermination();
  }

  @Override
  public void close() {
    session.close();
    server.shutdownNow();
  }
}
