package orlop.pod;

import io.grpc.Status;
import java.io.IOException;
import java.io.OutputStream;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import java.util.function.DoubleSupplier;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import orlop.payload.DropReason;
import orlop.payload.PayloadCounters;
import orlop.pod.Meter.Figure;

/**
 * What is counted in one pod, and its Prometheus text. Thread-safe.
 *
 * <p>Names that ModelMesh had keep them to the letter, so that dashboards go on working; what has
 * no counterpart there begins with {@code orlop_}. Times are milliseconds with fractions.
 */
final class Metrics {
  private final MetricsConfig config;
  private final Meters meters;
  private final List<Consumer<MetricsText>> more = new CopyOnWriteArrayList<>();
  private volatile Function<String, @Nullable ModelStats> models = id -> null;

  private final Distribution loadTimes = new Distribution(Distribution.Scale.TIME);
  private final Distribution unloadTimes = new Distribution(Distribution.Scale.TIME);
  private final Distribution missTimes = new Distribution(Distribution.Scale.TIME);
  private final Distribution queueTimes = new Distribution(Distribution.Scale.TIME);
  private final Distribution loadQueueTimes = new Distribution(Distribution.Scale.TIME);
  private final Distribution sizingTimes = new Distribution(Distribution.Scale.TIME);
  private final Distribution evictedAges = new Distribution(Distribution.Scale.AGE);
  private final Distribution sizes = new Distribution(Distribution.Scale.MODEL);

  private final LongAdder misses = new LongAdder();
  private final LongAdder loads = new LongAdder();
  private final LongAdder loadFailures = new LongAdder();
  private final LongAdder unloadFailures = new LongAdder();
  private final LongAdder unloadAttemptFailures = new LongAdder();
  private final LongAdder evictions = new LongAdder();
  private final LongAdder hops = new LongAdder();
  private final LongAdder retries = new LongAdder();
  private final LongAdder localHits = new LongAdder();
  private final LongAdder refusals = new LongAdder();
  private final Map<String, LongAdder> handshakeFailures =
      Map.of("grpc", new LongAdder(), "rest", new LongAdder(), "pod", new LongAdder());

  Metrics(MetricsConfig config) {
    this.config = config;
    this.meters = new Meters(config.perModel());
  }

  // ---- what others keep

  /** Shows a value that somebody else keeps. */
  void gauge(String name, String help, DoubleSupplier value) {
    more.add(text -> text.family(name, "gauge", help).sample(name, value.getAsDouble()));
  }

  /** Shows a growing count that somebody else keeps; {@code _total} is added to the name. */
  void count(String name, String help, DoubleSupplier value) {
    more.add(text -> total(text, name + "_total", help, value.getAsDouble()));
  }

  /** Shows families that somebody else writes. */
  void add(Consumer<MetricsText> families) {
    more.add(families);
  }

  /** Where the queues and batches of a model are counted, by its id. */
  void models(Function<String, @Nullable ModelStats> source) {
    models = source;
  }

  void payloads(Supplier<PayloadCounters> counters) {
    more.add(
        text -> {
          PayloadCounters now = counters.get();
          String name = "orlop_payload_dropped_total";
          text.family(name, "counter", "Payload events lost, by reason");
          for (DropReason reason : DropReason.values()) {
            text.sample(
                name, now.dropped(reason), "reason", reason.name().toLowerCase(Locale.ROOT));
          }
          total(text, "orlop_payload_captured_total", "Payload events captured", now.captured());
          total(
              text, "orlop_payload_sent_total", "Payload events confirmed by the sink", now.sent());
        });
  }

  /**
   * @param counters by the processor's place and address
   */
  void processors(Supplier<Map<String, PayloadCounters>> counters) {
    more.add(
        text -> {
          Map<String, PayloadCounters> now = counters.get();
          String sent = "orlop_processor_sent_total";
          text.family(sent, "counter", "Payloads that a processor took");
          now.forEach((name, of) -> text.sample(sent, of.sent(), "processor", name));
          String dropped = "orlop_processor_dropped_total";
          text.family(dropped, "counter", "Payloads that a processor lost, by reason");
          now.forEach(
              (name, of) -> {
                for (DropReason reason : DropReason.values()) {
                  String why = reason.name().toLowerCase(Locale.ROOT);
                  text.sample(dropped, of.dropped(reason), "processor", name, "reason", why);
                }
              });
        });
  }

  private static void total(MetricsText text, String name, String help, double value) {
    text.family(name, "counter", help).sample(name, value);
  }

  // ---- what happens

