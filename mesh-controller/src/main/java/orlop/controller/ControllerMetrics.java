package orlop.controller;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.MeshTotals;
import orlop.placement.PodsWanted;

/**
 * The controller's page for Prometheus: whether it leads, and how many pods the leader wants. An
 * autoscaler takes the largest over all controllers, since only the leader shows the second.
 */
final class ControllerMetrics implements AutoCloseable {
  private final HttpServer server;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();

  private ControllerMetrics(HttpServer server) {
    this.server = server;
  }

  /**
   * @param planning asked with each request; null before the loop runs
   * @throws IOException naming the port that cannot be opened
   */
  static ControllerMetrics open(int port, Supplier<@Nullable PlanningLoop> planning)
      throws IOException {
    HttpServer server;
    try {
      server = HttpServer.create(new InetSocketAddress(port), 0);
    } catch (IOException e) {
      throw new IOException(
          "cannot listen on port %d (controller.metricsPort): %s".formatted(port, e.getMessage()),
          e);
    }
    ControllerMetrics metrics = new ControllerMetrics(server);
    server.setExecutor(metrics.threads);
    server.createContext("/metrics", exchange -> answer(exchange, text(planning.get())));
    server.start();
    return metrics;
  }

  static String text(@Nullable PlanningLoop loop) {
    boolean leads = loop != null && loop.leading();
    PodsWanted wanted = loop == null ? null : loop.podsWanted();
    return text(leads, wanted) + (loop == null || !leads ? "" : text(MeshTotals.of(loop.view())));
  }

  private static String text(MeshTotals all) {
    StringBuilder text = new StringBuilder();
    gauge(text, "modelmesh_models_managed_total", "Models registered", all.managed());
    gauge(text, "modelmesh_models_loaded_total", "Models loaded in some pod", all.loaded());
    gauge(
        text,
        "modelmesh_models_with_failure_total",
        "Models whose last load failed in some pod",
        all.failing());
    return text.toString();
  }

  private static void gauge(StringBuilder text, String name, String help, long value) {
    text.append("# HELP ").append(name).append(' ').append(help).append('\n');
    text.append("# TYPE ").append(name).append(" gauge\n");
    text.append(name).append(' ').append(value).append('\n');
  }

  /** Prometheus text format 0.0.4. */
  static String text(boolean leads, @Nullable PodsWanted wanted) {
    StringBuilder text = new StringBuilder();
    text.append("# HELP orlop_controller_leads Whether this controller plans\n");
    text.append("# TYPE orlop_controller_leads gauge\n");
    text.append("orlop_controller_leads ").append(leads ? 1 : 0).append('\n');
    if (wanted != null) {
      text.append("# HELP orlop_pods_wanted Pods that the mesh should have\n");
      text.append("# TYPE orlop_pods_wanted gauge\n");
      text.append("# ").append(wanted.why().replace('\n', ' ')).append('\n');
      text.append("orlop_pods_wanted ").append(wanted.pods()).append('\n');
    }
    return text.toString();
  }

  private static void answer(HttpExchange exchange, String text) throws IOException {
    byte[] body = text.getBytes(StandardCharsets.UTF_8);
    try (exchange) {
      exchange.getResponseHeaders().set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
      exchange.sendResponseHeaders(200, body.length);
      try (OutputStream out = exchange.getResponseBody()) {
        out.write(body);
      }
    }
  }

  @Override
  public void close() {
    server.stop(0);
    threads.shutdown();
  }
}
