package orlop.deploy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import orlop.bridge.BridgeServer;
import orlop.drift.DriftServer;
import orlop.placement.Copy;
import orlop.placement.MeshView;
import orlop.registry.EtcdProcess;
import orlop.registry.LocalRegistry;
import orlop.registry.Registry;
import orlop.registry.RegistryException;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;

/**
 * The whole system of the demo on one machine: etcd, a Kafka broker, an S3 server, pods in
 * processes of their own, controller, bridge and drift detection in this one. Without an etcd
 * program the pods live in this process too and share the registry inside it. Used by the demo's
 * thread alone.
 */
final class DemoMesh {
  static final String BUCKET = "models";
  private static final String ACCESS_KEY = "demo-access";
  private static final String SECRET_KEY = "demo-secret";

  private final Teardown teardown;
  private final Path dir;
  private final Settings settings;
  private final @Nullable EtcdProcess etcd;
  private final EmbeddedKafka kafka;
  private final EmbeddedS3 s3;
  private final Registry registry;
  private final Map<String, PodProcess> processes = new TreeMap<>();
  private final Map<String, PodProcess.Announcement> pods = new TreeMap<>();
  private int started;

  private DemoMesh(
      Teardown teardown,
      Path dir,
      Settings settings,
      @Nullable EtcdProcess etcd,
      EmbeddedKafka kafka,
      EmbeddedS3 s3,
      Registry registry) {
    this.teardown = teardown;
    this.dir = dir;
    this.settings = settings;
    this.etcd = etcd;
    this.kafka = kafka;
    this.s3 = s3;
    this.registry = registry;
  }

  /** Starts the stores that the mesh stands on, not yet any pod. */
  static DemoMesh start(Teardown teardown, Path dir, boolean withEtcd)
      throws IOException, RegistryException {
    EtcdProcess etcd =
        withEtcd
            ? teardown.add("etcd", EtcdProcess.start(Files.createDirectories(dir.resolve("etcd"))))
            : null;
    EmbeddedKafka kafka = teardown.add("kafka", EmbeddedKafka.start(dir.resolve("kafka")));
    EmbeddedS3 s3 = teardown.add("s3", EmbeddedS3.start(dir.resolve("s3"), ACCESS_KEY, SECRET_KEY));
    List<String> overrides = new ArrayList<>();
    overrides.add("kafka.bootstrapServers=" + kafka.bootstrap());
    overrides.add("registry.leaseTtlMs=4000");
    overrides.add("payload.enabled=true");
    overrides.add("pod.host=127.0.0.1");
    for (String port : List.of("grpcPort", "restPort", "probePort", "metricsPort")) {
      overrides.add("pod." + port + "=0");
    }
    overrides.add(
        "puller.storages={default_s3: {type: s3, parameters: {endpoint_url: '%s', region: us-east-1, access_key_id: %s, secret_access_key: %s}}}"
            .formatted(s3.endpoint(), ACCESS_KEY, SECRET_KEY));
    if (etcd != null) {
      overrides.add("registry.kind=etcd");
      overrides.add("registry.endpoints=['" + etcd.endpoint() + "']");
    }
    Settings settings = Settings.read(null, overrides);
    Registry registry =
        teardown.add("registry", etcd == null ? new LocalRegistry() : Roles.registry(settings));
    return new DemoMesh(teardown, dir, settings, etcd, kafka, s3, registry);
  }

  static Optional<Path> etcdProgram() {
    return EtcdProcess.find();
  }

  boolean inOneProcess() {
    return etcd == null;
  }

  /** Starts one more pod and returns when it is ready. */
  PodProcess.Announcement addPod(long capacityBytes) throws IOException, RegistryException {
    String name = "pod-" + ++started;
    Settings own =
        settings.with(
            List.of(
                "pod.id=" + name,
                "pod.capacity.ramBytes=" + capacityBytes,
                "pod.handOverTimeoutMs=0",
                // For a life of minutes without a hurried first caller.
                "pod.warmUpMs=0",
                "puller.cacheDirectory=" + dir.resolve(name + "-cache"),
                "payload.source=/orlop/demo/" + name));
    PodProcess.Announcement announced;
    if (inOneProcess()) {
      announced = Roles.pod(own, registry, teardown);
    } else {
      PodProcess process = teardown.add(name, PodProcess.start(dir, name, own, PodProcess.BRIEF));
      processes.put(name, process);
      announced = process.announced();
    }
    pods.put(name, announced);
    return announced;
  }

  /** kill -9. */
  void kill(String podId) {
    PodProcess process = processes.remove(podId);
    if (process == null) {
      throw new IllegalStateException("pod " + podId + " has no process of its own");
    }
    process.kill();
    pods.remove(podId);
  }

  /** Starts controller and bridge; {@link #startDrift} comes later, when the topic exists. */
  BridgeServer startBridge() throws IOException {
    Roles.controller(settings, registry, teardown);
    Settings own =
        settings.with(
            List.of(
                "bridge.meshAddresses=" + addresses(),
                "streams=[{name: demo, inputTopic: %s, outputTopic: %s, deadLetterTopic: %s}]"
                    .formatted(DemoKafka.INPUT, DemoKafka.OUTPUT, DemoKafka.DEAD_LETTERS)));
    return Roles.bridge(own, teardown).getFirst();
  }

  DriftServer startDrift(int baselineRows) {
    return Roles.drift(
        settings.with(
            List.of(
                "drift.baselineRows=" + baselineRows,
                "drift.stateDirectory=" + dir.resolve("drift"))),
        teardown);
  }

  /** What the models will take once loaded, by the runtime's own estimate. */
  static long memoryBytes(List<DemoModel> models) throws IOException {
    long sum = 0;
    try (OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults())) {
      for (DemoModel model : models) {
        sum += runtime.predictSizeBytes(model.file());
      }
    }
    return sum;
  }

  void upload(List<DemoModel> models) throws IOException {
    for (DemoModel model : models) {
      s3.put(BUCKET, model.id() + "/model.onnx", model.file());
    }
  }

  List<String> addresses() {
    return pods.values().stream().map(PodProcess.Announcement::grpc).toList();
  }

  Map<String, PodProcess.Announcement> pods() {
    return Map.copyOf(pods);
  }

  MeshView view() {
    return registry.view();
  }

  /** Models of which that pod holds a loaded copy. */
  Set<String> heldBy(String podId) {
    return view().copiesIn(podId).stream()
        .filter(Copy::isLoaded)
        .map(Copy::modelId)
        .collect(Collectors.toSet());
  }

  String bootstrap() {
    return kafka.bootstrap();
  }

  /** What is running, for a person who wants to look. */
  List<String> inventory() {
    List<String> lines = new ArrayList<>();
    lines.add(etcd == null ? "registry inside this process" : "etcd    " + etcd.endpoint());
    lines.add("Kafka   " + kafka.bootstrap());
    lines.add("S3      " + s3.endpoint() + "  (bucket " + BUCKET + ")");
    pods.forEach(
        (id, pod) ->
            lines.add(
                "%s   gRPC %s  REST http://%s  metrics http://%s/metrics"
                    .formatted(id, pod.grpc(), pod.rest(), pod.metrics())));
    return lines;
  }

  /** Sums of the pods' counters, by metric name without labels. */
  Map<String, Double> metrics() throws IOException {
    Map<String, Double> sums = new HashMap<>();
    for (PodProcess.Announcement pod : pods.values()) {
      Scrape.of("http://" + pod.metrics() + "/metrics")
          .forEach((k, v) -> sums.merge(k, v, Double::sum));
    }
    return sums;
  }
}
