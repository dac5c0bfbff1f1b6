package orlop.pod;

import io.grpc.Status;
import io.prometheus.metrics.core.datapoints.DistributionDataPoint;
import io.prometheus.metrics.core.metrics.Counter;
import io.prometheus.metrics.core.metrics.CounterWithCallback;
import io.prometheus.metrics.core.metrics.GaugeWithCallback;
import io.prometheus.metrics.core.metrics.Histogram;
import io.prometheus.metrics.expositionformats.PrometheusTextFormatWriter;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.DoubleSupplier;
import java.util.function.Supplier;
import orlop.payload.DropReason;
import orlop.payload.PayloadCounters;

/**
 * What is counted in one pod, and its Prometheus text. Thread-safe.
 *
 * <p>Names that ModelMesh had keep them, so that dashboards go on working; what has no counterpart
 * there begins with {@code orlop_}. Times are milliseconds with fractions.
 */
final class Metrics {
  private static final double[] CALL_MS = {
    0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
    300_000
  };

  private final PrometheusRegistry registry = new PrometheusRegistry();
  private final PrometheusTextFormatWriter writer = PrometheusTextFormatWriter.create();

  private final Histogram calls =
      Histogram.builder()
          .name("modelmesh_api_request_milliseconds")
          .help("Time from a call's arrival to its answer, by method and gRPC code")
          .labelNames("method", "code")
          .classicOnly()
          .classicUpperBounds(CALL_MS)
          .register(registry);
  private final Map<String, DistributionDataPoint> answered = new ConcurrentHashMap<>();
  private final Histogram runs =
      millis("modelmesh_invoke_model_milliseconds", "Time that inferences ran in this pod");
  private final Histogram loadMs =
      millis("modelmesh_loadmodel_milliseconds", "Time to pull and load a model");
  private final Histogram unloadMs =
      millis("modelmesh_unloadmodel_milliseconds", "Time to wait for calls and unload a model");
  private final Histogram evictedAge =
      millis("modelmesh_age_at_eviction_milliseconds", "Time since last use when evicted");
  private final Histogram sizes =
      Histogram.builder()
          .name("modelmesh_loaded_model_size_bytes")
          .help("Measured size of loaded models")
          .classicOnly()
          .classicUpperBounds(1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11)
          .register(registry);
  private final Counter misses =
      counter("modelmesh_cache_miss", "Calls that had to wait for a load");
  private final Counter loads = counter("orlop_loads", "Loads started");
  private final Counter loadFailures = counter("modelmesh_loadmodel_failure", "Loads that failed");
  private final Counter unloadFailures =
      counter("modelmesh_unloadmodel_failure", "Unloads that failed");
  private final Counter evictions = counter("modelmesh_model_evicted", "Models evicted");
  private final Counter hops = counter("orlop_hops", "Calls forwarded to another pod");
  private final Counter retries = counter("orlop_retries", "Calls tried in a further pod");
  private final Counter localHits =
      counter("orlop_local_hits", "Calls served at once by the pod that they came to");
  private final Counter handshakeFailures =
      Counter.builder()
          .name("orlop_tls_handshake_failures")
          .help("TLS handshakes that failed, by port; pod: of connections to other pods")
          .labelNames("port")
          .register(registry);
  private final Counter refusals = counter("orlop_refused", "Calls refused for overload");

  private Counter counter(String name, String help) {
    return Counter.builder().name(name).help(help).register(registry);
  }

  private Histogram millis(String name, String help) {
    return Histogram.builder()
        .name(name)
        .help(help)
        .classicOnly()
        .classicUpperBounds(CALL_MS)
        .register(registry);
  }

  /** Shows a value that somebody else keeps. */
  void gauge(String name, String help, DoubleSupplier value) {
    GaugeWithCallback.builder()
        .name(name)
        .help(help)
        .callback(callback -> callback.call(value.getAsDouble()))
        .register(registry);
  }

  /** Shows a growing count that somebody else keeps; {@code _total} is added to the name. */
  void count(String name, String help, DoubleSupplier value) {
    CounterWithCallback.builder()
        .name(name)
        .help(help)
        .callback(callback -> callback.call(value.getAsDouble()))
        .register(registry);
  }

  void payloads(Supplier<PayloadCounters> counters) {
    CounterWithCallback.builder()
        .name("orlop_payload_dropped")
        .help("Payload events lost, by reason")
        .labelNames("reason")
        .callback(
            callback -> {
              PayloadCounters now = counters.get();
              for (DropReason reason : DropReason.values()) {
                callback.call((double) now.dropped(reason), reason.name().toLowerCase(Locale.ROOT));
              }
            })
        .register(registry);
    count("orlop_payload_captured", "Payload events captured", () -> counters.get().captured());
    count(
        "orlop_payload_sent", "Payload events confirmed by the sink", () -> counters.get().sent());
  }

  void called(String method, Status.Code code, long ns) {
    if (code == Status.Code.OK) {
      // Nearly all calls: spares them the search for their labels.
      answered
          .computeIfAbsent(method, name -> calls.labelValues(name, code.name()))
          .observe(ns / 1e6);
    } else {
      calls.labelValues(method, code.name()).observe(ns / 1e6);
    }
  }

  void ran(long ns) {
    runs.observe(ns / 1e6);
  }

  void missed() {
    misses.inc();
  }

  void hopped() {
    hops.inc();
  }

  void retried() {
    retries.inc();
  }

  void hitLocally() {
    localHits.inc();
  }

  void handshakeFailed(String port) {
    handshakeFailures.labelValues(port).inc();
  }

  void refused() {
    refusals.inc();
  }

  void loadStarted() {
    loads.inc();
  }

  void loaded(long ms, long bytes) {
    loadMs.observe((double) ms);
    sizes.observe((double) bytes);
  }

  void loadFailed() {
    loadFailures.inc();
  }

  /** A model is told to go. */
  void leaving(boolean evicted, long lastUsedNs, long nowNs) {
    if (!evicted) {
      return;
    }
    evictions.inc();
    if (lastUsedNs > 0) {
      evictedAge.observe((nowNs - lastUsedNs) / 1e6);
    }
  }

  void unloaded(long ms) {
    unloadMs.observe((double) ms);
  }

  void unloadFailed() {
    unloadFailures.inc();
  }

  PodStats stats() {
    return new PodStats(
        (long) localHits.get(),
        (long) hops.get(),
        (long) retries.get(),
        (long) misses.get(),
        (long) loads.get(),
        (long) loadFailures.get(),
        (long) evictions.get(),
        (long) refusals.get());
  }

  /** Writes everything in Prometheus text format 0.0.4. */
  void write(OutputStream out) throws IOException {
    writer.write(out, registry.scrape());
  }
}
