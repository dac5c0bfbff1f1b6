package orlop.bench;

import io.grpc.ManagedChannel;
import io.grpc.NameResolverRegistry;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import mmesh.ModelInfo;
import mmesh.ModelMeshGrpc;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import orlop.placement.Eviction;

/**
 * Pods in processes of their own on one etcd, and one client that is connected to all of them. Not
 * thread-safe.
 */
final class BenchMesh implements AutoCloseable {
  private static final int HEAP_MIB = 192;
  private static final int AT_ONCE = 64;

  /** A pod that runs. */
  record Running(String id, int port, String metrics, BenchProcess process) {}

  private final MeshPod.Setup setup;
  private final PodAddresses addresses = new PodAddresses();
  private final List<Running> pods = new ArrayList<>();
  private final ManagedChannel channel;
  private int started;

  /**
   * @param setup of each pod, but for its id and port
   */
  BenchMesh(MeshPod.Setup setup) {
    this.setup = setup;
    NameResolverRegistry.getDefaultRegistry().register(addresses);
    this.channel =
        NettyChannelBuilder.forTarget(addresses.target())
            .defaultLoadBalancingPolicy("round_robin")
            .usePlaintext()
            .directExecutor()
            .build();
  }

  static MeshPod.Setup setup(
      String endpoint, String mesh, long loadMs, int loaders, int room, Eviction policy) {
    return new MeshPod.Setup(endpoint, mesh, "", 0, loadMs, loaders, room, policy, true);
  }

  /** Starts a further pod; clients hear of it when it is ready. */
  Running start() throws IOException {
    String id = "pod-" + started++;
    BenchProcess process =
        new MeshPod.Setup(
                setup.endpoint(),
                setup.mesh(),
                id,
                0,
                setup.loadMs(),
                setup.loaders(),
                setup.room(),
                setup.policy(),
                setup.plans())
            .start(HEAP_MIB);
    String[] announced = process.announced().split(" ");
    int port = Integer.parseInt(announced[0].substring(announced[0].lastIndexOf(':') + 1));
    Running pod = new Running(id, port, announced[1], process);
    pods.add(pod);
    tell();
    return pod;
  }

  /** Clients hear that the pod goes, or has gone. */
  void forget(Running pod) {
    pods.remove(pod);
    tell();
  }

  private void tell() {
    addresses.set(pods.stream().map(Running::port).toList());
  }

  List<Running> pods() {
    return List.copyOf(pods);
  }

  /** Spreads its calls over all pods. */
  ManagedChannel channel() {
    return channel;
  }

  /**
   * Registers the models and, where wanted, loads one copy of each.
   *
   * @return the pod that holds each
   */
  Map<Integer, String> register(int models, String key, boolean load) throws InterruptedException {
    Map<Integer, String> holders = new ConcurrentHashMap<>();
    Queue<String> refused = new ConcurrentLinkedQueue<>();
    Semaphore places = new Semaphore(AT_ONCE);
    var mesh = ModelMeshGrpc.newBlockingStub(channel);
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < models; i++) {
        int model = i;
        places.acquire();
        threads.execute(
            () -> {
              try {
                ModelStatusInfo status =
                    mesh.withDeadlineAfter(120, TimeUnit.SECONDS)
                        .registerModel(
                            RegisterModelRequest.newBuilder()
                                .setModelId(SteadyCalls.model(model))
                                .setModelInfo(
                                    ModelInfo.newBuilder()
                                        .setType(MeshPod.TYPE)
                                        .setPath("p")
                                        .setKey(key))
                                .setLoadNow(load)
                                .setSync(load)
                                .setLastUsedTime(System.currentTimeMillis())
                                .build());
                if (load && status.getStatus() != ModelStatusInfo.ModelStatus.LOADED) {
                  refused.add(status.toString());
                } else if (load) {
                  holders.put(model, status.getModelCopyInfos(0).getLocation());
                }
              } catch (RuntimeException e) {
                refused.add(String.valueOf(e.getMessage()));
              } finally {
                places.release();
              }
            });
      }
    }
    if (!refused.isEmpty()) {
      throw new IllegalStateException(
          refused.size() + " of " + models + " models are not there: " + refused.peek());
    }
    return holders;
  }

  @Override
  public void close() {
    channel.shutdownNow();
    NameResolverRegistry.getDefaultRegistry().deregister(addresses);
    pods.forEach(pod -> pod.process().close());
  }
}