  /** A call that another pod sent here has ended; it is counted where it came in. */
  void calledThrough(@Nullable Named to) {
    if (meters.byModel()) {
      meters.of(to).uses.increment();
    }
  }

  /**
   * A call from outside has ended.
   *
   * @param to null where it did not come so far
   * @param requestBytes of its messages; negative where nobody counted
   * @param answerBytes likewise
   */
  void called(
      @Nullable Named to, Op op, Status.Code code, long ns, long requestBytes, long answerBytes) {
    Meter meter = meters.of(to);
    if (meters.byModel()) {
      meter.uses.increment();
    }
    meter.add(Figure.CALL, op, code, ns);
    if (requestBytes >= 0) {
      meter.add(Figure.REQUEST, op, code, requestBytes);
    }
    if (answerBytes >= 0) {
      meter.add(Figure.ANSWER, op, code, answerBytes);
    }
  }

  /** A model has run in this pod, or beside it. */
  void ran(Named to, Op op, Status.Code code, long ns) {
    meters.of(to).add(Figure.RUN, op, code, ns);
  }

  /** A call has waited for a compute thread, or for its turn in the runtime beside this pod. */
  void queued(long ns) {
    queueTimes.add(ns);
  }

  void missed(Named to) {
    misses.increment();
    if (meters.byModel()) {
      meters.of(to).coldWaits.increment();
    }
  }

  /** What a call waited for the model, from its arrival to the end of the load. */
  void waitedForLoad(long ns) {
    missTimes.add(ns);
  }

  void hopped(Named to) {
    hops.increment();
    if (meters.byModel()) {
      meters.of(to).hops.increment();
    }
  }

  void retried() {
    retries.increment();
  }

  void hitLocally() {
    localHits.increment();
  }

  void refused() {
    refusals.increment();
  }

  void handshakeFailed(String port) {
    LongAdder failures = handshakeFailures.get(port);
    if (failures != null) {
      failures.increment();
    }
  }

  /**
   * A load begins.
   *
   * @param queuedNs how long it stood in line
   */
  void loadStarted(long queuedNs) {
    loads.increment();
    loadQueueTimes.add(queuedNs);
  }

  void sized(long ns) {
    sizingTimes.add(ns);
  }

  void loaded(long ms, long bytes) {
    loadTimes.add(ms * 1_000_000);
    sizes.add(bytes);
  }

  void loadFailed() {
    loadFailures.increment();
  }

  /** A model is told to go. */
  void leaving(boolean evicted, long lastUsedNs, long nowNs) {
    if (!evicted) {
      return;
    }
    evictions.increment();
    if (lastUsedNs > 0) {
      evictedAges.add(nowNs - lastUsedNs);
    }
  }

  void unloaded(long ms) {
    unloadTimes.add(ms * 1_000_000);
  }

  /**
   * @param first whether it is the first try for this copy
   */
  void unloadFailed(boolean first) {
    unloadAttemptFailures.increment();
    if (first) {
      unloadFailures.increment();
    }
  }

  PodStats stats() {
    return new PodStats(
        localHits.sum(),
        hops.sum(),
        retries.sum(),
        misses.sum(),
        loads.sum(),
        loadFailures.sum(),
        evictions.sum(),
        refusals.sum());
  }

  // ---- the text

  /** Writes everything in Prometheus text format 0.0.4. */
  void write(OutputStream out) throws IOException {
    MetricsText text = new MetricsText();
    List<Meter> shown = meters.shown();
    figure(text, shown, Figure.CALL, "modelmesh_api_request_milliseconds", "Time of calls");
    figure(text, shown, Figure.RUN, "modelmesh_invoke_model_milliseconds", "Time models ran");
    figure(text, shown, Figure.REQUEST, "modelmesh_request_size_bytes", "Size of requests");
    figure(text, shown, Figure.ANSWER, "modelmesh_response_size_bytes", "Size of answers");
    times(text);
    counts(text);
    if (meters.byModel()) {
      ofModels(text, shown);
    }
    more.forEach(families -> families.accept(text));
    info(text);
    out.write(text.bytes());
  }

  private void figure(
      MetricsText text, List<Meter> shown, Figure figure, String name, String help) {
    text.family(name, "histogram", help + ", by method and gRPC code");
    for (Meter meter : shown) {
      meter.each(figure, (op, code, values) -> values.write(text, name, labels(meter, op, code)));
    }
  }

  private String[] labels(Meter meter, Op op, Status.Code code) {
    String method =
        config.fullMethodNames() ? op.label : op.label.substring(op.label.lastIndexOf('/') + 1);
    return meters.byModel()
        ? new String[] {
          "method", method, "code", code.name(), "modelId", meter.modelId, "vModelId", meter.alias
        }
        : new String[] {"method", method, "code", code.name()};
  }

