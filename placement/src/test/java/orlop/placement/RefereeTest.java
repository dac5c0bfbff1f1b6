package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.benmanes.caffeine.cache.simulator.admission.Admission;
import com.github.benmanes.caffeine.cache.simulator.policy.AccessEvent;
import com.github.benmanes.caffeine.cache.simulator.policy.Policy;
import com.github.benmanes.caffeine.cache.simulator.policy.greedy_dual.GdsfPolicy;
import com.github.benmanes.caffeine.cache.simulator.policy.linked.LinkedPolicy;
import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntToLongFunction;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import orlop.sim.Replay;
import orlop.sim.Trace;
import orlop.sim.Traffic.Plan;
import orlop.sim.Traffic.Shape;

/**
 * The same traces through the simulator of the Caffeine project, for the policies that both have.
 */
class RefereeTest {
  private static final int MODELS = 800;
  private static final int CALLS = 60_000;
  private static final int KB = 1_000;

  private static Trace trace(Shape shape, long seed) {
    return Trace.of(Plan.of(shape, MODELS, 40, 0.9, seed), CALLS);
  }

  private static int kilobytes(Trace trace, int model) {
    return (int) (trace.stock().item(model).sizeBytes() / KB);
  }

  private static Config sized(long maximum) {
    return ConfigFactory.parseString("maximum-size = " + maximum)
        .withFallback(
            ConfigFactory.load(RefereeTest.class.getClassLoader()).getConfig("caffeine.simulator"));
  }

  private static void within1Percent(double theirs, double ours) {
    assertTrue(theirs > 0);
    assertEquals(1, ours / theirs, 0.01, () -> "theirs " + theirs + ", ours " + ours);
  }

  @ParameterizedTest
  @EnumSource(names = {"ZIPF", "SCAN"})
  void theCacheUnderLruMissesWhatTheirLruMisses(Shape shape) {
    Trace trace = trace(shape, 41);
    for (int percent : new int[] {5, 20}) {
      long capacity = trace.bytes(MODELS) / 100 * percent;
      Policy referee =
          new LinkedPolicy(
              sized(capacity / KB),
              Set.of(Policy.Characteristic.WEIGHTED),
              Admission.ALWAYS,
              LinkedPolicy.EvictionPolicy.LRU);
      for (int i = 0; i < trace.calls(); i++) {
        int model = trace.model(i);
        referee.record(AccessEvent.forKeyAndWeight(model, kilobytes(trace, model)));
      }
      Replay.Result ours = Replay.run(trace, capacity, Eviction.LRU.policy(), 0);
      within1Percent(referee.stats().missRate(), ours.missRatio());
    }
  }

  /** Equal sizes: with others our cache spares models where theirs does not, and misses less. */
  @ParameterizedTest
  @EnumSource
  void ourLruMissesExactlyWhatTheirsMisses(Shape shape) {
    Trace trace = trace(shape, 46);
    Policy referee =
        new LinkedPolicy(
            sized(MODELS / 10),
            Set.of(Policy.Characteristic.WEIGHTED),
            Admission.ALWAYS,
            LinkedPolicy.EvictionPolicy.LRU);
    Newcomers ours = new Newcomers(Eviction.LRU, MODELS / 10, _ -> 1);
    for (int i = 0; i < trace.calls(); i++) {
      referee.record(AccessEvent.forKeyAndWeight(trace.model(i), 1));
      ours.call(trace.model(i), 1);
    }
    assertEquals(referee.stats().missCount(), ours.misses);
  }

