package orlop.deploy;

import inference.ModelInferRequest;
import inference.ModelMetadataRequest;
import inference.ServerReadyRequest;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import mmesh.DeleteVModelRequest;
import mmesh.GetStatusRequest;
import mmesh.ModelInfo;
import mmesh.RegisterModelRequest;
import mmesh.SetVModelRequest;
import mmesh.UnregisterModelRequest;
import org.jspecify.annotations.Nullable;
import orlop.api.UnloadRequest;
import orlop.registry.EtcdProcess;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;
import orlop.runtime.Sample;
import orlop.runtime.TreeRuntime;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * {@code orlop warm}: runs a pod under traffic of every kind and lets the Java machine write down
 * what it loaded and which code was hot; later starts of the same build begin there.
 */
@Command(
    name = "warm",
    mixinStandardHelpOptions = true,
    description = {
      "Make pods of this build start faster and serve their first calls faster.",
      "Runs a pod for some seconds and keeps what was learned beside the build, about 90 MB."
    })
final class WarmCommand implements Callable<Integer> {
  /** What is written, and what the launcher looks for. */
  static final String CACHE = "pod.aot";

  static final String NATIVES = "natives";

  private static final int DUMP_TIMEOUT_S = 180;
  private static final int CALL_TIMEOUT_S = 60;
  private static final int MODELS = 12;
  private static final String BUCKET = "warm";

  @Option(
      names = "--into",
      paramLabel = "DIR",
      hidden = true,
      description = "Where the launcher keeps this build.")
  @Nullable Path into;

  @Option(
      names = "--seconds",
      paramLabel = "N",
      defaultValue = "6",
      description = "Of traffic. Default: ${DEFAULT-VALUE}.")
  int seconds = 6;

  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
  private CommandSpec spec;

  @Override
  public Integer call() throws IOException, InterruptedException {
    if (into == null) {
      throw new CommandException("warm was not started through the launcher", "run ./orlop warm");
    }
    if (seconds < 1 || seconds > 600) {
      throw new CommandException("--seconds is " + seconds, "give a number from 1 to 600");
    }
    long startNs = System.nanoTime();
    Path natives = into.resolve(NATIVES);
    OnnxRuntime.unpackNatives(natives);
    Path dir = Files.createTempDirectory("orlop-warm");
    try {
      Path written = dir.resolve(CACHE);
      train(dir, written, natives);
      if (!Files.exists(written)) {
        throw new CommandException(
            "the Java machine wrote no cache", "see whether " + dir.getRoot() + " is full");
      }
      Path target = into.resolve(CACHE);
      Path beside =
          Files.copy(written, into.resolve(CACHE + ".new"), StandardCopyOption.REPLACE_EXISTING);
      Files.move(beside, target, StandardCopyOption.ATOMIC_MOVE);
      PrintWriter out = spec.commandLine().getOut();
      out.printf(
          "warm: %d MB in %s after %d s%n",
          Files.size(target) >> 20, target, (System.nanoTime() - startNs) / 1_000_000_000);
      out.flush();
      return 0;
    } finally {
      delete(dir);
    }
  }

  /** Two pods where there is an etcd, so that calls are forwarded, else one. */
  private void train(Path dir, Path cache, Path natives) throws IOException, InterruptedException {
    try (Teardown teardown = new Teardown()) {
      List<String> overrides = new ArrayList<>();
      for (String port : List.of("grpcPort", "restPort", "probePort", "metricsPort")) {
        overrides.add("pod." + port + "=0");
      }
      overrides.add("pod.host=127.0.0.1");
      overrides.add("pod.handOverTimeoutMs=0");
      overrides.add("pod.drainTimeoutMs=1000");
      boolean mesh = EtcdProcess.find().isPresent();
      if (mesh) {
        EtcdProcess etcd = teardown.add("etcd", EtcdProcess.start(dir.resolve("etcd")));
        overrides.add("registry.kind=etcd");
        overrides.add("registry.endpoints=['" + etcd.endpoint() + "']");
      }
      EmbeddedS3 s3 =
          teardown.add("s3", EmbeddedS3.start(dir.resolve("s3"), "warm", "warm-secret"));
      overrides.add(
          "puller.storages={default_s3: {type: s3, parameters: {endpoint_url: '%s', region: us-east-1, access_key_id: %s, secret_access_key: %s}}}"
              .formatted(s3.endpoint(), s3.accessKey(), s3.secretKey()));
      Settings settings = Settings.read(null, overrides);
      List<Sample> samples = samples();
      List<PodProcess> pods = new ArrayList<>();
      pods.add(pod(dir, "trained", settings, natives, "-XX:AOTCacheOutput=" + cache));
      try {
        if (mesh) {
          pods.add(teardown.add("beside", pod(dir, "beside", settings, natives, "-Xmx256m")));
        }
        put(samples, s3, dir);
        play(samples, pods);
      } finally {
        // The cache is written when it ends, by another Java machine.
        pods.getFirst().stop(DUMP_TIMEOUT_S);
      }
    }
  }

  private static PodProcess pod(
      Path dir, String name, Settings settings, Path natives, String option) throws IOException {
    return PodProcess.start(
        dir,
        name,
        settings.with(List.of("puller.cacheDirectory=" + dir.resolve(name + "-cache"))),
        List.of("-Donnxruntime.native.path=" + natives, option));
  }

