package orlop.bridge;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Since when the mesh has not known a model. The grace period runs once for a model and not once
 * for each of its records, so that a topic full of records of a missing model waits for it once.
 * Not thread-safe: owned by the poll thread. Holds 10,000 models; beyond, the oldest starts anew.
 */
final class MissingModels {
  private static final int MAX_MODELS = 10_000;

  private final long graceNs;
  private final LinkedHashMap<String, Missing> models = new LinkedHashMap<>();

  private record Missing(long sinceNs, long lastNs) {}

  MissingModels(long graceNs) {
    this.graceNs = graceNs;
  }

  /** Notes that the model is not known and tells whether its grace period is over. */
  boolean isGivenUp(String model, long nowNs) {
    Missing before = models.get(model);
    // A model that nobody missed for this long may have come and gone.
    boolean fresh = before == null || nowNs - before.lastNs > 2 * graceNs;
    Missing now = new Missing(fresh || before == null ? nowNs : before.sinceNs, nowNs);
    models.put(model, now);
    if (models.size() > MAX_MODELS) {
      Map.Entry<String, Missing> oldest = models.firstEntry();
      models.remove(oldest.getKey());
    }
    return nowNs - now.sinceNs >= graceNs;
  }

  void found(String model) {
    if (!models.isEmpty()) {
      models.remove(model);
    }
  }
}
