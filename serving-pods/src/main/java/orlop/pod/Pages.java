package orlop.pod;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import javax.net.ssl.SSLContext;
import org.jspecify.annotations.Nullable;

/** The HTTP pages for the machinery around a pod: probes on one port, metrics on another. */
final class Pages implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Pages.class.getName());

  /** How long a pod may take to begin to drain after another container was told to stop. */
  private static final long BEGIN_MS = 20_000;

  /** What a pod takes to close after its drain time, at most. */
  private static final long CLOSING_MS = 10_000;

  private static final long TELL_MS = 1_000;
  private static final long LOOK_MS = 100;

  private final HttpServer probes;
  private final @Nullable HttpServer metrics;
  private final @Nullable HttpServer preStop;
  private final CountDownLatch drained = new CountDownLatch(1);
  private final AtomicInteger waiting = new AtomicInteger();
  private final PodConfig config;
  private final BooleanSupplier draining;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();

  /**
   * Opens the ports.
   *
   * @param notReady why no traffic may be sent to this pod; empty when it may
   * @param draining whether the pod is on its way out
   * @param tls for the metrics; null: in the clear, as the probes always are
   * @throws IOException naming the port that cannot be opened
   */
  Pages(
      PodConfig config,
      Supplier<String> notReady,
      BooleanSupplier draining,
      Metrics source,
      @Nullable SSLContext tls)
      throws IOException {
    this.config = config;
    this.draining = draining;
    probes = open(config.host(), config.probePort(), "probePort", null);
    try {
      metrics =
          config.metrics().enabled()
              ? open(config.host(), config.metricsPort(), "metricsPort", tls)
              : null;
    } catch (IOException e) {
      probes.stop(0);
      throw e;
    }
    probes.createContext("/live", exchange -> text(exchange, 200, "live\n"));
    probes.createContext(
        "/ready",
        exchange -> {
          String why = notReady.get();
          boolean is = why.isEmpty();
          text(exchange, is ? 200 : 503, is ? "ready\n" : "not ready: " + why + "\n");
        });
    probes.createContext("/prestop", this::awaitDrained);
    preStop = preStop();
    start(probes);
    if (metrics != null) {
      metrics.createContext(
          "/metrics",
          exchange -> {
            ByteArrayOutputStream body = new ByteArrayOutputStream(16_384);
            source.write(body);
            send(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", body.toByteArray());
          });
      start(metrics);
    }
  }

  /** A port that is taken costs other containers their patience, but not the pod its start. */
  private @Nullable HttpServer preStop() {
    if (config.preStopPort() == 0) {
      return null;
    }
    try {
      HttpServer server = open(config.host(), config.preStopPort(), "preStopPort", null);
      server.createContext("/prestop", this::awaitDrained);
      start(server);
      return server;
    } catch (IOException e) {
      LOG.log(Level.WARNING, "{0}; /prestop is at the probe port alone", e.getMessage());
      return null;
    }
  }

  /**
   * Answers when the pod has drained and let its models go, for containers beside it that must live
   * as long. A pod that does not begin to drain soon was not asked to stop, so nothing is waited
   * for.
   */
  private void awaitDrained(HttpExchange exchange) throws IOException {
    long mostMs = config.handOverTimeoutMs() + config.drainTimeoutMs() + CLOSING_MS;
    long untilNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(mostMs);
    long beginNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(BEGIN_MS);
    boolean over = false;
    waiting.incrementAndGet();
    try {
      while (!over
          && System.nanoTime() < untilNs
          && (draining.getAsBoolean() || System.nanoTime() < beginNs)) {
        over = drained.await(LOOK_MS, TimeUnit.MILLISECONDS);
      }
      text(exchange, 200, over ? "drained\n" : "not draining\n");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      exchange.close();
    } finally {
      waiting.decrementAndGet();
    }
  }

  int probePort() {
    return probes.getAddress().getPort();
  }

  /** 0 when there are none. */
  int metricsPort() {
    return metrics == null ? 0 : metrics.getAddress().getPort();
  }

  private void start(HttpServer server) {
    server.setExecutor(threads);
    server.start();
  }

  private static HttpServer open(String host, int port, String key, @Nullable SSLContext tls)
      throws IOException {
    InetSocketAddress address = new InetSocketAddress(host, port);
    try {
      if (tls == null) {
        return HttpServer.create(address, 0);
      }
      HttpsServer server = HttpsServer.create(address, 0);
      server.setHttpsConfigurator(new HttpsConfigurator(tls));
      return server;
    } catch (IOException e) {
      throw new IOException(
          "cannot listen on %s:%d (%s): %s".formatted(host, port, key, e.getMessage()), e);
    }
  }

  private static void text(HttpExchange exchange, int status, String body) throws IOException {
    send(exchange, status, "text/plain; charset=utf-8", body.getBytes(StandardCharsets.UTF_8));
  }

  static void send(HttpExchange exchange, int status, String type, byte[] body) throws IOException {
    try (exchange) {
      exchange.getResponseHeaders().set("Content-Type", type);
      exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
      if (body.length > 0) {
        try (OutputStream out = exchange.getResponseBody()) {
          out.write(body);
        }
      }
    }
  }

  /** Requests of {@code /prestop} that have no answer yet. */
  int waiting() {
    return waiting.get();
  }

  /** The pod has drained: whoever waits for it hears of it now. */
  void drained() {
    drained.countDown();
    long untilNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(TELL_MS);
    while (waiting.get() > 0 && System.nanoTime() < untilNs) {
      LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(1));
    }
  }

  @Override
  public void close() {
    if (preStop != null) {
      preStop.stop(0);
    }
    probes.stop(0);
    if (metrics != null) {
      metrics.stop(0);
    }
    threads.shutdown();
  }
}
