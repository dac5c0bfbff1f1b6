package orlop.deploy;

import io.netty.handler.ssl.SslContext;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import javax.net.ssl.SSLContext;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.KafkaException;
import org.jspecify.annotations.Nullable;
import orlop.bridge.BridgeConfig;
import orlop.bridge.BridgeServer;
import orlop.bridge.StreamConfig;
import orlop.controller.Controller;
import orlop.controller.ControllerConfig;
import orlop.controller.ManagementService;
import orlop.drift.DriftConfig;
import orlop.drift.DriftServer;
import orlop.payload.KafkaSink;
import orlop.payload.PayloadLog;
import orlop.payload.PayloadLogConfig;
import orlop.payload.PayloadProcessors;
import orlop.payload.ProcessorsConfig;
import orlop.placement.Memory;
import orlop.placement.Placer;
import orlop.placement.Planner;
import orlop.placement.Router;
import orlop.pod.ModelStore;
import orlop.pod.PodConfig;
import orlop.pod.PodConfigBuilder;
import orlop.pod.PodTls;
import orlop.pod.ServingPod;
import orlop.puller.ModelPuller;
import orlop.puller.PullerConfig;
import orlop.puller.StorageConfig;
import orlop.registry.EtcdRegistry;
import orlop.registry.LocalRegistry;
import orlop.registry.Registry;
import orlop.registry.RegistryConfig;
import orlop.registry.RegistryException;
import orlop.runtime.ModelRuntime;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;
import orlop.runtime.SidecarConfig;
import orlop.runtime.SidecarRuntime;
import orlop.runtime.TreeRuntime;

/**
 * Puts each server of a mesh together from its settings and hands it to a {@link Teardown}. The one
 * place where rooms meet.
 */
final class Roles {
  private static final int KAFKA_ANSWER_MS = 15_000;

  /** What Kafka clients may take to commit, to write state and to leave their group. */
  private static final int KAFKA_CLOSE_MS = 20_000;

  private Roles() {}

  /** {@code registry.kind}: {@code etcd}, or {@code local} for a mesh inside this process. */
  static Registry registry(Settings settings) throws RegistryException {
    return switch (settings.text("registry.kind")) {
      case "etcd" ->
          EtcdRegistry.connect(
              settings.without("registry", "kind").section("registry", RegistryConfig.class));
      case "local" -> new LocalRegistry();
      default ->
          throw new CommandException(
              "registry.kind is '" + settings.text("registry.kind") + "'",
              "expected etcd or local");
    };
  }

  /** A pod in a mesh that another process leads. */
  static PodProcess.Announcement pod(Settings given, Registry plain, Teardown teardown)
      throws IOException, RegistryException {
    return pod(given, plain, teardown, () -> false);
  }

