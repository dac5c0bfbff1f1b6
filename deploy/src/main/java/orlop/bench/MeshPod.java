package orlop.bench;

import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import orlop.controller.Controller;
import orlop.controller.ControllerConfig;
import orlop.controller.ManagementService;
import orlop.payload.PayloadLog;
import orlop.placement.Eviction;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Planner;
import orlop.placement.Router;
import orlop.pod.ModelStore;
import orlop.pod.PodConfig;
import orlop.pod.ServingPod;
import orlop.registry.EtcdRegistry;
import orlop.registry.RegistryConfig;
import orlop.runtime.Cancellation;
import orlop.runtime.LoadedModel;
import orlop.runtime.ModelRuntime;

/**
 * One pod of a mesh in a process of its own, as users run it: real etcd, management interface, its
 * own candidate for planning. Only the models are made up: they take a given time to load, a given
 * memory, and answer with what they are sent.
 */
final class MeshPod {
  static final String TYPE = "slow";
  static final long MODEL_BYTES = 1_000_000;
  static final long LEASE_MS = 10_000;
  private static final long ETCD_TIMEOUT_MS = 5_000;
  private static final long INFERENCE_NS = 5_000_000;
  private static final int COMPUTE_THREADS = 16;

  private MeshPod() {}

  /**
   * What one pod is told.
   *
   * @param room models that its memory holds
   * @param plans whether it takes part in planning
   */
  record Setup(
      String endpoint,
      String mesh,
      String id,
      int grpcPort,
      long loadMs,
      int loaders,
      int room,
      Eviction policy,
      boolean plans) {

    BenchProcess start(int heapMiB) throws java.io.IOException {
      return BenchProcess.start(
          MeshPod.class,
          List.of("-Xmx" + heapMiB + "m"),
          endpoint,
          mesh,
          id,
          Integer.toString(grpcPort),
          Long.toString(loadMs),
          Integer.toString(loaders),
          Integer.toString(room),
          policy.name(),
          Boolean.toString(plans));
    }

    private static Setup of(String[] args) {
      return new Setup(
          args[0],
          args[1],
          args[2],
          Integer.parseInt(args[3]),
          Long.parseLong(args[4]),
          Integer.parseInt(args[5]),
          Integer.parseInt(args[6]),
          Eviction.valueOf(args[7]),
          Boolean.parseBoolean(args[8]));
    }
  }

  /** Serves until SIGTERM, or until its standard input ends. */
  public static void main(String[] args) throws Exception {
    Setup setup = Setup.of(args);
    EtcdRegistry registry =
        EtcdRegistry.connect(
            RegistryConfig.of(setup.endpoint, setup.mesh).withTimes(LEASE_MS, ETCD_TIMEOUT_MS));
    ControllerConfig control = ControllerConfig.defaults(setup.id);
    ManagementService management =
        new ManagementService(
            control, registry, new Router(new Placer()), System::currentTimeMillis);
    PodConfig config =
        PodConfig.builder(setup.id, Memory.ram(setup.room * MODEL_BYTES))
            .host("127.0.0.1")
            .ports(setup.grpcPort, 0, 0, 0)
            .eventLoops(1)
            .loadingConcurrency(setup.loaders)
            .compute(COMPUTE_THREADS, 1_024)
            .evictionPolicy(setup.policy)
            .handOverTimeoutMs(90_000)
            .drainTimeoutMs(10_000)
            .build();
    ServingPod pod =
        ServingPod.start(
            config,
            registry,
            new NoStore(),
            List.of(new SlowRuntime(setup.loadMs)),
            PayloadLog.disabled(),
            List.of(management));
    Controller controller =
        setup.plans
            ? Controller.start(
                control,
                registry,
                new Planner(Planner.Config.defaults(), new Placer()),
                System::currentTimeMillis)
            : null;
    Thread end =
        new Thread(
            () -> {
              // Its planning ends first, so that another candidate moves what it holds.
              if (controller != null) {
                controller.close();
              }
              pod.close();
              management.close();
              registry.close();
            });
    Runtime.getRuntime().addShutdownHook(end);
    BenchProcess.announce(pod.address() + " 127.0.0.1:" + pod.metricsPort());
    BenchProcess.awaitEnd();
    // Whoever started it has gone: nobody is left to hand anything over to.
    Runtime.getRuntime().halt(0);
  }

  private record SlowRuntime(long loadMs) implements ModelRuntime {
    @Override
    public String name() {
      return TYPE;
    }

    @Override
    public boolean supports(String modelType) {
      return modelType.equals(TYPE);
    }

    @Override
    public long predictSizeBytes(Path modelPath) {
      return MODEL_BYTES;
    }

    @Override
    public LoadedModel load(String modelId, String modelType, Path modelPath) {
      try {
        TimeUnit.MILLISECONDS.sleep(loadMs);
      } catch (InterruptedException e) {
        throw new IllegalStateException("interrupted while loading " + modelId, e);
      }
      return new Echo(modelId);
    }

    @Override
    public void close() {}
  }

  private record Echo(String modelId) implements LoadedModel {
    @Override
    public ModelMetadataResponse metadata() {
      return ModelMetadataResponse.newBuilder().setName(modelId).setPlatform(TYPE).build();
    }

    @Override
    public long sizeBytes() {
      return MODEL_BYTES;
    }

    @Override
    public ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation) {
      // Long enough that some calls are in flight at any moment.
      LockSupport.parkNanos(INFERENCE_NS);
      return ModelInferResponse.newBuilder()
          .setModelName(request.getModelName())
          .setId(request.getId())
          .addAllRawOutputContents(request.getRawInputContentsList())
          .build();
    }

    @Override
    public void close() {}
  }

  /** The models are made up, so there are no files. */
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
      return MODEL_BYTES;
    }
  }
}
