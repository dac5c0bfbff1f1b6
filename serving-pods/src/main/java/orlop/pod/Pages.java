package orlop.pod;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.BooleanSupplier;
import javax.net.ssl.SSLContext;
import org.jspecify.annotations.Nullable;

/** The HTTP pages for the machinery around a pod: probes on one port, metrics on another. */
final class Pages implements AutoCloseable {
  private final HttpServer probes;
  private final HttpServer metrics;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();

  /**
   * Opens both ports.
   *
   * @param ready whether traffic may be sent to this pod
   * @param tls for the metrics; null: in the clear, as the probes always are
   * @throws IOException naming the port that cannot be opened
   */
  Pages(PodConfig config, BooleanSupplier ready, Metrics source, @Nullable SSLContext tls)
      throws IOException {
    probes = open(config.host(), config.probePort(), "probePort", null);
    try {
      metrics = open(config.host(), config.metricsPort(), "metricsPort", tls);
    } catch (IOException e) {
      probes.stop(0);
      throw e;
    }
    probes.createContext("/live", exchange -> text(exchange, 200, "live\n"));
    probes.createContext(
        "/ready",
        exchange -> {
          boolean is = ready.getAsBoolean();
          text(exchange, is ? 200 : 503, is ? "ready\n" : "not ready\n");
        });
    metrics.createContext(
        "/metrics",
        exchange -> {
          ByteArrayOutputStream body = new ByteArrayOutputStream(16_384);
          source.write(body);
          send(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", body.toByteArray());
        });
    for (HttpServer server : new HttpServer[] {probes, metrics}) {
      server.setExecutor(threads);
      server.start();
    }
  }

  int probePort() {
    return probes.getAddress().getPort();
  }

  int metricsPort() {
    return metrics.getAddress().getPort();
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

  @Override
  public void close() {
    probes.stop(0);
    metrics.stop(0);
    threads.shutdown();
  }
}