  private void times(MetricsText text) {
    missTimes.write(text, "modelmesh_cache_miss_milliseconds", "Time that calls waited for a load");
    loadTimes.write(text, "modelmesh_loadmodel_milliseconds", "Time to pull and load a model");
    unloadTimes.write(
        text, "modelmesh_unloadmodel_milliseconds", "Time to wait for calls and unload a model");
    queueTimes.write(
        text,
        "modelmesh_req_queue_delay_milliseconds",
        "Time that inferences waited for a compute thread");
    loadQueueTimes.write(
        text, "modelmesh_loading_queue_delay_milliseconds", "Time that loads stood in line");
    sizingTimes.write(
        text, "modelmesh_model_sizing_milliseconds", "Time to ask a store for a model's size");
    evictedAges.write(
        text, "modelmesh_age_at_eviction_milliseconds", "Time since last use when evicted");
    sizes.write(text, "modelmesh_loaded_model_size_bytes", "Measured size of loaded models");
  }

  private void counts(MetricsText text) {
    // ModelMesh's client library knew no ending for counters.
    untyped(text, "modelmesh_loadmodel_failure", "Loads that failed", loadFailures);
    untyped(text, "modelmesh_unloadmodel_failure", "Copies that did not unload", unloadFailures);
    untyped(
        text,
        "modelmesh_unloadmodel_attempt_failure",
        "Tries to unload that failed",
        unloadAttemptFailures);
    total(text, "modelmesh_cache_miss_total", "Calls that had to wait for a load", misses.sum());
    total(text, "modelmesh_model_evicted_total", "Models evicted", evictions.sum());
    total(text, "orlop_loads_total", "Loads started", loads.sum());
    total(text, "orlop_hops_total", "Calls forwarded to another pod", hops.sum());
    total(text, "orlop_retries_total", "Calls tried in a further pod", retries.sum());
    total(
        text,
        "orlop_local_hits_total",
        "Calls served at once by the pod that they came to",
        localHits.sum());
    total(text, "orlop_refused_total", "Calls refused for overload", refusals.sum());
    String name = "orlop_tls_handshake_failures_total";
    text.family(name, "counter", "TLS handshakes that failed; pod: with pods that this one calls");
    handshakeFailures.forEach((port, failures) -> text.sample(name, failures.sum(), "port", port));
  }

  private static void untyped(MetricsText text, String name, String help, LongAdder count) {
    text.family(name, "untyped", help).sample(name, count.sum());
  }

  private void ofModels(MetricsText text, List<Meter> shown) {
    text.family("orlop_model_hops_total", "counter", "Calls forwarded to another pod, by model");
    shown.forEach(m -> text.sample("orlop_model_hops_total", m.hops.sum(), labels(m)));
    text.family(
        "orlop_model_cold_waits_total", "counter", "Calls that waited for a load, by model");
    shown.forEach(m -> text.sample("orlop_model_cold_waits_total", m.coldWaits.sum(), labels(m)));
    Map<String, ModelStats.Figures> figures = new TreeMap<>();
    for (Meter meter : shown) {
      ModelStats stats = models.apply(meter.modelId);
      if (stats != null) {
        figures.put(meter.modelId, stats.figures());
      }
    }
    String queue = "orlop_model_queue_milliseconds";
    text.family(queue, "summary", "Time that answered inferences waited in this pod, by model");
    figures.forEach(
        (id, of) -> summary(text, queue, of.queue().count(), of.queue().ns() / 1e6, id));
    String batch = "orlop_model_batch_size";
    text.family(batch, "summary", "Inferences in one execution in this pod, by model");
    figures.forEach((id, of) -> summary(text, batch, of.executions(), of.inferences(), id));
  }

  private static String[] labels(Meter meter) {
    return new String[] {"modelId", meter.modelId, "vModelId", meter.alias};
  }

  private static void summary(
      MetricsText text, String name, long count, double sum, String modelId) {
    text.sample(name + "_count", count, "modelId", modelId);
    text.sample(name + "_sum", sum, "modelId", modelId);
  }

  private void info(MetricsText text) {
    if (config.info().isEmpty()) {
      return;
    }
    String[] labels =
        new TreeMap<>(config.info())
            .entrySet().stream()
                .flatMap(label -> java.util.stream.Stream.of(label.getKey(), label.getValue()))
                .toArray(String[]::new);
    text.family(config.infoName(), "gauge", "What this pod was told to say of itself");
    text.sample(config.infoName(), 1, labels);
  }
}
