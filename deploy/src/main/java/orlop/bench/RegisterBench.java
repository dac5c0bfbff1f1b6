package orlop.bench;

import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLongArray;
import mmesh.GetStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelMeshGrpc;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import orlop.placement.Eviction;
import orlop.registry.EtcdProcess;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code orlop bench register}: how fast models are registered through the management interface,
 * and how soon a pod that starts into a large mesh is ready.
 */
@Command(
    name = "register",
    mixinStandardHelpOptions = true,
    description = {
      "Start an etcd and a pod, register many models through mmesh.ModelMesh, restart the pod.",
      "Needs etcd; takes a minute."
    })
final class RegisterBench extends Benchmark {
  private static final int CHANNELS = 4;
  private static final int HEAP_MIB = 512;

  @Option(
      names = "--models",
      defaultValue = "40000",
      description = "Registered while time is taken. Default: ${DEFAULT-VALUE}.")
  int models = 40_000;

  @Option(
      names = "--warm-up",
      defaultValue = "20000",
      description = "Registered before, by processes just started. Default: ${DEFAULT-VALUE}.")
  int warmUp = 20_000;

  @Option(
      names = "--standing",
      defaultValue = "50000",
      description = "Registered at least when the pod is restarted. Default: ${DEFAULT-VALUE}.")
  int standing = 50_000;

  @Option(
      names = "--callers",
      defaultValue = "32",
      description = "Registering at the same time. Default: ${DEFAULT-VALUE}.")
  int callers = 32;

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Path data = Files.createTempDirectory("orlop-bench-register");
    Figures figures = new Figures();
    try (EtcdProcess etcd = EtcdProcess.start(data)) {
      try (BenchProcess pod = setup(etcd).start(HEAP_MIB)) {
        register(pod, etcd, figures, table);
        pod.terminate();
        if (!pod.ended(30_000)) {
          throw new IllegalStateException("the pod did not end within 30 s after SIGTERM");
        }
      }
      restart(etcd, figures, table);
    } finally {
      Bench.delete(data);
    }
    return figures;
  }

  private int standing() {
    return Math.max(warmUp + models, standing);
  }

  private static MeshPod.Setup setup(EtcdProcess etcd) {
    return new MeshPod.Setup(
        etcd.endpoint(), "bench", "pod-0", 0, 0, 2, 1_000, Eviction.ADAPTIVE, false);
  }

  private void register(BenchProcess pod, EtcdProcess etcd, Figures figures, PrintWriter table)
      throws Exception {
    ManagedChannel[] channels = new ManagedChannel[CHANNELS];
    for (int i = 0; i < CHANNELS; i++) {
      channels[i] = channel(pod);
    }
    try {
      long coldNs = System.nanoTime();
      register(channels, 0, warmUp, new AtomicLongArray(warmUp));
      double coldSeconds = (System.nanoTime() - coldNs) / 1e9;
      long podCpu = pod.cpuMicros();
      long etcdCpu = Bench.cpuMicros(etcd);
      AtomicLongArray tookNs = new AtomicLongArray(models);
      long beganNs = System.nanoTime();
      register(channels, warmUp, warmUp + models, tookNs);
      double seconds = (System.nanoTime() - beganNs) / 1e9;
      figures
          .atLeast("modelsPerSecond", models / seconds, 3_000)
          .add("coldModelsPerSecond", warmUp / coldSeconds)
          .add("registerP50Millis", Bench.percentile(tookNs, models, 50) / 1e6)
          .add("registerP99Millis", Bench.percentile(tookNs, models, 99) / 1e6)
          .add("podCpuMicrosPerModel", (pod.cpuMicros() - podCpu) / (double) models)
          .add("etcdCpuMicrosPerModel", (Bench.cpuMicros(etcd) - etcdCpu) / (double) models);
      table.printf(
          Locale.ROOT,
          "registered %d models with %d callers in %.1f s, after %d in %.1f s%n",
          models,
          callers,
          seconds,
          warmUp,
          coldSeconds);
      table.flush();
      register(channels, warmUp + models, standing(), new AtomicLongArray(0));
    } finally {
      for (ManagedChannel channel : channels) {
        channel.shutdownNow();
      }
    }
  }

  private void register(ManagedChannel[] channels, int from, int to, AtomicLongArray tookNs)
      throws InterruptedException {
    AtomicInteger next = new AtomicInteger(from);
    AtomicInteger refused = new AtomicInteger();
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int caller = 0; caller < callers; caller++) {
        var mesh = ModelMeshGrpc.newBlockingStub(channels[caller % CHANNELS]);
        threads.execute(
            () -> {
              for (int i = next.getAndIncrement(); i < to; i = next.getAndIncrement()) {
                long startNs = System.nanoTime();
                try {
                  register(mesh, i);
                } catch (StatusRuntimeException e) {
                  if (refused.getAndIncrement() == 0) {
                    System.err.println("model " + i + ": " + e.getMessage());
                  }
                }
                if (i - from < tookNs.length()) {
                  tookNs.set(i - from, System.nanoTime() - startNs);
                }
              }
            });
      }
    }
    if (refused.get() > 0) {
      throw new IllegalStateException(
          refused + " of " + (to - from) + " models were not registered");
    }
  }

  private static String id(int i) {
    return "tenant-%03d/model-%06d".formatted(i % 500, i);
  }

  private static void register(ModelMeshGrpc.ModelMeshBlockingStub mesh, int i) {
    ModelStatusInfo status =
        mesh.withDeadlineAfter(60, TimeUnit.SECONDS)
            .registerModel(
                RegisterModelRequest.newBuilder()
                    .setModelId(id(i))
                    .setModelInfo(
                        ModelInfo.newBuilder()
                            .setType(MeshPod.TYPE)
                            .setPath("models/tenant-%03d/v%d".formatted(i % 500, i % 7))
                            .setKey("{\"storage_key\":\"store-%d\"}".formatted(i % 500)))
                    .build());
    if (status.getStatus() != ModelStatusInfo.ModelStatus.NOT_LOADED) {
      throw new IllegalStateException(id(i) + " is " + status);
    }
  }

  /** From the start of the process to the first right answer about the last model. */
  private void restart(EtcdProcess etcd, Figures figures, PrintWriter table) throws Exception {
    long beganNs = System.nanoTime();
    try (BenchProcess pod = setup(etcd).start(HEAP_MIB)) {
      ManagedChannel channel = channel(pod);
      try {
        ModelStatusInfo last =
            ModelMeshGrpc.newBlockingStub(channel)
                .withDeadlineAfter(60, TimeUnit.SECONDS)
                .getModelStatus(
                    GetStatusRequest.newBuilder().setModelId(id(standing() - 1)).build());
        double seconds = (System.nanoTime() - beganNs) / 1e9;
        if (last.getStatus() != ModelStatusInfo.ModelStatus.NOT_LOADED) {
          throw new IllegalStateException("after the restart the last model is " + last);
        }
        figures.atMost("restartReadySeconds", seconds, 6);
        table.printf(
            Locale.ROOT,
            "a pod that starts among %d models is ready after %.1f s%n",
            standing(),
            seconds);
      } finally {
        channel.shutdownNow();
      }
    }
  }

  private static ManagedChannel channel(BenchProcess pod) {
    return NettyChannelBuilder.forTarget(pod.announced().split(" ")[0])
        .usePlaintext()
        .directExecutor()
        .build();
  }
}
