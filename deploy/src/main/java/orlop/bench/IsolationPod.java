package orlop.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import orlop.payload.PayloadLog;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.pod.ModelStore;
import orlop.pod.PodConfig;
import orlop.pod.ServingPod;
import orlop.registry.EtcdRegistry;
import orlop.registry.RegistryConfig;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;

/** One pod in a process of its own, with real ONNX models that come from a slow store. */
final class IsolationPod {
  static final String MESH = "isolation";
  static final String COLD = "cold-";
  private static final int HEAP_MIB = 256;
  private static final int LOADS_AT_ONCE = 128;
  private static final int CAPACITY_BYTES = 512 << 20;

  /** Stores do not answer all in one moment: a quarter more or less, by model. */
  private static final long PULL_MS = 2_000;

  private IsolationPod() {}

  static BenchProcess start(String id, String etcd, Path file) throws IOException {
    return BenchProcess.start(
        IsolationPod.class, List.of("-Xmx" + HEAP_MIB + "m"), id, etcd, file.toString());
  }

  static RegistryConfig registry(String etcd) {
    return RegistryConfig.of(etcd, MESH).withTimes(10_000, 30_000);
  }

  /** Its id, the etcd, and the file that all models are. Announces its gRPC and metrics ports. */
  public static void main(String[] args) throws Exception {
    PodConfig config =
        PodConfig.builder(args[0], Memory.ram(CAPACITY_BYTES))
            .host("127.0.0.1")
            .ports(0, 0, 0, 0)
            .eventLoops(1)
            .loadingConcurrency(LOADS_AT_ONCE)
            .drainTimeoutMs(1_000)
            .build();
    try (EtcdRegistry registry = EtcdRegistry.connect(registry(args[1]));
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod pod =
            ServingPod.start(
                config,
                registry,
                new SlowStore(Path.of(args[2])),
                List.of(runtime),
                PayloadLog.disabled(),
                List.of())) {
      BenchProcess.announce(pod.grpcPort() + " " + pod.metricsPort());
      BenchProcess.awaitEnd();
    }
  }

  /** Whatever is asked for is the same file; what is cold comes late. */
  private record SlowStore(Path file) implements ModelStore {
    @Override
    public Files pull(Model model) throws InterruptedException {
      if (model.id().startsWith(COLD)) {
        // Mixed, because names that differ in a digit have hash codes that hardly differ.
        int spread = Math.floorMod(model.id().hashCode() * 0x9e3779b9 >>> 8, (int) PULL_MS / 2);
        TimeUnit.MILLISECONDS.sleep(PULL_MS + spread - PULL_MS / 4);
      }
      return new Files() {
        @Override
        public Path path() {
          return file;
        }

        @Override
        public void close() {}
      };
    }

    @Override
    public long sizeBytes(Model model) {
      return file.toFile().length();
    }
  }
}
