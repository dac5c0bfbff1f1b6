package orlop.placement;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The versions of the software that run, and which of them is the newest: the one whose first pod
 * started last. So an old version's pod that restarts late makes it no newer. One placement's; O(1)
 * for each pod.
 */
final class Versions {
  private @Nullable String only;
  private @Nullable Map<String, Long> firstMs;
  private long onlyFirstMs = Long.MAX_VALUE;

  void saw(Pod pod) {
    String version = pod.version();
    if (firstMs == null && (only == null || only.equals(version))) {
      only = version;
      onlyFirstMs = Math.min(onlyFirstMs, pod.startedMs());
      return;
    }
    if (firstMs == null) {
      firstMs = new HashMap<>();
      firstMs.put(String.valueOf(only), onlyFirstMs);
    }
    firstMs.merge(version, pod.startedMs(), Math::min);
  }

  /** Null while all run the same. */
  @Nullable String newest() {
    if (firstMs == null) {
      return null;
    }
    String newest = null;
    long newestMs = 0;
    for (Map.Entry<String, Long> entry : firstMs.entrySet()) {
      long ms = entry.getValue();
      boolean later =
          newest == null
              || ms > newestMs
              || (ms == newestMs && entry.getKey().compareTo(newest) > 0);
      if (later) {
        newest = entry.getKey();
        newestMs = ms;
      }
    }
    return newest;
  }
}
