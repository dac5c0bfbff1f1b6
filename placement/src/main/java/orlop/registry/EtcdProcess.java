package orlop.registry;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * An etcd server as a child process, on free ports of the loopback interface, for development,
 * demonstrations and tests. Its data and log lie in a directory and outlive it. Ends with this
 * process. Thread-safe.
 */
public final class EtcdProcess implements AutoCloseable {
  private static final long HEALTHY_TIMEOUT_MS = 60_000;
  private static final long ORDERLY_END_MS = 5_000;
  private static final Path SETSID = Path.of("/usr/bin/setsid");
  private static final long EXIT_TIMEOUT_MS = 10_000;
  private static final List<Path> USUAL_PLACES =
      List.of(Path.of("/usr/bin/etcd"), Path.of("/usr/local/bin/etcd"));

  private final Path binary;
  private final Path dataDir;
  private final Path log;
  private final int clientPort;
  private final int peerPort;
  private final int healthPort;
  private final @Nullable Tls tls;
  private final Thread hook = new Thread(this::endWithThisProcess, "orlop-etcd-shutdown");
  // Whether start returned it to somebody, who then closes it in turn.
  private volatile boolean handedOver;
  // Guarded by this.
  private Process process;

  /**
   * What a server speaks TLS with; PEM files.
   *
   * @param certificate its own chain, for 127.0.0.1
   * @param privateKey of that certificate
   * @param clientTrust the authorities that sign clients, which all must show a certificate
   */
  public record Tls(Path certificate, Path privateKey, Path clientTrust) {}

  private EtcdProcess(Path binary, Path dataDir, int[] ports, @Nullable Tls tls)
      throws IOException {
    this.binary = binary;
    this.dataDir = dataDir;
    this.clientPort = ports[0];
    this.peerPort = ports[1];
    this.healthPort = ports[2];
    this.tls = tls;
    log = dataDir.resolve("etcd.log");
    process = launch();
    try {
      Runtime.getRuntime().addShutdownHook(hook);
    } catch (IllegalStateException e) {
      process.destroyForcibly();
      throw new IOException("etcd is not started: this process is ending", e);
    }
  }

  /**
   * Leaves its owner a while to close it after all that uses it, since closing a session against a
   * dead etcd takes its timeout; one that nobody owns yet ends at once.
   */
  private void endWithThisProcess() {
    try {
      if (handedOver && process().waitFor(ORDERLY_END_MS, TimeUnit.MILLISECONDS)) {
        return;
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    process().destroyForcibly();
  }

  private synchronized Process process() {
    return process;
  }

  /** The etcd on the PATH, else in one of the usual places. */
  public static Optional<Path> find() {
    String path = new ProcessBuilder().environment().getOrDefault("PATH", "");
    List<Path> places = new ArrayList<>();
    for (String dir : path.split(File.pathSeparator, -1)) {
      if (!dir.isBlank()) {
        places.add(Path.of(dir, "etcd"));
      }
    }
    places.addAll(USUAL_PLACES);
    return places.stream().filter(p -> Files.isRegularFile(p) && Files.isExecutable(p)).findFirst();
  }

  /** Starts etcd with its data in {@code dataDir} and returns once it answers. */
  public static EtcdProcess start(Path dataDir) throws IOException {
    return start(dataDir, null);
  }

  /** As {@link #start(Path)}; with {@code tls} its endpoint is {@code https}. */
  public static EtcdProcess start(Path dataDir, @Nullable Tls tls) throws IOException {
    Path binary =
        find()
            .orElseThrow(
                () ->
                    new IOException(
                        "etcd is on neither the PATH nor "
                            + USUAL_PLACES
                            + ": install the Debian package etcd-server"
                            + " (apt-get install etcd-server)"));
    Files.createDirectories(dataDir);
    IOException last = null;
    // Another process may take a free port before etcd does.
    for (int attempt = 0; attempt < 3; attempt++) {
      EtcdProcess etcd = new EtcdProcess(binary, dataDir, freePorts(), tls);
      try {
        etcd.awaitHealthy();
        etcd.handedOver = true;
        return etcd;
      } catch (IOException e) {
        etcd.close();
        last = e;
      }
    }
    throw new IOException("etcd does not start in " + dataDir, last);
  }

  private static int[] freePorts() throws IOException {
    try (ServerSocket a = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        ServerSocket b = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        ServerSocket c = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return new int[] {a.getLocalPort(), b.getLocalPort(), c.getLocalPort()};
    }
  }

  private Process launch() throws IOException {
    String client = endpoint();
    String peer = "http://127.0.0.1:" + peerPort;
    List<String> command = new ArrayList<>();
    if (Files.isExecutable(SETSID)) {
      // Ctrl-C in a terminal must not end it before those who use it.
      command.add(SETSID.toString());
    }
    command.addAll(
        List.of(
            binary.toString(),
            "--name=orlop",
            "--data-dir=" + dataDir.resolve("data"),
            "--listen-client-urls=" + client,
            "--advertise-client-urls=" + client,
            "--listen-peer-urls=" + peer,
            "--initial-advertise-peer-urls=" + peer,
            "--initial-cluster=orlop=" + peer,
            "--log-level=warn",
            "--logger=zap"));
    if (tls != null) {
      command.addAll(
          List.of(
              "--cert-file=" + tls.certificate,
              "--key-file=" + tls.privateKey,
              "--client-cert-auth",
              "--trusted-ca-file=" + tls.clientTrust,
              // Whoever asks for its health there needs no certificate.
              "--listen-metrics-urls=" + healthEndpoint()));
    }
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().keySet().removeIf(name -> name.startsWith("ETCD_"));
    // Debian's package needs this on processors that etcd's authors do not test.
    String arch = System.getProperty("os.arch", "");
    if (arch.equals("aarch64")) {
      builder.environment().put("ETCD_UNSUPPORTED_ARCH", "arm64");
    }
    return builder
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()))
        .start();
  }