  private static List<Sample> samples() {
    try (OnnxRuntime onnx = new OnnxRuntime(RuntimeConfig.defaults());
        TreeRuntime trees = new TreeRuntime()) {
      return Stream.of(onnx, trees).flatMap(runtime -> runtime.sample().stream()).toList();
    }
  }

  private static String location(Sample sample) {
    return sample.modelType() + "/model." + (sample.modelType().equals("onnx") ? "onnx" : "json");
  }

  private static void put(List<Sample> samples, EmbeddedS3 s3, Path dir) throws IOException {
    for (Sample sample : samples) {
      Path file = Files.write(dir.resolve("sample"), sample.file().toByteArray());
      s3.put(BUCKET, location(sample), file);
    }
  }

  /** Everything that a user of a mesh does, over and over until the time is over. */
  private void play(List<Sample> samples, List<PodProcess> pods)
      throws IOException, InterruptedException {
    long endNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
    List<MeshClient> clients =
        pods.stream().map(pod -> new MeshClient(pod.announced().grpc(), CALL_TIMEOUT_S)).toList();
    HttpClient http = HttpClient.newHttpClient();
    try {
      for (int i = 0; i < MODELS; i++) {
        register(clients.getFirst(), samples.get(i % samples.size()), "model-" + i);
      }
      for (int round = 0; round == 0 || System.nanoTime() < endNs; round++) {
        for (int i = 0; i < MODELS; i++) {
          for (MeshClient client : clients) {
            infer(client, samples.get(i % samples.size()), "model-" + i);
          }
        }
        if (round % 5 == 0) {
          overHttp(http, pods.getFirst().announced(), samples.getFirst(), "model-0");
        }
        if (round % 20 == 0) {
          manage(clients.getFirst(), samples.get(round / 20 % samples.size()), "passing-" + round);
        }
      }
    } catch (StatusRuntimeException e) {
      throw clients.getFirst().explain(e);
    } finally {
      http.close();
      clients.forEach(MeshClient::close);
    }
  }

  private static void register(MeshClient client, Sample sample, String id) {
    var unused =
        client
            .management()
            .registerModel(
                RegisterModelRequest.newBuilder()
                    .setModelId(id)
                    .setModelInfo(
                        ModelInfo.newBuilder()
                            .setType(sample.modelType())
                            .setPath("s3://" + BUCKET + "/" + location(sample)))
                    .build());
  }

  private static void infer(MeshClient client, Sample sample, String id) {
    for (ModelInferRequest request : List.of(sample.raw(), sample.typed())) {
      var unused = client.inference().modelInfer(request.toBuilder().setModelName(id).build());
    }
  }

  /** The life of one model: from its registration by way of an alias to its end. */
  private static void manage(MeshClient client, Sample sample, String id) {
    register(client, sample, id);
    String alias = "alias-of-" + id;
    var set =
        client
            .management()
            .setVModel(
                SetVModelRequest.newBuilder().setVModelId(alias).setTargetModelId(id).build());
    infer(client, sample, alias);
    var unused =
        List.of(
            set,
            client.inference().modelMetadata(ModelMetadataRequest.newBuilder().setName(id).build()),
            client.inference().serverReady(ServerReadyRequest.getDefaultInstance()),
            client
                .management()
                .getModelStatus(GetStatusRequest.newBuilder().setModelId(id).build()),
            client.pod().unload(UnloadRequest.newBuilder().setModelId(id).build()),
            client
                .management()
                .deleteVModel(DeleteVModelRequest.newBuilder().setVModelId(alias).build()),
            client
                .management()
                .unregisterModel(UnregisterModelRequest.newBuilder().setModelId(id).build()));
  }

  private static void overHttp(
      HttpClient http, PodProcess.Announcement pod, Sample sample, String id)
      throws IOException, InterruptedException {
    String rest = "http://" + pod.rest();
    String row = zeros(sample);
    String input = sample.raw().getInputs(0).getName();
    ask(http, "http://" + pod.metrics() + "/metrics", "");
    ask(http, rest + "/v2/health/ready", "");
    ask(http, rest + "/v2/models/" + id, "");
    ask(
        http,
        rest + "/v2/models/" + id + "/infer",
        "{\"inputs\":[{\"name\":\"%s\",\"datatype\":\"FP32\",\"shape\":[1,%d],\"data\":%s}]}"
            .formatted(input, sample.raw().getInputs(0).getShape(1), row));
    ask(http, rest + "/v1/models/" + id + ":predict", "{\"instances\":[" + row + "]}");
  }

  private static String zeros(Sample sample) {
    int columns = (int) sample.raw().getInputs(0).getShape(1);
    return "[" + "0,".repeat(columns - 1) + "0]";
  }

  /** Posts what is not empty, else gets. */
  private static void ask(HttpClient http, String address, String body)
      throws IOException, InterruptedException {
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(address));
    if (!body.isEmpty()) {
      request.POST(HttpRequest.BodyPublishers.ofString(body));
    }
    HttpResponse<String> answer = http.send(request.build(), HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 200) {
      throw new IOException(
          address + " answered " + answer.statusCode() + " " + answer.body() + ", expected 200");
    }
  }

  private static void delete(Path dir) throws IOException {
    try (Stream<Path> files = Files.walk(dir)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }
}
