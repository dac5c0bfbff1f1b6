package orlop.blackbox;

import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import mmesh.GetStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelMeshGrpc;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;

/** One {@code deploy/bin/orlop-pod}, which nothing but its environment configures. */
final class PodUnderTest implements AutoCloseable {
  /** Stands in an environment for {@code --set}, where ModelMesh has no variable. */
  static final String SET = "--set";

  private static final int MAX_MESSAGE_BYTES = 64 << 20;

  private final Process process;
  private final Path log;
  private final int grpcPort;
  private final int probePort;
  private final int metricsPort;
  private final ManagedChannel channel;

  /** Starts it without waiting for anything. */
  PodUnderTest(Path dir, Map<String, String> environment) throws IOException {
    log = Files.createFile(dir.resolve("log"));
    grpcPort = Integer.parseInt(environment.getOrDefault("MM_SVC_GRPC_PORT", "0"));
    probePort = Integer.parseInt(environment.getOrDefault("MM_PROBE_PORT", "0"));
    metricsPort =
        Integer.parseInt(
            environment.getOrDefault("MM_METRICS", "0").replaceFirst(".*port=(\\d+).*", "$1"));
    // ModelMesh has no variable for the two: pods of one machine would meet at port 8008.
    ProcessBuilder builder =
        new ProcessBuilder(
                List.of(
                    Path.of("bin", "orlop-pod").toAbsolutePath().toString(),
                    "--set",
                    "pod.restPort=0",
                    "--set",
                    "puller.cacheDirectory=" + dir.resolve("cache")))
            .directory(dir.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    List<String> command = new ArrayList<>(builder.command());
    Map<String, String> variables = new HashMap<>(environment);
    String set = variables.remove(SET);
    if (set != null) {
      command.addAll(List.of(SET, set));
    }
    builder.command(command);
    builder
        .environment()
        .keySet()
        .removeIf(name -> name.startsWith("MM_") || name.startsWith("INTERNAL_"));
    builder.environment().put("ORLOP_CLASSPATH", System.getProperty("java.class.path"));
    builder.environment().put("ORLOP_CACHE", "");
    builder.environment().put("ORLOP_JAVA_OPTS", "-XX:TieredStopAtLevel=1 -Xmx256m");
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    builder.environment().putAll(variables);
    process = builder.start();
    channel =
        NettyChannelBuilder.forAddress("127.0.0.1", grpcPort)
            .usePlaintext()
            .disableRetry()
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .build();
  }

  int grpcPort() {
    return grpcPort;
  }

  int metricsPort() {
    return metricsPort;
  }

  int probePort() {
    return probePort;
  }

  long pid() {
    return process.pid();
  }

  boolean alive() {
    return process.isAlive();
  }

  /** All that it has written, to either stream. */
  String log() throws IOException {
    return Files.readString(log);
  }

  /** Whether its readiness probe says so. */
  boolean ready() {
    return probe("/ready") == 200;
  }

  /** The status that a probe gets; 0 when nobody listens. */
  int probe(String path) {
    try {
      return get(probePort, path).statusCode();
    } catch (IOException e) {
      return 0;
    }
  }

  /** What Prometheus would see. */
  String metrics() throws IOException {
    return get(metricsPort, "/metrics").body();
  }

  private static HttpResponse<String> get(int port, String path) throws IOException {
    try (HttpClient http = HttpClient.newHttpClient()) {
      return http.send(
          HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path))
              .timeout(Duration.ofSeconds(5))
              .build(),
          HttpResponse.BodyHandlers.ofString());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException(e);
    }
  }

  /** Waits until it is ready; fails with its log when it ends or takes too long. */
  PodUnderTest awaitReady() throws IOException {
    try {
      Stage.await("the pod to be ready", () -> !process.isAlive() || ready());
    } catch (AssertionError e) {
      throw new AssertionError(e.getMessage() + "\n" + log(), e);
    }
    if (!process.isAlive()) {
      throw new AssertionError("the pod ended with " + process.exitValue() + "\n" + log());
    }
    return this;
  }

  /** Waits for its end and gives its exit status. */
  int exitStatus(int timeoutSeconds) throws IOException, InterruptedException {
    if (!process.waitFor(timeoutSeconds, TimeUnit.SECONDS)) {
      throw new AssertionError("still runs after " + timeoutSeconds + " s\n" + log());
    }
    return process.exitValue();
  }

  /** SIGTERM. */
  void terminate() {
    process.destroy();
  }

  /** SIGKILL, and waits until it is gone. */
  void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** The gRPC port, for any call, with these headers on each. */
  Channel channel(String... headers) {
    Metadata metadata = new Metadata();
    for (int i = 0; i < headers.length; i += 2) {
      metadata.put(Metadata.Key.of(headers[i], Metadata.ASCII_STRING_MARSHALLER), headers[i + 1]);
    }
    return ClientInterceptors.intercept(
        channel, MetadataUtils.newAttachHeadersInterceptor(metadata));
  }

  /** The management interface. */
  ModelMeshGrpc.ModelMeshBlockingStub mesh() {
    return ModelMeshGrpc.newBlockingStub(channel)
        .withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS);
  }

  /** V2 with these headers on each call. */
  GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub inference(String... headers) {
    return GRPCInferenceServiceGrpc.newBlockingStub(channel(headers))
        .withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS);
  }

  /** Registers a model of the test runtime; {@code path} says how it behaves. */
  ModelStatusInfo register(String id, String path, boolean loadNow) {
    return mesh()
        .registerModel(
            RegisterModelRequest.newBuilder()
                .setModelId(id)
                .setModelInfo(ModelInfo.newBuilder().setType("test").setPath(path))
                .setLoadNow(loadNow)
                .setSync(loadNow)
                .build());
  }

  ModelStatusInfo status(String id) {
    return mesh().getModelStatus(GetStatusRequest.newBuilder().setModelId(id).build());
  }

  /** Waits until the mesh knows the model so. */
  void awaitStatus(String id, ModelStatusInfo.ModelStatus wanted) {
    Stage.await(
        "model '" + id + "' to be " + wanted,
        () -> {
          try {
            return status(id).getStatus() == wanted;
          } catch (StatusRuntimeException e) {
            return false;
          }
        });
  }

  /** Waits until this pod knows that the model is registered. */
  void awaitKnown(String id) {
    Stage.await(
        "model '" + id + "' to be known",
        () -> status(id).getStatus() != ModelStatusInfo.ModelStatus.NOT_FOUND);
  }

  static ModelInferRequest request(String model) {
    return ModelInferRequest.newBuilder().setModelName(model).setId("r").build();
  }

  @Override
  public void close() {
    channel.shutdownNow();
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
  }
}