  private void awaitHealthy() throws IOException {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(HEALTHY_TIMEOUT_MS);
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(healthEndpoint() + "/health"))
            .timeout(Duration.ofSeconds(2))
            .build();
    try (HttpClient http = HttpClient.newHttpClient()) {
      while (!answersHealthy(http, request)) {
        if (!isAlive() || System.nanoTime() - deadline > 0) {
          throw new IOException(
              (isAlive() ? "etcd is not healthy after " + HEALTHY_TIMEOUT_MS + " ms" : "etcd ended")
                  + "; the end of "
                  + log
                  + ":\n"
                  + endOfLog());
        }
        EtcdStore.pause(20);
        if (Thread.currentThread().isInterrupted()) {
          throw new IOException("interrupted while etcd starts");
        }
      }
    }
  }

  private static boolean answersHealthy(HttpClient http, HttpRequest request) {
    try {
      HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
      return answer.statusCode() == 200 && answer.body().contains("\"true\"");
    } catch (IOException e) {
      return false;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  private String endOfLog() {
    try {
      String all = Files.readString(log, StandardCharsets.UTF_8);
      return all.substring(Math.max(0, all.length() - 2_000));
    } catch (IOException e) {
      return "(" + e + ")";
    }
  }

  /**
   * What a client connects to: {@code http://127.0.0.1:port}, with TLS {@code https://…}. The same
   * after a restart.
   */
  public String endpoint() {
    return (tls == null ? "http" : "https") + "://127.0.0.1:" + clientPort;
  }

  private String healthEndpoint() {
    return tls == null ? endpoint() : "http://127.0.0.1:" + healthPort;
  }

  /** The operating system's number of the running, or last, server process. */
  public synchronized long pid() {
    return process.pid();
  }

  public synchronized boolean isAlive() {
    return process.isAlive();
  }

  /** SIGKILL, and waits until it is gone. Idempotent. */
  public synchronized void kill() {
    process.destroyForcibly();
    awaitExit();
  }

  /** SIGTERM, then SIGKILL if that takes long. Idempotent; the data stays. */
  public synchronized void stop() {
    process.destroy();
    if (!awaitExit()) {
      kill();
    }
  }

  /** Starts it again, on the same ports and data; ends it first if it runs. */
  public void restart() {
    try {
      synchronized (this) {
        if (process.isAlive()) {
          stop();
        }
        process = launch();
      }
      awaitHealthy();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private boolean awaitExit() {
    try {
      return process.waitFor(EXIT_TIMEOUT_MS, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /** Stops it for good. */
  @Override
  public void close() {
    stop();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The process is ending, which runs the hook.
    }
  }
}
