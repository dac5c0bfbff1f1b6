package orlop.bench;

import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import orlop.api.LoadRequest;
import orlop.api.PayloadEvent;
import orlop.api.PodControlGrpc;
import orlop.payload.PayloadLog;
import orlop.payload.PayloadLogConfig;
import orlop.payload.PayloadSink;
import orlop.placement.CopyState;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.placement.Pod;
import orlop.pod.ModelStore;
import orlop.pod.PodConfig;
import orlop.pod.ServingPod;
import orlop.registry.LocalRegistry;
import orlop.registry.PodSession;
import orlop.runtime.SidecarConfig;
import orlop.runtime.SidecarRuntime;

/**
 * One pod of a mesh of three in a process of its own, without a registry between them: each knows
 * by rule that model {@code i} lies in pod {@code i mod 3}.
 */
final class RoutePod {
  static final int PODS = 3;
  static final int MODELS = 300;
  private static final long LOAD_TIMEOUT_MS = 60_000;

  private RoutePod() {}

  static String model(int i) {
    return "model-" + i;
  }

  /** Its index, the address of its runtime, and the gRPC ports of all pods. */
  public static void main(String[] args) throws Exception {
    int self = Integer.parseInt(args[0]);
    LocalRegistry registry = new LocalRegistry();
    for (int i = 0; i < MODELS; i++) {
      registry.createModel(Model.of(model(i), EchoServer.TYPE, "none:" + i, "", 1));
    }
    for (int pod = 0; pod < PODS; pod++) {
      if (pod != self) {
        join(registry, pod, "127.0.0.1:" + args[2 + pod]);
      }
    }
    SidecarRuntime runtime = SidecarRuntime.connect(SidecarConfig.at(args[1]));
    PodConfig config =
        PodConfig.builder("pod-" + self, Memory.ram(1 << 30))
            .host("127.0.0.1")
            .ports(Integer.parseInt(args[2 + self]), 0, 0, 0)
            .eventLoops(1)
            .build();
    // Every payload is handed off and copied; where a broker would be, it ends.
    PayloadLog payloads =
        PayloadLog.start(PayloadLogConfig.to("none:1", "urn:pod-" + self), new Nowhere());
    ServingPod pod =
        ServingPod.start(config, registry, new NoStore(), List.of(runtime), payloads, List.of());
    var channel =
        io.grpc.netty.NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort())
            .usePlaintext()
            .build();
    for (int i = self; i < MODELS; i += PODS) {
      PodControlGrpc.newBlockingStub(channel)
          .withDeadlineAfter(LOAD_TIMEOUT_MS, TimeUnit.MILLISECONDS)
          .load(LoadRequest.newBuilder().setModelId(model(i)).setWait(true).build());
    }
    channel.shutdownNow();
    BenchProcess.announce(pod.address());
    BenchProcess.awaitEnd();
    pod.close();
    payloads.close();
    runtime.close();
    registry.close();
  }

  private static void join(LocalRegistry registry, int pod, String address) throws Exception {
    PodSession session =
        registry.join(
            new Pod(
                "pod-" + pod,
                address,
                "",
                Set.of(),
                Memory.ram(1 << 30),
                Memory.NONE,
                0,
                0,
                false,
                1,
                "bench"));
    for (int i = pod; i < MODELS; i += PODS) {
      session.publish(model(i), new CopyState.Loaded(Memory.ram(1_000), 1), 1);
    }
    session.flush(LOAD_TIMEOUT_MS);
  }

  /** Confirms what it is given. */
  private static final class Nowhere implements PayloadSink {
    @Override
    public void send(PayloadEvent event, Outcome outcome) {
      outcome.accept(true);
    }

    @Override
    public void close(long timeoutMs) {}
  }

  /** The runtime needs no files. */
  private static final class NoStore implements ModelStore {
    @Override
    public Files pull(Model model) {
      return new Files() {
        @Override
        public Path path() {
          return Path.of("none");
        }

        @Override
        public void close() {}
      };
    }

    @Override
    public long sizeBytes(Model model) {
      return 1_000;
    }
  }
}
