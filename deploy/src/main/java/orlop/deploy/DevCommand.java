package orlop.deploy;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import orlop.controller.Controller;
import orlop.placement.Model;
import orlop.puller.ModelLocation;
import orlop.puller.ModelPuller;
import orlop.puller.PullException;
import orlop.registry.EtcdProcess;
import orlop.registry.Registry;
import orlop.registry.RegistryException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code orlop dev}: a mesh in this process, on the usual ports, to work against. */
@Command(
    name = "dev",
    mixinStandardHelpOptions = true,
    description = {
      "Run a whole mesh in one process to work against: pods, controller, management.",
      "The first pod takes the usual ports (gRPC 8033, REST 8008, probes 8089, metrics 2112)."
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  ./orlop dev --models ./my-models            every model of a folder, in one pod",
      "  ./orlop dev --pods 3 --capacity 64m --etcd  three small pods over a real etcd",
      "  ./orlop dev --kafka                         payload log and drift detection too"
    })
final class DevCommand implements Callable<Integer> {
  @Option(
      names = "--pods",
      defaultValue = "1",
      paramLabel = "N",
      description = "Pods to run, 1 to 16. Default: ${DEFAULT-VALUE}.")
  int pods = 1;

  @Option(
      names = "--capacity",
      paramLabel = "SIZE",
      description = "Memory for models in each pod, for example 64m or 2g. Default: 1g.")
  @Nullable String capacity;

  @Option(names = "--etcd", description = "Keep the registry in an etcd started for it.")
  boolean etcd;

  @Option(
      names = "--kafka",
      arity = "0..1",
      fallbackValue = "embedded",
      paramLabel = "HOST:PORT",
      description = "Log payloads and watch for drift; without a broker's address, start one.")
  @Nullable String kafka;

  @Option(
      names = "--models",
      paramLabel = "DIR|s3://",
      description = "Register each .onnx file and each folder below it under its name.")
  @Nullable String models;

  @Option(names = "--config", paramLabel = "FILE", description = "YAML; the options lie over it.")
  @Nullable Path file;

  @Option(names = "--set", paramLabel = "KEY=VALUE", description = "Overrides one key. Repeatable.")
  List<String> overrides = new ArrayList<>();

  @Option(
      names = "--dir",
      paramLabel = "DIR",
      defaultValue = ".orlop/dev",
      description = "For caches and state. Default: ${DEFAULT-VALUE}.")
  Path dir = Path.of(".orlop/dev");

  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
  private CommandSpec spec;

  @Override
  public Integer call() throws IOException, RegistryException, InterruptedException {
    if (pods < 1 || pods > 16) {
      throw new CommandException("--pods is " + pods, "give a number from 1 to 16");
    }
    PrintWriter out = spec.commandLine().getOut();
    Files.createDirectories(dir);
    try (Teardown teardown = new Teardown()) {
      Settings settings = settings(teardown, out);
      Map<String, String> found = find(settings);
      Registry registry = teardown.add("registry", Roles.registry(settings));
      Controller controller = Roles.controller(settings, registry, teardown);
      for (int i = 0; i < pods; i++) {
        PodProcess.Announcement pod =
            Roles.pod(podSettings(settings, i), registry, teardown, controller::leading);
        out.println("%-8s gRPC %s  REST http://%s".formatted(pod.id(), pod.grpc(), pod.rest()));
      }
      if (kafka != null) {
        Roles.drift(settings, teardown);
        out.println(
            "payloads on topic %s, drift verdicts on topic %s"
                .formatted(settings.text("payload.topic"), settings.text("drift.verdictTopic")));
      }
      register(found, registry, out);
      out.println("running; Ctrl-C ends it. ./orlop help lists what to try next");
      out.flush();
      new CountDownLatch(1).await();
      return 0;
    }
  }

