package orlop.placement;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The step under way of one {@link ModelCache}: when it is, and what it has made necessary so far.
 * Owned by the cache.
 */
final class Step {
  static final long MS = 1_000_000;

  private final Bulletin bulletin = new Bulletin();
  private List<Action> acts = new ArrayList<>();
  private long nowNs;

  /** A clock that went backwards counts as standing still. */
  void begin(long atNs) {
    nowNs = Math.max(nowNs, atNs);
  }

  long nowNs() {
    return nowNs;
  }

  long nowMs() {
    return nowNs / MS;
  }

  /** What the mesh sees of the entry may be different now. */
  void changed(CacheEntry entry) {
    bulletin.touch(entry.modelId);
  }

  void load(CacheEntry entry) {
    acts.add(new Action.Load(entry.modelId));
  }

  void unload(CacheEntry entry) {
    acts.add(new Action.Unload(entry.modelId));
  }

  /** Nobody waits for the entry any more. */
  void answer(CacheEntry entry, Action.Outcome outcome) {
    entry.waiting = false;
    entry.live = false;
    acts.add(new Action.Answer(entry.modelId, outcome));
  }

  /** What the mesh shall see, then what is to be done. */
  List<Action> end(Map<String, CacheEntry> entries) {
    List<Action> result = bulletin.news(entries);
    result.addAll(acts);
    acts = new ArrayList<>();
    return result;
  }

  @Nullable CopyState told(String modelId) {
    return bulletin.told(modelId);
  }

  /** Unmodifiable; follows what is told. */
  Map<String, CopyState> allTold() {
    return bulletin.all();
  }
}