  @ParameterizedTest
  @ValueSource(longs = {42, 43})
  void ourGdsfMissesTheLoadTimeThatTheirsMisses(long seed) {
    Trace trace = trace(Shape.ZIPF, seed);
    Policy referee = new GdsfPolicy(sized(MODELS / 10));
    Newcomers ours = new Newcomers(Eviction.GDSF, MODELS / 10, _ -> 1);
    double theirMissedNs = 0;
    for (int i = 0; i < trace.calls(); i++) {
      int model = trace.model(i);
      long costNs = trace.stock().item(model).loadNs();
      long before = referee.stats().missCount();
      referee.record(AccessEvent.forKeyAndPenalties(model, 0, costNs));
      theirMissedNs += (double) costNs * (referee.stats().missCount() - before);
      ours.call(model, costNs);
    }
    within1Percent(referee.stats().missRate(), (double) ours.misses / CALLS);
    within1Percent(theirMissedNs, ours.missedNs);
  }

  @ParameterizedTest
  @ValueSource(longs = {44, 45})
  void ourGdsfMissesWhatTheirsMissesWithSizes(long seed) {
    Trace trace = trace(Shape.ZIPF, seed);
    long capacity = trace.bytes(MODELS) / 10 / KB;
    Policy referee = new GdsfPolicy(sized(capacity));
    Newcomers ours = new Newcomers(Eviction.GDSF, capacity, model -> kilobytes(trace, model));
    for (int i = 0; i < trace.calls(); i++) {
      int model = trace.model(i);
      referee.record(AccessEvent.forKeyAndWeight(model, kilobytes(trace, model)));
      ours.call(model, 1);
    }
    within1Percent(referee.stats().missRate(), (double) ours.misses / CALLS);
  }

  /**
   * The production classes that choose what leaves, in the referee's accounting: a newcomer may be
   * the first to leave, where the cache itself serves the call with it in any case.
   */
  private static final class Newcomers implements Usage {
    private final IntToLongFunction size;
    private final CacheMemory memory;
    private final Leavers leavers;
    private final Map<String, CacheEntry> entries = new HashMap<>();
    private final Map<String, Long> uses = new HashMap<>();
    private final Map<String, Long> lastUsed = new HashMap<>();
    private long nowNs = 1_000_000_000;
    private int misses;
    private double missedNs;

    Newcomers(Eviction eviction, long capacity, IntToLongFunction size) {
      this.size = size;
      memory = new CacheMemory(Memory.ram(capacity), Integer.MAX_VALUE);
      leavers = new Leavers(eviction.policy(), this, CacheConfig.defaults(Memory.ram(capacity)));
    }

    void call(int model, long costNs) {
      nowNs += 2;
      String id = Integer.toString(model);
      lastUsed.put(id, nowNs);
      if (entries.containsKey(id)) {
        uses.merge(id, 1L, Long::sum);
        return;
      }
      misses++;
      missedNs += costNs;
      uses.put(id, 1L);
      CacheEntry entry = new CacheEntry(id, Memory.ram(size.applyAsLong(model)));
      entry.phase = CacheEntry.Phase.LOADED;
      entry.history.loaded(costNs);
      entries.put(id, entry);
      memory.take(entry.size);
      leavers.loaded(entry, nowNs);
      Memory over = memory.missing(Memory.NONE);
      if (over.equals(Memory.NONE)) {
        return;
      }
      CacheEntry nobody = new CacheEntry("", Memory.NONE);
      nobody.live = true;
      List<CacheEntry> victims = leavers.choose(nobody, over, 0, false, nowNs);
      assertTrue(victims != null);
      if (victims.contains(entry)) {
        victims = List.of(entry);
      }
      for (CacheEntry victim : victims) {
        if (victim != entry) {
          leavers.evicted(victim, nowNs + 1);
        }
        leavers.leaves(victim);
        memory.giveBack(victim.size);
        entries.remove(victim.modelId);
      }
    }

    @Override
    public long lastUsedNs(String modelId) {
      return lastUsed.getOrDefault(modelId, 0L);
    }

    @Override
    public boolean pinned(String modelId) {
      return false;
    }

    @Override
    public long uses(String modelId) {
      return uses.getOrDefault(modelId, 0L);
    }
  }
}