  private Settings settings(Teardown teardown, PrintWriter out) throws IOException {
    List<String> all = new ArrayList<>();
    if (capacity != null) {
      all.add("pod.capacity.ramBytes=" + bytes(capacity));
    }
    all.add("drift.stateDirectory='" + dir.resolve("drift") + "'");
    if (etcd) {
      EtcdProcess process =
          teardown.add("etcd", EtcdProcess.start(Files.createDirectories(dir.resolve("etcd"))));
      all.add("registry.kind=etcd");
      all.add("registry.endpoints=['" + process.endpoint() + "']");
      out.println("etcd     " + process.endpoint());
    }
    String broker = kafka;
    if (broker != null) {
      if (broker.equals("embedded")) {
        broker = teardown.add("kafka", EmbeddedKafka.start(dir.resolve("kafka"))).bootstrap();
      }
      all.add("kafka.bootstrapServers='" + broker + "'");
      all.add("payload.enabled=true");
      out.println("Kafka    " + broker);
    }
    // All of its pods end together: none is left to hand models to.
    all.add("pod.handOverTimeoutMs=0");
    // Its callers share the machine.
    all.add("pod.sharedMemory.enabled=true");
    all.addAll(overrides);
    return Settings.read(file, all);
  }

  private Settings podSettings(Settings settings, int index) {
    List<String> own = new ArrayList<>();
    own.add("pod.id=pod-" + (index + 1));
    own.add("puller.cacheDirectory='" + dir.resolve("cache-" + (index + 1)) + "'");
    if (index > 0) {
      for (String port : List.of("grpcPort", "restPort", "probePort", "metricsPort")) {
        own.add("pod." + port + "=0");
      }
    }
    return settings.with(own);
  }

  private void register(Map<String, String> found, Registry registry, PrintWriter out)
      throws RegistryException {
    for (Map.Entry<String, String> model : found.entrySet()) {
      var unused =
          registry.createModel(
              Model.of(model.getKey(), "onnx", model.getValue(), "", System.currentTimeMillis()));
    }
    if (models != null) {
      out.println("registered %d models from %s".formatted(found.size(), models));
    }
  }

  /** Model id to location. */
  private Map<String, String> find(Settings settings) throws IOException, InterruptedException {
    if (models == null) {
      return Map.of();
    }
    Map<String, String> found = new TreeMap<>();
    boolean remote = models.startsWith("s3://");
    for (String name : remote ? namesInStore(settings, models) : namesInFolder(models)) {
      String id =
          name.endsWith(".onnx") ? name.substring(0, name.length() - ".onnx".length()) : name;
      String root =
          remote
              ? models.replaceAll("/+$", "")
              : "file:" + Path.of(models).toAbsolutePath().normalize();
      found.put(id, root + "/" + name);
    }
    if (found.isEmpty()) {
      throw new CommandException(
          "--models " + models + " holds no .onnx file and no folder", "name a folder of models");
    }
    return found;
  }

  private static List<String> namesInFolder(String models) throws IOException {
    if (!Files.isDirectory(Path.of(models))) {
      throw new CommandException(
          "--models " + models + " is not a folder",
          "name a folder that holds models, or s3://bucket/prefix");
    }
    try (Stream<Path> entries = Files.list(Path.of(models))) {
      return entries
          .filter(entry -> Files.isDirectory(entry) || entry.toString().endsWith(".onnx"))
          .map(entry -> String.valueOf(entry.getFileName()))
          .toList();
    }
  }

  private List<String> namesInStore(Settings settings, String models)
      throws IOException, InterruptedException {
    Settings own = settings.with(List.of("puller.cacheDirectory='" + dir.resolve("cache-0") + "'"));
    try (ModelPuller puller = new ModelPuller(Roles.puller(own))) {
      return puller.children(ModelLocation.parse(models, ""));
    } catch (PullException e) {
      throw new CommandException(
          "--models " + models + ": " + e.getMessage(),
          "check the location and puller.storages",
          e);
    }
  }

  /** {@code 64m} and the like, in bytes. */
  static long bytes(String size) {
    if (!size.matches("\\d{1,9}[kmgKMG]?")) {
      throw new CommandException("size '" + size + "' is not understood", "write 512k, 64m or 2g");
    }
    char unit = Character.toLowerCase(size.charAt(size.length() - 1));
    int shift = unit == 'g' ? 30 : unit == 'm' ? 20 : unit == 'k' ? 10 : 0;
    String digits = shift == 0 ? size : size.substring(0, size.length() - 1);
    return Long.parseLong(digits) << shift;
  }
}
