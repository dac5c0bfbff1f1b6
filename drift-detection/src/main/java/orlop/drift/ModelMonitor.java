package orlop.drift;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Watches all features of one model, one row per payload.
 *
 * <p>Pure but for the shared count of features. Not thread-safe: owned by the stream thread whose
 * partition the model's payloads come from. O(features) per row.
 */
final class ModelMonitor {
  private final String model;
  private final DetectorSettings settings;
  private final AtomicInteger featureCount;
  private final Function<FeatureKey, @Nullable Baseline> givenBaselines;
  private final Map<FeatureKey, FeatureMonitor> features = new LinkedHashMap<>();
  private long rows;
  private long unwatched;

  /**
   * @param featureCount features watched in this process, shared by all models
   * @param givenBaselines the baseline that a feature was given, or null when it has to learn
   */
  ModelMonitor(
      String model,
      DetectorSettings settings,
      AtomicInteger featureCount,
      Function<FeatureKey, @Nullable Baseline> givenBaselines) {
    this.model = model;
    this.settings = settings;
    this.featureCount = featureCount;
    this.givenBaselines = givenBaselines;
  }

  /** An alarm and the feature it is about. */
  record FeatureAlarm(FeatureKey feature, Alarm alarm) {}

  /**
   * Takes the chosen row of one payload.
   *
   * @param budget expected false alarms that this payload may add, split evenly over its features
   * @return alarms, usually none
   */
  List<FeatureAlarm> observe(Row row, double budget, long offset, long timeMs) {
    List<FeatureAlarm> alarms = List.of();
    List<FeatureKey> keys = row.keys();
    double share = budget / Math.max(1, keys.size());
    for (int i = 0; i < keys.size(); i++) {
      FeatureKey key = keys.get(i);
      FeatureMonitor feature = feature(key);
      // A value at or before the last one was counted before a restart.
      if (feature == null || offset <= feature.lastOffset()) {
        continue;
      }
      long ranked = RankKey.of(row.values()[i], Hash.tie(row.seed(), i));
      Alarm alarm = feature.observe(ranked, share, offset, timeMs, settings);
      if (alarm != null) {
        alarms = alarms.isEmpty() ? new ArrayList<>() : alarms;
        alarms.add(new FeatureAlarm(key, alarm));
      }
    }
    rows++;
    return alarms;
  }

  /** Makes every feature learn anew. */
  void relearn() {
    features.values().forEach(FeatureMonitor::relearn);
  }

  /** Puts back a feature that was watched before a restart. */
  void restore(FeatureKey key, FeatureMonitor feature) {
    if (features.put(key, feature) == null) {
      featureCount.incrementAndGet();
    }
  }

  void forEachFeature(BiConsumer<FeatureKey, FeatureMonitor> action) {
    features.forEach(action);
  }

  /** Gives its features back to the shared count. */
  void release() {
    featureCount.addAndGet(-features.size());
  }

  ModelStatus status() {
    List<FeatureStatus> statuses = new ArrayList<>(features.size());
    features.forEach((key, feature) -> statuses.add(feature.status(key)));
    return new ModelStatus(model, rows, unwatched, List.copyOf(statuses));
  }

  private @Nullable FeatureMonitor feature(FeatureKey key) {
    FeatureMonitor feature = features.get(key);
    if (feature == null) {
      if (featureCount.get() >= settings.maxFeatures()) {
        unwatched++;
        return null;
      }
      Baseline given = givenBaselines.apply(key);
      feature = given == null ? new FeatureMonitor() : new FeatureMonitor(given);
      restore(key, feature);
    }
    return feature;
  }
}