  /**
   * A pod with the management interface beside its V2 service.
   *
   * @param leads whether this process leads the mesh
   */
  static PodProcess.Announcement pod(
      Settings given, Registry plain, Teardown teardown, BooleanSupplier leads)
      throws IOException, RegistryException {
    Settings settings = filledIn(given);
    List<StaticModels.StaticModel> models =
        StaticModels.read(
            settings.text("registration.models"), settings.text("registration.modelsFile"));
    Registry registry = constrained(settings, plain, teardown);
    Certificates certificates = certificates(settings, teardown);
    PullerConfig pulls = puller(settings);
    ModelPuller puller = teardown.add("puller", new ModelPuller(pulls));
    List<ModelRuntime> runtimes = new ArrayList<>();
    PodConfig config = beside(settings, teardown, runtimes);
    if (runtimes.isEmpty() || !settings.section("sidecar", SidecarConfig.class).takesAll()) {
      runtimes.add(
          teardown.add(
              "runtime", new OnnxRuntime(settings.section("runtime", RuntimeConfig.class))));
      runtimes.add(new TreeRuntime());
      // Those of optional modules, such as TorchScript's.
      ServiceLoader.load(ModelRuntime.class).forEach(runtimes::add);
    }
    PayloadLog payloads = teardown.add("payloads", payloads(settings, certificates));
    ManagementService management =
        teardown.add(
            "management",
            new ManagementService(
                settings.section("controller", ControllerConfig.class),
                registry,
                new Router(new Placer()),
                System::currentTimeMillis,
                toPods(certificates)));
    ServingPod pod;
    try {
      pod =
          ServingPod.prepare(
              config,
              registry,
              ModelStore.of(puller),
              runtimes,
              payloads,
              List.of(management),
              tls(config, certificates));
    } catch (IOException e) {
      throw new CommandException(
          String.valueOf(e.getMessage()),
          "free that port or set the key to another; 0 takes any",
          e);
    }
    pod.logLevel(Logging.level());
    teardown.add(config.id(), pod, config.handOverTimeoutMs() + config.drainTimeoutMs());
    watchStorages(settings, pulls, puller, pod, teardown);
    pod.showMesh(leads);
    MeshSettings ofMesh = new MeshSettings(pod, config.logCalls());
    teardown.add("mesh settings", registry.listen(ofMesh::look));
    String host = config.host().equals("0.0.0.0") ? "127.0.0.1" : config.host();
    if (!models.isEmpty()) {
      int timeoutSeconds = (int) Math.clamp(config.loadTimeoutMs() / 1_000, 60, 3_600);
      try (MeshClient self =
          new MeshClient(host + ":" + pod.grpcPort(), timeoutSeconds, toPods(certificates), "")) {
        StaticModels.register(models, self);
      }
    }
    pod.open();
    return new PodProcess.Announcement(
        pod.id(), pod.address(), host + ":" + pod.restPort(), host + ":" + pod.metricsPort());
  }

