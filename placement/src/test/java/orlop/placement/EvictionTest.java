package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Which of the loaded models leaves. Loads and unloads are done at once. */
class EvictionTest {
  private static final long SECOND = 1_000_000_000L;

  private final Map<String, List<Long>> uses = new HashMap<>();
  private final Set<String> loaded = new HashSet<>();
  private final Set<String> kept = new HashSet<>();
  private final Set<String> elsewhere = new HashSet<>();
  private final Set<String> online = new HashSet<>();
  private final List<String> left = new ArrayList<>();
  private final Map<String, Long> costNs = new HashMap<>();
  private final Map<String, Long> sizes = new HashMap<>();
  private long asked;
  private long now = 1_700_000_000L * SECOND;
  private ModelCache cache = cache(100, Eviction.LRU);

  private final class Books implements Usage {
    private List<Long> of(String modelId) {
      return uses.getOrDefault(modelId, List.of());
    }

    @Override
    public long lastUsedNs(String modelId) {
      asked++;
      return of(modelId).isEmpty() ? 0 : of(modelId).getLast();
    }

    @Override
    public boolean pinned(String modelId) {
      return false;
    }

    @Override
    public long uses(String modelId) {
      return of(modelId).size();
    }

    @Override
    public int recentUses(String modelId, long[] newestFirst) {
      asked++;
      List<Long> all = of(modelId);
      int known = Math.min(all.size(), newestFirst.length);
      for (int i = 0; i < known; i++) {
        newestFirst[i] = all.get(all.size() - 1 - i);
      }
      return known;
    }

    @Override
    public long lastOnlineUseNs(String modelId) {
      return online.contains(modelId) ? lastUsedNs(modelId) : 0;
    }

    @Override
    public int copiesElsewhere(String modelId) {
      return elsewhere.contains(modelId) ? 1 : 0;
    }

    @Override
    public boolean kept(String modelId) {
      return kept.contains(modelId);
    }
  }

  private ModelCache cache(long bytes, Eviction eviction) {
    CacheConfig config =
        new CacheConfig(
            Memory.ram(bytes), Memory.ram(1), 100_000, 4, 100, 20, 60_000, 0, 2_000, 1, 1, 1, 1);
    return new ModelCache(config.with(eviction), new Books());
  }

  private List<Action.Outcome> want(String id, Event.Purpose purpose) {
    now += SECOND;
    List<Action.Outcome> answers = new ArrayList<>();
    Memory size = Memory.ram(sizes.getOrDefault(id, 10L));
    act(cache.step(new Event.Wanted(id, size, now, purpose), now), answers);
    return answers;
  }

  private void act(List<Action> actions, List<Action.Outcome> answers) {
    for (Action action : actions) {
      switch (action) {
        case Action.Load(String id) -> {
          loaded.add(id);
          Memory size = Memory.ram(sizes.getOrDefault(id, 10L));
          long tookNs = costNs.getOrDefault(id, SECOND);
          act(cache.step(new Event.LoadDone(id, size, tookNs), now), answers);
        }
        case Action.Unload(String id) -> {
          loaded.remove(id);
          uses.remove(id);
          left.add(id);
          act(cache.step(new Event.UnloadDone(id), now), answers);
        }
        case Action.Answer(String _, Action.Outcome outcome) -> answers.add(outcome);
        case Action.Publish _ -> {}
      }
    }
  }

  private void use(String id) {
    now += SECOND;
    uses.computeIfAbsent(id, _ -> new ArrayList<>()).add(now);
  }

  /** Wanted by a person and used. */
  private void call(String id) {
    if (!loaded.contains(id)) {
      want(id, Event.Purpose.ONLINE);
    }
    if (loaded.contains(id)) {
      use(id);
    }
  }

