package orlop.bench;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import orlop.payload.PayloadLog;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.pod.ModelStore;
import orlop.pod.PodConfig;
import orlop.pod.ServingPod;
import orlop.puller.ModelPuller;
import orlop.puller.PullerConfig;
import orlop.puller.StorageConfig;
import orlop.registry.LocalRegistry;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;

/** One pod in a process of its own, with a registry inside that knows many models of one store. */
final class DensityPod {
  private static final String STORAGE = "bench";

  /** Believed for as long as the benchmark takes, so that a load from the disk asks no store. */
  private static final long REVALIDATE_MS = 3_600_000;

  private DensityPod() {}

  static String model(long number) {
    return "model-" + number;
  }

  /** The store's endpoint, a directory for the disk cache, how many models, and the capacity. */
  public static void main(String[] args) throws Exception {
    LocalRegistry registry = new LocalRegistry();
    String key = "{\"storage_key\":\"" + STORAGE + "\"}";
    for (long i = 0; i < Long.parseLong(args[2]); i++) {
      registry.createModel(Model.of(model(i), "onnx", ModelShop.path(i), key, 1));
    }
    Map<String, StorageConfig> storages =
        Map.of(
            STORAGE,
            new StorageConfig(
                "s3",
                Map.of(
                    "endpoint_url",
                    args[0],
                    "region",
                    "bench",
                    "anonymous",
                    "true",
                    "bucket",
                    ModelShop.BUCKET)));
    PodConfig config =
        PodConfig.builder("density", Memory.ram(Long.parseLong(args[3])))
            .host("127.0.0.1")
            .ports(0, 0, 0, 0)
            .drainTimeoutMs(0)
            .handOverTimeoutMs(0)
            .build();
    try (ModelPuller puller =
            new ModelPuller(
                PullerConfig.defaults(Path.of(args[1]), 1L << 40)
                    .withStorages(storages)
                    .withRevalidateMs(REVALIDATE_MS));
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod pod =
            ServingPod.start(
                config,
                registry,
                ModelStore.of(puller),
                List.of(runtime),
                PayloadLog.disabled(),
                List.of())) {
      BenchProcess.announce(pod.address() + " " + pod.metricsPort());
      BenchProcess.awaitEnd();
    }
    registry.close();
  }
}
