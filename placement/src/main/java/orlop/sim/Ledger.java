package orlop.sim;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.Memory;
import orlop.placement.Usage;

/**
 * What a pod's runtime really holds and how it is used: kept apart from its cache, to check the
 * cache by.
 */
final class Ledger implements Usage {
  /** One model in the runtime. Mutable. */
  static final class Holding {
    Memory size;
    Memory surprise = Memory.NONE;
    boolean callable;
    boolean unloading;
    boolean stuck;
    boolean letGo;

    /** The cache hears just now that it is loaded, and may find it too large to stay. */
    boolean arriving;

    int pins;
    long lastUsedNs;
    long lastOnlineUseNs;
    int uses;
    private final long[] starts = new long[4];

    Holding(Memory size) {
      this.size = size;
    }

    /** A call begins. */
    void used(long nowNs, boolean online) {
      lastUsedNs = nowNs;
      lastOnlineUseNs = online ? nowNs : lastOnlineUseNs;
      starts[uses++ % starts.length] = nowNs;
    }

    int recentUses(long[] newestFirst) {
      int count = Math.min(Math.min(uses, starts.length), newestFirst.length);
      for (int i = 0; i < count; i++) {
        newestFirst[i] = starts[(uses - 1 - i) % starts.length];
      }
      return count;
    }
  }

  private final Map<String, Holding> holdings = new HashMap<>();
  private Memory used = Memory.NONE;
  private Memory unloading = Memory.NONE;
  private Memory stuck = Memory.NONE;
  private Memory surprise = Memory.NONE;

  @Nullable Holding get(String modelId) {
    return holdings.get(modelId);
  }

  boolean holds(String modelId) {
    return holdings.containsKey(modelId);
  }

  Set<String> models() {
    return holdings.keySet();
  }

  /** How many are being loaded. */
  int loading() {
    int loading = 0;
    for (Holding holding : holdings.values()) {
      loading += holding.callable || holding.unloading ? 0 : 1;
    }
    return loading;
  }

  /** Somebody asked for it to go. */
  void letGo(String modelId) {
    Holding holding = holdings.get(modelId);
    if (holding != null) {
      holding.letGo = true;
    }
  }

  Holding take(String modelId, Memory size) {
    Holding holding = new Holding(size);
    holdings.put(modelId, holding);
    used = used.plus(size);
    return holding;
  }

  void measured(Holding holding, Memory size) {
    used = used.minus(holding.size).plus(size);
    holding.surprise = size.minus(holding.size);
    surprise = surprise.plus(holding.surprise);
    holding.size = size;
    holding.callable = true;
  }

  void unloading(Holding holding) {
    holding.callable = false;
    if (!holding.unloading) {
      holding.unloading = true;
      unloading = unloading.plus(holding.size);
    }
  }

  void stuck(Holding holding) {
    if (!holding.stuck) {
      holding.stuck = true;
      stuck = stuck.plus(holding.size);
    }
  }

  void gone(String modelId) {
    Holding holding = holdings.remove(modelId);
    if (holding == null) {
      return;
    }
    used = used.minus(holding.size);
    surprise = surprise.minus(holding.surprise);
    if (holding.unloading) {
      unloading = unloading.minus(holding.size);
    }
    if (holding.stuck) {
      stuck = stuck.minus(holding.size);
    }
  }

  Memory used() {
    return used;
  }

  /** What stays when the unloads under way are done; failed ones count as staying. */
  Memory kept() {
    return used.minus(unloading).plus(stuck);
  }

  Memory stuck() {
    return stuck;
  }

  /** By how much models that are still here came out larger than expected. */
  Memory surprise() {
    return surprise;
  }

  /** Whether the unload was neither asked for nor due to the model itself. */
  boolean evictedForRoom(String modelId) {
    Holding holding = holdings.get(modelId);
    return holding != null && !holding.letGo && !holding.stuck;
  }

  /** Whether it may leave because it came out larger than what may leave for it. */
  boolean arriving(String modelId) {
    Holding holding = holdings.get(modelId);
    return holding != null && holding.arriving;
  }

  /** Whether batches used it, and nobody else. */
  boolean onlyBatches(String modelId) {
    Holding holding = holdings.get(modelId);
    return holding != null && holding.uses > 0 && holding.lastOnlineUseNs == 0;
  }

  long bytes(String modelId) {
    Holding holding = holdings.get(modelId);
    return holding == null ? 0 : holding.size.ramBytes();
  }

  // Usage.

  @Override
  public long lastUsedNs(String modelId) {
    Holding holding = holdings.get(modelId);
    return holding == null ? 0 : holding.lastUsedNs;
  }

  @Override
  public long lastOnlineUseNs(String modelId) {
    Holding holding = holdings.get(modelId);
    return holding == null ? 0 : holding.lastOnlineUseNs;
  }

  @Override
  public long uses(String modelId) {
    Holding holding = holdings.get(modelId);
    return holding == null ? 0 : holding.uses;
  }

  @Override
  public int recentUses(String modelId, long[] newestFirst) {
    Holding holding = holdings.get(modelId);
    return holding == null ? 0 : holding.recentUses(newestFirst);
  }

  @Override
  public boolean pinned(String modelId) {
    Holding holding = holdings.get(modelId);
    return holding != null && holding.pins > 0;
  }
}