  @Test
  void lruEvictsInExactlyTheOrderOfLastUse() {
    cache = cache(2_000, Eviction.LRU);
    Random random = new Random(3);
    List<String> order = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      call("m" + i);
      order.add("m" + i);
    }
    for (int i = 0; i < 3_000; i++) {
      if (random.nextInt(4) > 0) {
        String id = order.get(random.nextInt(order.size()));
        call(id);
        order.remove(id);
        order.add(id);
      } else {
        call("n" + i);
        assertEquals(order.removeFirst(), left.getLast());
        order.add("n" + i);
      }
    }
    assertTrue(left.size() > 500);
  }

  @Test
  void greedyDualSizeKeepsWhatIsDearToLoad() {
    cache = cache(40, Eviction.GDS);
    costNs.put("dear", 100 * SECOND);
    call("dear");
    List.of("a", "b", "c", "d", "e").forEach(this::call);
    assertEquals(List.of("a", "b"), left);
  }

  @Test
  void theInflationClockLetsEvenTheDearGoInTheEnd() {
    cache = cache(40, Eviction.GDS);
    costNs.put("dear", 5 * SECOND);
    call("dear");
    for (int i = 0; i < 60 && loaded.contains("dear"); i++) {
      call("cheap" + i);
    }
    assertTrue(left.contains("dear"), () -> "left: " + left);
    assertTrue(left.size() > 5, () -> "left: " + left);
  }

  @Test
  void gdsfKeepsWhatIsUsedOften() {
    cache = cache(40, Eviction.GDSF);
    for (int i = 0; i < 10; i++) {
      call("often");
    }
    List.of("a", "b", "c", "d", "e").forEach(this::call);
    assertEquals(List.of("a", "b"), left);
  }

  @Test
  void densityEvictsWhatSavesLeastForItsSize() {
    cache = cache(100, Eviction.DENSITY);
    sizes.put("large", 60L);
    call("small");
    call("large");
    call("other");
    call("large");
    sizes.put("new", 30L);
    call("new");
    assertEquals(List.of("large"), left);
  }

  @Test
  void densityRemembersUsesAndCostsFromEarlierStays() {
    cache = cache(20, Eviction.DENSITY);
    for (int i = 0; i < 8; i++) {
      call("old");
    }
    call("a");
    sizes.put("giant", 20L);
    call("giant");
    call("old");
    call("b");
    call("c");
    assertTrue(loaded.contains("old"), () -> "left: " + left);
  }

  @ParameterizedTest
  @ValueSource(strings = {"DENSITY", "ADAPTIVE"})
  void ofTwoLikeModelsTheOneWithAnotherCopyLeaves(String eviction) {
    cache = cache(40, Eviction.valueOf(eviction));
    List.of("a", "b", "c", "d").forEach(this::call);
    elsewhere.add("c");
    call("e");
    assertEquals(List.of("c"), left);
  }

  @ParameterizedTest
  @EnumSource
  void whatItsOwnerPinnedStays(Eviction eviction) {
    cache = cache(40, eviction);
    call("a");
    kept.add("a");
    for (int i = 0; i < 50; i++) {
      call("x" + i);
    }
    assertTrue(loaded.contains("a"));
    assertTrue(left.size() > 40);
  }

  @Test
  void aBatchDisplacesNothingThatPeopleUsedLately() {
    call("a");
    online.add("a");
    sizes.put("rest", 60L);
    call("rest");
    online.add("rest");
    sizes.put("work", 40L);
    want("work", Event.Purpose.BATCH);
    assertTrue(left.isEmpty());
    now += 601 * SECOND;
    want("work", Event.Purpose.BATCH);
    assertTrue(loaded.contains("work"));
    assertEquals(List.of("a"), left);
  }

  @Test
  void batchesHoldAtMostTheirShare() {
    for (int i = 0; i < 20; i++) {
      want("work" + i, Event.Purpose.BATCH);
      use("work" + i);
    }
    assertEquals(5, loaded.size());
    assertEquals(50, cache.used().ramBytes());
    assertEquals(15, left.size());
  }

  @Test
  void whatAPersonWantsIsNoLongerABatchs() {
    for (int i = 0; i < 5; i++) {
      want("work" + i, Event.Purpose.BATCH);
    }
    want("work0", Event.Purpose.ONLINE);
    want("work5", Event.Purpose.BATCH);
    assertEquals(6, loaded.size());
  }

  @Test
  void aModelLargerThanTheShareOfBatchesIsRefusedToABatchWithTheNumbers() {
    sizes.put("large", 60L);
    Action.Outcome answer = want("large", Event.Purpose.BATCH).getFirst();
    assertInstanceOf(Action.Outcome.NoRoom.class, answer);
    assertTrue(answer.toString().contains("ramBytes=60"), answer::toString);
    want("large", Event.Purpose.ONLINE);
    assertTrue(loaded.contains("large"));
  }

  @Test
  void aPrefetchedModelStaysUntilItsLeaseEnds() {
    want("foreseen", Event.Purpose.PREFETCH);
    for (int i = 0; i < 30; i++) {
      call("x" + i);
    }
    assertTrue(loaded.contains("foreseen"));
    now += 300 * SECOND;
    for (int i = 30; i < 60; i++) {
      call("x" + i);
    }
    assertTrue(left.contains("foreseen"));
  }

  @Test
  void aPrefetchedModelMayLeaveOnceItWasUsed() {
    want("foreseen", Event.Purpose.PREFETCH);
    use("foreseen");
    for (int i = 0; i < 30; i++) {
      call("x" + i);
    }
    assertTrue(left.contains("foreseen"));
  }

  @Test
  void leasesHoldAtMostTheirShare() {
    for (int i = 0; i < 10; i++) {
      want("foreseen" + i, Event.Purpose.PREFETCH);
    }
    for (int i = 0; i < 30; i++) {
      call("x" + i);
    }
    assertEquals(2, loaded.stream().filter(id -> id.startsWith("foreseen")).count());
  }

  @ParameterizedTest
  @EnumSource
  void anEvictionLooksAtFewOfTwentyThousand(Eviction eviction) {
    int residents = 20_000;
    cache = cache(residents * 10L, eviction);
    for (int i = 0; i < residents; i++) {
      call("m" + i);
    }
    call("warm");
    asked = 0;
    for (int i = 0; i < 100; i++) {
      call("new" + i);
    }
    assertEquals(101, left.size());
    assertTrue(asked / 100 < 64 * 8, () -> asked / 100 + " questions for each that leaves");
  }

  @ParameterizedTest
  @EnumSource
  void equalHistoriesEvictAlike(Eviction eviction) {
    List<String> first = randomHistory(eviction);
    List<String> second = new EvictionTest().randomHistory(eviction);
    assertEquals(first, second);
    assertTrue(first.size() > 500);
  }

  private List<String> randomHistory(Eviction eviction) {
    cache = cache(2_000, eviction);
    Random random = new Random(9);
    for (int i = 0; i < 3_000; i++) {
      call("m" + random.nextInt(400));
      cache.step(new Event.Tick(), now);
    }
    return left;
  }

  @Test
  void thePolicyIsNamedInLowerCase() {
    assertEquals(Eviction.GDSF, Eviction.named("gdsf"));
    IllegalArgumentException refused =
        assertThrows(IllegalArgumentException.class, () -> Eviction.named("fifo"));
    assertTrue(refused.toString().contains("'fifo'"), refused::toString);
    assertTrue(refused.toString().contains("adaptive"), refused::toString);
  }
}
