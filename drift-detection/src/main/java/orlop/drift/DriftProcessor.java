package orlop.drift;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.protobuf.InvalidProtocolBufferException;
import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.jspecify.annotations.Nullable;
import orlop.api.PayloadEvent;
import orlop.drift.ModelMonitor.FeatureAlarm;

/**
 * The stream thread's side of drift detection: payload events of one partition in, verdicts out.
 *
 * <p>Owned by one stream thread. State lives on the heap; the store behind it gets what has changed
 * at each flush, so a payload costs no store write.
 */
final class DriftProcessor implements Processor<byte[], byte[], byte[], byte[]> {
  static final String STORE = "drift-features";

  private static final System.Logger LOG = System.getLogger(DriftProcessor.class.getName());
  private static final Duration STATUS_INTERVAL = Duration.ofSeconds(1);
  private static final int POISON_LINES = 3;
  private static final char SEPARATOR = '\0';

  private final DriftConfig config;
  private final SharedState shared;
  private final BaselineFiles baselineFiles;
  private final Map<String, Watched> models = new HashMap<>();
  private @Nullable ProcessorContext<byte[], byte[]> context;
  private @Nullable KeyValueStore<String, byte[]> store;

  DriftProcessor(DriftConfig config, SharedState shared) {
    this.config = config;
    this.shared = shared;
    this.baselineFiles = new BaselineFiles(config.baselineDirectory());
  }

  /** A model, and what has yet to be told of it. */
  private static final class Watched {
    private final ModelMonitor monitor;
    private int relearned;
    private boolean unflushed;
    private boolean unpublished = true;

    Watched(ModelMonitor monitor, int relearned) {
      this.monitor = monitor;
      this.relearned = relearned;
    }
  }

  @Override
  public void init(ProcessorContext<byte[], byte[]> processorContext) {
    context = processorContext;
    KeyValueStore<String, byte[]> features = processorContext.getStateStore(STORE);
    store = features;
    restore(features);
    processorContext.schedule(
        Duration.ofMillis(config.flushIntervalMs()),
        PunctuationType.WALL_CLOCK_TIME,
        now -> {
          flush(features);
          // Right after the flush, so that offsets and state belong together.
          processorContext.commit();
        });
    processorContext.schedule(
        STATUS_INTERVAL, PunctuationType.WALL_CLOCK_TIME, now -> publishStatuses());
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    shared.seen.increment();
    ProcessorContext<byte[], byte[]> here = context;
    RecordMetadata at = here == null ? null : here.recordMetadata().orElse(null);
    if (here == null || at == null) {
      throw new IllegalStateException("a record arrived without its place in the log");
    }
    if (!isRequest(record.headers())) {
      shared.ignored.increment();
      return;
    }
    String id = text(record.headers(), PayloadEvent.ID, "");
    String model = modelOf(record);
    Row row;
    try {
      if (model.isEmpty() || record.value() == null) {
        throw new InvalidProtocolBufferException("the event names no model or has no value");
      }
      row = RowReader.read(record.value(), Hash.seed(id, at.partition(), at.offset()));
    } catch (InvalidProtocolBufferException e) {
      skipPoison(at, model, e);
      return;
    }
    if (row.keys().isEmpty()) {
      shared.ignored.increment();
      return;
    }
    // The budget is taken before the values are looked at, as the guarantee demands.
    double budget = shared.budget.take();
    Watched watched = watched(model);
    List<FeatureAlarm> alarms =
        watched.monitor.observe(row, budget, at.offset(), record.timestamp());
    watched.unflushed = true;
    watched.unpublished = true;
    shared.scored.increment();
    for (FeatureAlarm found : alarms) {
      report(here, model, found, id, at, record.timestamp());
    }
  }

  @Override
  public void close() {
    KeyValueStore<String, byte[]> features = store;
    if (features != null && features.isOpen()) {
      try {
        flush(features);
      } catch (RuntimeException e) {
        // What was seen since the last flush is forgotten; the guarantee does not depend on it.
        LOG.log(Level.DEBUG, "drift state was not flushed at close: {0}", e.toString());
      }
    }
    models.forEach(
        (model, watched) -> {
          watched.monitor.release();
          shared.statuses.remove(model);
        });
    models.clear();
  }

