package orlop.placement;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What one pod told the mesh, and what it has to say after the step under way: each model once, and
 * only what changed.
 */
final class Bulletin {
  private final Map<String, CopyState> told = new HashMap<>();
  private final Set<String> touched = new LinkedHashSet<>();

  /** The model may have changed. */
  void touch(String modelId) {
    touched.add(modelId);
  }

  @Nullable CopyState told(String modelId) {
    return told.get(modelId);
  }

  /** Unmodifiable; follows what is told. */
  Map<String, CopyState> all() {
    return Collections.unmodifiableMap(told);
  }

  /** What is new about the models touched since the last time. */
  List<Action> news(Map<String, CacheEntry> entries) {
    List<Action> news = new ArrayList<>();
    for (String id : touched) {
      CacheEntry entry = entries.get(id);
      CopyState state = entry == null ? null : entry.visible();
      CopyState before = state == null ? told.remove(id) : told.put(id, state);
      if (state == null ? before != null : !state.equals(before)) {
        news.add(new Action.Publish(id, state));
      }
    }
    touched.clear();
    return news;
  }
}
