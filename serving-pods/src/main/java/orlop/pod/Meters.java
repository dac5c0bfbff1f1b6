package orlop.pod;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A {@link Meter} for each of the models that are called most, and one for all others, so that
 * neither memory nor what a scraper has to keep grows with the models there are. Thread-safe.
 *
 * <p>Which models those are is looked at with each scrape: their calls since the last one, and half
 * of what they counted before. What a model that falls out has counted goes to the others; should
 * it come again it begins at zero, which Prometheus takes for a restart.
 */
final class Meters {
  /** Stands for the models that have no meter of their own. */
  static final String OTHER = "_other";

  /** Models that may be counted between two scrapes for each one that is shown. */
  private static final int CANDIDATES = 4;

  private record Key(String modelId, String alias) {}

  private final int shown;
  private final Meter others;
  private final Map<Key, Meter> own = new ConcurrentHashMap<>();

  /**
   * @param shown models that have one of their own; 0: all have one together
   */
  Meters(int shown) {
    this.shown = shown;
    this.others = shown == 0 ? new Meter("", "") : new Meter(OTHER, "");
  }

  boolean byModel() {
    return shown > 0;
  }

  /**
   * @param to null where a call did not come so far
   */
  Meter of(@Nullable Named to) {
    if (shown == 0 || to == null) {
      return others;
    }
    Key key = new Key(to.model().id(), to.alias());
    Meter known = own.get(key);
    if (known != null) {
      return known;
    }
    return own.size() >= CANDIDATES * shown
        ? others
        : own.computeIfAbsent(key, k -> new Meter(k.modelId, k.alias));
  }

  /** Those to be shown now, the one for all others first. */
  synchronized List<Meter> shown() {
    List<Meter> ranked = new ArrayList<>(own.values());
    for (Meter meter : ranked) {
      long uses = meter.uses.sum();
      meter.score = meter.score / 2 + (uses - meter.usesSeen);
      meter.usesSeen = uses;
    }
    ranked.sort(Comparator.comparingDouble((Meter meter) -> meter.score).reversed());
    List<Meter> all = new ArrayList<>();
    all.add(others);
    for (int i = 0; i < ranked.size(); i++) {
      Meter meter = ranked.get(i);
      if (i < shown) {
        all.add(meter);
      } else {
        own.remove(new Key(meter.modelId, meter.alias));
        others.addAll(meter);
      }
    }
    return all;
  }
}