  /** Waits for the runtime beside the pod, if there is to be one; it says what the pod can hold. */
  private static PodConfig beside(
      Settings settings, Teardown teardown, List<ModelRuntime> runtimes) {
    PodConfig config = settings.section("pod", PodConfig.class);
    SidecarConfig sidecar = settings.section("sidecar", SidecarConfig.class);
    if (!sidecar.configured()) {
      return config;
    }
    SidecarRuntime runtime;
    try (StartProbe probe = new StartProbe(config.host(), config.probePort())) {
      runtime = teardown.add("sidecar", SidecarRuntime.connect(sidecar));
    } catch (IllegalStateException e) {
      throw new CommandException(
          String.valueOf(e.getMessage()),
          "check the runtime's own log, and sidecar.address or INTERNAL_GRPC_PORT",
          e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CommandException("interrupted while waiting for the runtime", "try again", e);
    }
    runtimes.add(runtime);
    PodConfigBuilder said = config.toBuilder();
    if (runtime.capacityBytes() > 0) {
      said.capacity(Memory.ram(runtime.capacityBytes()));
    }
    if (runtime.loadingConcurrency() > 0) {
      said.loadingConcurrency(runtime.loadingConcurrency());
    }
    return said.build();
  }

  /** Credentials rotate while a pod runs, and what they kept from loading is tried again. */
  private static void watchStorages(
      Settings settings,
      PullerConfig config,
      ModelPuller puller,
      ServingPod pod,
      Teardown teardown) {
    String directory = settings.text("puller.storageDirectory");
    if (directory.isEmpty()) {
      return;
    }
    Map<String, StorageConfig> named =
        settings
            .without("puller", "storageDirectory")
            .section("puller", PullerConfig.class)
            .storages();
    teardown.add(
        "storage watch",
        new StorageWatch(
            Path.of(directory),
            named,
            config.storages(),
            storages -> {
              puller.useStorages(storages);
              pod.retryFailures();
            }));
  }

  private static @Nullable Certificates certificates(Settings settings, Teardown teardown) {
    Certificates certificates = Certificates.open(settings.section("tls", TlsConfig.class));
    return certificates == null ? null : teardown.add("certificates", certificates);
  }

  /** How pods and controllers call pods; null: in the clear. */
  private static @Nullable SslContext toPods(@Nullable Certificates certificates) {
    return certificates != null && certificates.config().serves() ? certificates.pods() : null;
  }

  private static PodTls tls(PodConfig config, @Nullable Certificates certificates) {
    Certificates own = certificates != null && certificates.config().serves() ? certificates : null;
    SSLContext metrics = null;
    if (config.metrics().https()) {
      metrics = own == null ? SelfSigned.context(config.id()) : own.pages();
    }
    return new PodTls(own == null ? null : own.mesh(), metrics);
  }

  private static Registry constrained(Settings settings, Registry registry, Teardown teardown) {
    TypeConstraints constraints =
        TypeConstraints.of(
            settings.text("registration.typeConstraints"),
            settings.text("registration.typeConstraintsFile"));
    return constraints == null
        ? registry
        : new ConstrainedRegistry(registry, teardown.add("type constraints", constraints));
  }

  static Controller controller(Settings given, Registry plain, Teardown teardown) {
    Settings settings = filledIn(given);
    Registry registry = constrained(settings, plain, teardown);
    try {
      return teardown.add(
          "controller",
          Controller.start(
              settings.section("controller", ControllerConfig.class),
              registry,
              new Planner(settings.section("planner", Planner.Config.class), new Placer()),
              System::currentTimeMillis,
              toPods(certificates(settings, teardown))));
    } catch (IOException e) {
      throw new CommandException(
          String.valueOf(e.getMessage()),
          "free that port or set the key to another; 0 for none",
          e);
    }
  }

  /** One bridge for each stream, all over one client of the mesh. */
  static List<BridgeServer> bridge(Settings given, Teardown teardown) {
    Settings settings = filledIn(given);
    List<StreamConfig> streams = settings.list("streams", StreamConfig.class);
    if (streams.isEmpty()) {
      throw new CommandException(
          "streams is empty", "declare at least one stream; docs/configuration.md has an example");
    }
    requireKafka(settings, "bridge");
    BridgeConfig config = settings.section("bridge", BridgeConfig.class);
    requireAnswer(config);
    orlop.bridge.MeshClient mesh =
        teardown.add("mesh client", client(config, certificates(settings, teardown)));
    List<BridgeServer> servers = new ArrayList<>();
    for (StreamConfig stream : streams) {
      servers.add(
          teardown.add(
              "stream " + stream.name(),
              BridgeServer.start(config, stream, mesh),
              config.drainTimeoutMs() + KAFKA_CLOSE_MS));
    }
    return servers;
  }

  /** Names are checked unless the bridge goes as one of the mesh, by a pod's certificate alone. */
  private static orlop.bridge.MeshClient client(
      BridgeConfig config, @Nullable Certificates certificates) {
    SslContext fromOutside = certificates == null ? null : certificates.client();
    SslContext tls = fromOutside == null ? toPods(certificates) : fromOutside;
    return certificates == null || tls == null
        ? orlop.bridge.MeshClient.connect(config.meshAddresses())
        : orlop.bridge.MeshClient.connect(
            config.meshAddresses(), tls, certificates.config().serverName());
  }

  static DriftServer drift(Settings given, Teardown teardown) {
    Settings settings = filledIn(given);
    requireKafka(settings, "drift");
    DriftServer drift =
        teardown.add(
            "drift", new DriftServer(settings.section("drift", DriftConfig.class)), KAFKA_CLOSE_MS);
    try {
      drift.start();
    } catch (IllegalStateException e) {
      throw new CommandException(
          "no Kafka broker answers on %s within %s ms"
              .formatted(
                  settings.text("drift.bootstrapServers"), settings.text("drift.startTimeoutMs")),
          "check kafka.bootstrapServers and the broker",
          e);
    }
    return drift;
  }

  private static void requireKafka(Settings settings, String section) {
    if (settings.text(section + ".bootstrapServers").isEmpty()) {
      throw new CommandException(
          "no Kafka broker is named", "set kafka.bootstrapServers to host:port");
    }
  }

  /** A bridge waits for a broker that went away; one that was never there is a wrong address. */
  private static void requireAnswer(BridgeConfig config) {
    Map<String, Object> properties = new HashMap<>(config.kafkaProperties());
    properties.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, config.bootstrapServers());
    properties.put(AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, KAFKA_ANSWER_MS);
    properties.put(AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, KAFKA_ANSWER_MS);
    try (Admin admin = Admin.create(properties)) {
      var unused = admin.describeCluster().nodes().get(2L * KAFKA_ANSWER_MS, TimeUnit.MILLISECONDS);
    } catch (KafkaException | ExecutionException | TimeoutException e) {
      throw new CommandException(
          "no Kafka broker answers on %s within %d ms"
              .formatted(config.bootstrapServers(), KAFKA_ANSWER_MS),
          "check kafka.bootstrapServers, bridge.kafkaProperties and the broker",
          e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CommandException("interrupted while waiting for a Kafka broker", "try again", e);
    }
  }

  static PullerConfig puller(Settings settings) throws IOException {
    PullerConfig config =
        settings.without("puller", "storageDirectory").section("puller", PullerConfig.class);
    String directory = settings.text("puller.storageDirectory");
    if (directory.isEmpty()) {
      return config;
    }
    return config.withStorages(StorageWatch.read(Path.of(directory), config.storages()));
  }

  private static PayloadLog payloads(Settings settings, @Nullable Certificates certificates) {
    PayloadLogConfig config = settings.section("payload", PayloadLogConfig.class);
    PayloadProcessors processors =
        PayloadProcessors.start(
            settings.section("processors", ProcessorsConfig.class),
            certificates == null ? null : certificates.processors());
    return config.enabled()
        ? PayloadLog.start(config, KafkaSink.open(config), processors)
        : PayloadLog.disabled(processors);
  }

  /** What an empty or zero value stands for, now that the machine is known. */
  static Settings filledIn(Settings settings) {
    List<String> filled = new ArrayList<>();
    String kafka = settings.text("kafka.bootstrapServers");
    for (String section : List.of("payload", "drift", "bridge")) {
      fill(settings, filled, section + ".bootstrapServers", kafka);
    }
    String id = settings.text("pod.id").isEmpty() ? uniqueName() : settings.text("pod.id");
    fill(settings, filled, "pod.id", id);
    fill(settings, filled, "payload.source", "/orlop/" + id);
    fill(settings, filled, "controller.id", id);
    fill(settings, filled, "pod.version", Main.Version.number());
    Runtime machine = Runtime.getRuntime();
    if (settings.text("pod.computeThreads").equals("0")) {
      filled.add("pod.computeThreads=" + machine.availableProcessors());
    }
    if (settings.text("pod.eventLoops").equals("0")) {
      filled.add("pod.eventLoops=" + Math.clamp(machine.availableProcessors() / 2, 1, 64));
    }
    if (settings.text("pod.maxInFlightBytes").equals("0")) {
      filled.add("pod.maxInFlightBytes=" + Math.max(64L << 20, machine.maxMemory() / 4));
    }
    return settings.with(filled);
  }

  private static void fill(Settings settings, List<String> filled, String key, String value) {
    if (settings.text(key).isEmpty() && !value.isEmpty()) {
      filled.add(key + "='" + value + "'");
    }
  }

  /** Host and a random tail: a pod that starts again is another pod. */
  private static String uniqueName() {
    try {
      return uniqueName(InetAddress.getLocalHost().getHostName());
    } catch (UnknownHostException e) {
      return uniqueName("pod");
    }
  }

  static String uniqueName(String place) {
    byte[] tail = new byte[4];
    ThreadLocalRandom.current().nextBytes(tail);
    return place + "-" + HexFormat.of().formatHex(tail);
  }
}
