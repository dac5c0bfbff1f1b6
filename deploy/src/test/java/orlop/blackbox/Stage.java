package orlop.blackbox;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Assertions;
import orlop.api.TcpProxy;
import orlop.registry.EtcdProcess;

/**
 * The processes of one or more scenarios: an etcd, runtimes and pods, on free ports. All end with
 * it. Pods of the same service are one mesh; scenarios that must not meet name different ones.
 */
final class Stage implements AutoCloseable {
  /** How long a busy machine may take for anything. */
  static final int PATIENCE_S = 60;

  private static final Set<Integer> GIVEN = ConcurrentHashMap.newKeySet();

  private final Path dir;
  private final EtcdProcess etcd;
  private final Deque<AutoCloseable> open = new ArrayDeque<>();
  private int count;

  Stage(Path dir) throws IOException {
    this.dir = dir;
    etcd = EtcdProcess.start(dir.resolve("etcd"));
  }

  EtcdProcess etcd() {
    return etcd;
  }

  Path dir() {
    return dir;
  }

  /** Starts a runtime; see {@link RuntimeOptions}. */
  RuntimeProcess runtime(String... options) throws IOException {
    RuntimeProcess runtime =
        new RuntimeProcess(dir.resolve("runtime-" + count++ + ".log"), freePort(), options);
    open.push(runtime);
    return runtime;
  }

  /**
   * What ModelMesh's controller would set for a pod of that service, with free ports; to be changed
   * and handed to {@link #start}.
   */
  Map<String, String> environment(String service) throws IOException {
    Map<String, String> environment = new LinkedHashMap<>();
    environment.put("KV_STORE", "etcd:" + etcd.endpoint());
    environment.put("MM_KVSTORE_PREFIX", "mm");
    environment.put("MM_SERVICE_NAME", service);
    environment.put("MM_SVC_GRPC_PORT", String.valueOf(freePort()));
    environment.put("MM_PROBE_PORT", String.valueOf(freePort()));
    environment.put("MM_METRICS", "prometheus:port=" + freePort() + ";scheme=http");
    environment.put("SHUTDOWN_TIMEOUT_MS", "2000");
    return environment;
  }

  /** A pod beside that runtime, ready. Further variables come in pairs. */
  PodUnderTest pod(String service, RuntimeProcess runtime, String... more) throws IOException {
    Map<String, String> environment = environment(service);
    environment.put("INTERNAL_GRPC_PORT", String.valueOf(runtime.port()));
    for (int i = 0; i < more.length; i += 2) {
      environment.put(more[i], more[i + 1]);
    }
    return start(environment).awaitReady();
  }

  /** A pod with this environment, not waited for. */
  PodUnderTest start(Map<String, String> environment) throws IOException {
    PodUnderTest pod =
        new PodUnderTest(Files.createDirectory(dir.resolve("pod-" + count++)), environment);
    open.push(pod);
    return pod;
  }

  /** The network to etcd, which the test may cut; to be named in {@code KV_STORE}. */
  TcpProxy cable() throws IOException {
    TcpProxy cable = new TcpProxy(URI.create(etcd.endpoint()).getPort());
    open.push(cable);
    return cable;
  }

  /** As an operator does by {@code etcdctl put}. */
  void put(String key, String value) throws IOException {
    var unused =
        ask("put", "{\"key\":\"%s\",\"value\":\"%s\"}".formatted(base64(key), base64(value)));
  }

  /** What of etcd's keys stands behind that beginning. */
  List<String> keys(String beginning) throws IOException {
    String behind = beginning.substring(0, beginning.length() - 1);
    behind += (char) (beginning.charAt(beginning.length() - 1) + 1);
    JsonNode answer =
        ask(
            "range",
            "{\"key\":\"%s\",\"range_end\":\"%s\",\"keys_only\":true}"
                .formatted(base64(beginning), base64(behind)));
    List<String> keys = new ArrayList<>();
    for (JsonNode pair : answer.path("kvs")) {
      byte[] key = Base64.getDecoder().decode(pair.path("key").asText());
      keys.add(new String(key, StandardCharsets.UTF_8).substring(beginning.length()));
    }
    return keys;
  }

  private JsonNode ask(String what, String body) throws IOException {
    try (HttpClient http = HttpClient.newHttpClient()) {
      HttpResponse<String> answer =
          http.send(
              HttpRequest.newBuilder(URI.create(etcd.endpoint() + "/v3/kv/" + what))
                  .timeout(Duration.ofSeconds(PATIENCE_S))
                  .POST(HttpRequest.BodyPublishers.ofString(body))
                  .build(),
              HttpResponse.BodyHandlers.ofString());
      Assertions.assertEquals(200, answer.statusCode(), answer.body());
      return new ObjectMapper().readTree(answer.body());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException(e);
    }
  }

  private static String base64(String text) {
    return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }

  /**
   * A port that nobody listens on and that was not given before, below those that the system gives
   * to whoever connects: one of these could be taken before the process that is to listen there has
   * started.
   */
  static int freePort() throws IOException {
    IOException last = null;
    for (int attempt = 0; attempt < 100; attempt++) {
      int port = ThreadLocalRandom.current().nextInt(10_000, 32_000);
      if (!GIVEN.add(port)) {
        continue;
      }
      try (ServerSocket socket = new ServerSocket(port)) {
        return socket.getLocalPort();
      } catch (IOException e) {
        last = e;
      }
    }
    throw new IOException("no port is free", last);
  }

  static void await(String what, BooleanSupplier condition) {
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() - deadlineNs > 0) {
        Assertions.fail("waited %d s in vain for %s".formatted(PATIENCE_S, what));
      }
      LockSupport.parkNanos(20_000_000);
    }
  }

  @Override
  public void close() throws Exception {
    while (!open.isEmpty()) {
      open.pop().close();
    }
    etcd.close();
  }
}
