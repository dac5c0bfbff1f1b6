package orlop.sim;

import java.util.List;
import orlop.placement.Action;
import orlop.placement.CacheConfig;
import orlop.placement.Event;
import orlop.placement.EvictionPolicy;
import orlop.placement.Memory;
import orlop.placement.ModelCache;
import orlop.placement.Usage;

/**
 * The production {@link ModelCache} in front of a runtime that loads and unloads at once. Models
 * are numbers; times are nanoseconds since the epoch and never run backwards.
 */
final class BareCache implements Usage {
  private static final int KEPT = EvictionPolicy.USES_KEPT;

  private final ModelCache cache;
  private final String[] ids;
  private final Stock.Item[] items;
  private final boolean[] loaded;
  private final long[] uses;
  private final long[] recent;
  private long tickNs;

  BareCache(Stock.Item[] items, long capacityBytes, EvictionPolicy policy) {
    this.items = items;
    ids = new String[items.length];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = Integer.toString(i);
    }
    loaded = new boolean[items.length];
    uses = new long[items.length];
    recent = new long[items.length * KEPT];
    CacheConfig config =
        new CacheConfig(
            Memory.ram(capacityBytes),
            Memory.ram(1),
            1_000_000,
            4,
            1_000,
            1_000,
            60_000,
            0,
            2_000,
            1,
            1,
            1,
            1);
    cache = new ModelCache(config, policy, this);
  }

  /** Calls the model, after a load when it is not here; true when it was. */
  boolean call(int model, long nowNs) {
    if (nowNs - tickNs >= Timeline.SECOND) {
      tickNs = nowNs;
      act(cache.step(new Event.Tick(), nowNs), nowNs);
    }
    boolean hit = loaded[model];
    if (!hit) {
      Memory size = Memory.ram(items[model].sizeBytes());
      act(cache.step(new Event.Wanted(ids[model], size, nowNs), nowNs), nowNs);
    }
    if (loaded[model]) {
      recent[model * KEPT + (int) (uses[model]++ % KEPT)] = nowNs;
    }
    return hit;
  }

  boolean holds(int model) {
    return loaded[model];
  }

  int residents() {
    return cache.residents();
  }

  private void act(List<Action> actions, long nowNs) {
    for (Action action : actions) {
      if (action instanceof Action.Unload(String id)) {
        loaded[Integer.parseInt(id)] = false;
        act(cache.step(new Event.UnloadDone(id), nowNs), nowNs);
      } else if (action instanceof Action.Load(String id)) {
        int model = Integer.parseInt(id);
        loaded[model] = true;
        uses[model] = 0;
        Memory size = Memory.ram(items[model].sizeBytes());
        act(cache.step(new Event.LoadDone(id, size, items[model].loadNs()), nowNs), nowNs);
      }
    }
  }

  // Usage.

  @Override
  public long lastUsedNs(String modelId) {
    int model = Integer.parseInt(modelId);
    return uses[model] == 0 ? 0 : useNs(model, 1);
  }

  private long useNs(int model, int k) {
    return recent[model * KEPT + (int) ((uses[model] - k) % KEPT)];
  }

  @Override
  public boolean pinned(String modelId) {
    return false;
  }

  @Override
  public long uses(String modelId) {
    return uses[Integer.parseInt(modelId)];
  }

  @Override
  public int recentUses(String modelId, long[] newestFirst) {
    int model = Integer.parseInt(modelId);
    int known = (int) Math.min(uses[model], KEPT);
    for (int k = 1; k <= known; k++) {
      newestFirst[k - 1] = useNs(model, k);
    }
    return known;
  }
}
