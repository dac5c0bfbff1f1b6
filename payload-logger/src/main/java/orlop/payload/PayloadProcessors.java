package orlop.payload;

import java.lang.System.Logger.Level;
import java.net.URI;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import org.jspecify.annotations.Nullable;

/**
 * The observers of one pod, each with a queue of its own. Offering costs a filter and a counter for
 * each and never blocks. Thread-safe.
 */
public final class PayloadProcessors implements AutoCloseable {
  /** Where {@code logger://} writes: one line for each payload, at level INFO. */
  public static final String LOGGER = "orlop.payload.observed";

  private static final System.Logger LOG = System.getLogger(PayloadProcessors.class.getName());
  private final List<Processor> all;

  private PayloadProcessors(List<Processor> all) {
    this.all = List.copyOf(all);
  }

  /**
   * Starts what the configuration names; it is closed with the {@link PayloadLog} it is given to.
   *
   * @param tls for endpoints that are {@code https}; null: as the Java machine does by itself
   */
  public static PayloadProcessors start(ProcessorsConfig config, @Nullable SSLContext tls) {
    List<Processor> all = new ArrayList<>();
    for (String text : config.uris()) {
      URI uri = ProcessorsConfig.checked(text);
      Processor.Delivery delivery =
          "logger".equals(uri.getScheme())
              ? PayloadProcessors::write
              : new HttpDelivery(uri, config, tls);
      all.add(new Processor(uri, config, delivery));
    }
    return new PayloadProcessors(all);
  }

  static PayloadProcessors none() {
    return new PayloadProcessors(List.of());
  }

  private static void write(Observed payload) {
    System.getLogger(LOGGER)
        .log(
            Level.INFO,
            "{0} model={1} vmodel={2} method={3} id={4} status={5} bytes={6}",
            payload.kind(),
            payload.modelId(),
            payload.alias(),
            payload.method(),
            payload.id(),
            payload.statusCode(),
            String.valueOf(payload.value().size()));
  }

  /** Whether any of them takes payloads of that method. */
  boolean want(String method) {
    for (Processor processor : all) {
      if (processor.wants(method)) {
        return true;
      }
    }
    return false;
  }

  /** Whether any of them takes payloads of that method of that model. */
  boolean want(String method, String modelId, String alias) {
    for (Processor processor : all) {
      if (processor.wants(method) && processor.wants(modelId, alias)) {
        return true;
      }
    }
    return false;
  }

  /** The largest message that one of them takes; 0 when there is none. */
  int maxPayloadBytes() {
    return all.stream().mapToInt(Processor::maxPayloadBytes).max().orElse(0);
  }

  /** Counts a payload without its message as lost by those who want it. */
  void lost(Observed payload, DropReason reason) {
    for (Processor processor : all) {
      processor.lost(payload, reason);
    }
  }

  void offer(Observed payload) {
    for (Processor processor : all) {
      processor.offer(payload);
    }
  }

  /** What became of the payloads, by the observer's scheme and host, in the order configured. */
  public Map<String, PayloadCounters> counters() {
    Map<String, PayloadCounters> counters = new LinkedHashMap<>();
    for (int i = 0; i < all.size(); i++) {
      Processor processor = all.get(i);
      counters.put(i + " " + processor.name(), processor.counters());
    }
    return counters;
  }

  /** Delivers what waits for at most so long and counts the rest as lost. */
  void close(long timeoutMs) {
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    all.forEach(processor -> processor.beginClose(deadlineNs));
    for (Processor processor : all) {
      processor.close();
      PayloadCounters end = processor.counters();
      LOG.log(
          Level.INFO,
          "payload processor {0} closed: captured {1}, sent {2}, dropped {3}",
          processor.name(),
          end.captured(),
          end.sent(),
          end.dropped());
    }
  }

  @Override
  public void close() {
    close(0);
  }
}