  private static boolean isRequest(Headers headers) {
    return text(headers, PayloadEvent.TYPE, "").equals(PayloadEvent.Kind.REQUEST.type)
        && text(headers, PayloadEvent.CONTENT_TYPE, PayloadEvent.PROTOBUF)
            .startsWith(PayloadEvent.PROTOBUF);
  }

  private static String modelOf(Record<byte[], byte[]> record) {
    String service = text(record.headers(), PayloadEvent.INFERENCE_SERVICE, "");
    return text(record.headers(), PayloadEvent.MODEL_ID, service);
  }

  private static String text(Headers headers, String name, String otherwise) {
    Header header = headers.lastHeader(name);
    return header == null || header.value() == null ? otherwise : new String(header.value(), UTF_8);
  }

  private void skipPoison(RecordMetadata at, String model, InvalidProtocolBufferException e) {
    shared.poison.increment();
    if (shared.poison.sum() <= POISON_LINES) {
      LOG.log(
          Level.WARNING,
          "record {0}-{1}@{2} of model \"{3}\" is skipped: {4}",
          at.topic(),
          Integer.toString(at.partition()),
          Long.toString(at.offset()),
          model,
          e.getMessage());
    }
  }

  private void report(
      ProcessorContext<byte[], byte[]> here,
      String model,
      FeatureAlarm found,
      String id,
      RecordMetadata at,
      long atMs) {
    VerdictEvent verdict =
        new VerdictEvent(
            model,
            found.feature(),
            found.alarm(),
            config.falseAlarmsPerDay(),
            id,
            at.partition() + "-" + at.offset(),
            atMs);
    shared.alarms.increment();
    LOG.log(
        Level.INFO,
        "drift: model {0} feature {1} {2} ({3}), about {4} payloads after the change",
        model,
        found.feature(),
        found.alarm().direction().word(),
        found.alarm().bet(),
        Long.toString(found.alarm().rowsSinceChange()));
    here.forward(
        new Record<>(
            verdict.key(),
            verdict.value(),
            atMs,
            verdict.headers("urn:orlop:drift:" + config.applicationId())));
  }

  private Watched watched(String model) {
    int requested = shared.relearnRequests.getOrDefault(model, 0);
    Watched watched = models.get(model);
    if (watched == null) {
      watched = new Watched(newMonitor(model), requested);
      models.put(model, watched);
    }
    if (watched.relearned != requested) {
      watched.relearned = requested;
      watched.monitor.relearn();
    }
    return watched;
  }

  private ModelMonitor newMonitor(String model) {
    Map<FeatureKey, Baseline> given = baselineFiles.read(model);
    return new ModelMonitor(model, config.detectorSettings(), shared.featureCount, given::get);
  }

  private void flush(KeyValueStore<String, byte[]> features) {
    models.forEach(
        (model, watched) -> {
          if (watched.unflushed) {
            watched.monitor.forEachFeature(
                (key, feature) -> features.put(storeKey(model, key), feature.toBytes()));
            watched.unflushed = false;
          }
        });
  }

  private void publishStatuses() {
    models.forEach(
        (model, watched) -> {
          if (watched.unpublished) {
            shared.statuses.put(model, watched.monitor.status());
            watched.unpublished = false;
          }
        });
  }

  private void restore(KeyValueStore<String, byte[]> features) {
    try (KeyValueIterator<String, byte[]> all = features.all()) {
      while (all.hasNext()) {
        KeyValue<String, byte[]> entry = all.next();
        try {
          restoreFeature(entry.key, FeatureMonitor.fromBytes(entry.value));
        } catch (IllegalArgumentException e) {
          LOG.log(
              Level.WARNING,
              "feature {0} is learned anew: {1}",
              entry.key.replace(SEPARATOR, '/'),
              e.getMessage());
        }
      }
    }
  }

  private void restoreFeature(String storeKey, FeatureMonitor feature) {
    String[] parts = storeKey.split(String.valueOf(SEPARATOR), -1);
    Watched watched = models.get(parts[0]);
    if (watched == null) {
      watched = new Watched(newMonitor(parts[0]), shared.relearnRequests.getOrDefault(parts[0], 0));
      models.put(parts[0], watched);
    }
    watched.monitor.restore(new FeatureKey(parts[1], Integer.parseInt(parts[2])), feature);
  }

  private static String storeKey(String model, FeatureKey feature) {
    return model + SEPARATOR + feature.tensor() + SEPARATOR + feature.index();
  }
}
