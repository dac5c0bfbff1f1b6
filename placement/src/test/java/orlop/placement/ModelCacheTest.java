package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** One pod of 100 bytes, two loads at a time, driven by hand. */
class ModelCacheTest {
  private static final long MS = 1_000_000;
  private static final long SECOND = 1000 * MS;
  private static final long EPOCH = 1_700_000_000L * SECOND;

  private final Map<String, Long> lastUsed = new HashMap<>();
  private final Set<String> pinned = new HashSet<>();
  private long now = EPOCH;
  private ModelCache cache = cache(config(100, 2, 10, 1000));

  private static CacheConfig config(long bytes, int loads, int queued, int residents) {
    return new CacheConfig(
        Memory.ram(bytes),
        Memory.ram(5),
        residents,
        loads,
        queued,
        20,
        60_000,
        1_000,
        2_000,
        1_000,
        60_000,
        1_000,
        8_000);
  }

  private ModelCache cache(CacheConfig config) {
    return new ModelCache(
        config,
        EvictionPolicy.LRU,
        new Usage() {
          @Override
          public long lastUsedNs(String modelId) {
            return lastUsed.getOrDefault(modelId, 0L);
          }

          @Override
          public boolean pinned(String modelId) {
            return pinned.contains(modelId);
          }
        });
  }

  private List<Action> step(Event event) {
    return cache.step(event, now);
  }

  private List<Action> want(String id, long bytes) {
    return step(new Event.Wanted(id, Memory.ram(bytes), now));
  }

  private List<Action> plan(String id, long bytes, long lastUsedNs) {
    return step(new Event.Wanted(id, Memory.ram(bytes), lastUsedNs));
  }

  private List<Action> done(String id, long bytes) {
    return step(new Event.LoadDone(id, Memory.ram(bytes)));
  }

  private List<Action> tick(long afterMs) {
    now += afterMs * MS;
    return step(new Event.Tick());
  }

  /** Loaded, its grace over. */
  private void loaded(String id, long bytes) {
    want(id, bytes);
    done(id, bytes);
    tick(1_000);
  }

  private static List<String> loads(List<Action> actions) {
    return actions.stream()
        .filter(Action.Load.class::isInstance)
        .map(a -> ((Action.Load) a).modelId())
        .toList();
  }

  private static List<String> unloads(List<Action> actions) {
    return actions.stream()
        .filter(Action.Unload.class::isInstance)
        .map(a -> ((Action.Unload) a).modelId())
        .toList();
  }

  private static List<Action.Outcome> answers(List<Action> actions, String id) {
    return actions.stream()
        .filter(a -> a instanceof Action.Answer answer && answer.modelId().equals(id))
        .map(a -> ((Action.Answer) a).outcome())
        .toList();
  }

  private static <T extends Action.Outcome> T only(Class<T> type, List<Action> actions, String id) {
    List<Action.Outcome> outcomes = answers(actions, id);
    assertEquals(1, outcomes.size(), () -> "answers for " + id + " in " + actions);
    return assertInstanceOf(type, outcomes.getFirst());
  }

  @Test
  void aThousandWantsCauseOneLoadAndOneAnswer() {
    assertEquals(List.of("m"), loads(want("m", 10)));
    for (int i = 0; i < 1000; i++) {
      assertEquals(List.of(), want("m", 10));
    }
    List<Action> actions = done("m", 10);
    only(Action.Outcome.Ready.class, actions, "m");
    only(Action.Outcome.Ready.class, want("m", 10), "m");
  }

  @Test
  void takesMemoryAtTheStartCorrectsItWhenLoadedAndReturnsItAfterTheUnload() {
    want("m", 30);
    assertEquals(Memory.ram(30), cache.used());
    done("m", 20);
    assertEquals(Memory.ram(20), cache.used());
    tick(1_000);
    assertEquals(List.of("m"), unloads(step(new Event.Unwanted("m"))));
    assertEquals(Memory.ram(20), cache.used());
    assertEquals(new CopyState.Unloading(), cache.state("m"));
    step(new Event.UnloadDone("m"));
    assertEquals(Memory.NONE, cache.used());
    assertEquals(0, cache.residents());
    assertNull(cache.state("m"));
  }

  @Test
  void publishesEachVisibleChangeOnce() {
    assertEquals(
        List.of(new Action.Publish("m", new CopyState.Loading()), new Action.Load("m")),
        want("m", 10));
    now += 5 * SECOND;
    assertEquals(
        new Action.Publish("m", new CopyState.Loaded(Memory.ram(12), 5_000)),
        done("m", 12).getFirst());
    tick(1_000);
    assertEquals(
        List.of(new Action.Publish("m", new CopyState.Unloading()), new Action.Unload("m")),
        step(new Event.Unwanted("m")));
    assertEquals(List.of(new Action.Publish("m", null)), step(new Event.UnloadDone("m")));
  }

  @Test
  void evictsTheLeastRecentlyUsedModelThatNobodyHolds() {
    for (String id : List.of("a", "b", "c", "d")) {
      loaded(id, 25);
    }
    pinned.add("a");
    lastUsed.put("b", now);
    List<Action> actions = want("m", 25);
    assertEquals(List.of("c"), unloads(actions));
    assertEquals(List.of(), loads(actions));
    assertEquals(List.of("m"), loads(step(new Event.UnloadDone("c"))));
  }

  @Test
  void aSlowUnloadNeverMakesASecondModelLeaveForTheSameNeed() {
    for (String id : List.of("a", "b", "c", "d")) {
      loaded(id, 25);
    }
    assertEquals(List.of("a"), unloads(want("m", 20)));
    for (int i = 0; i < 30; i++) {
      assertEquals(List.of(), unloads(want("m", 20)));
      assertEquals(List.of(), unloads(tick(1_000)));
    }
  }

  @Test
  void sparesTheSmallOnesWhenTheBigOneMustLeaveAnyway() {
    loaded("a", 10);
    loaded("b", 10);
    loaded("c", 60);
    assertEquals(List.of("c"), unloads(want("m", 70)));
  }

  @Test
  void neverUnloadsAPinnedModelForAnother() {
    loaded("a", 50);
    loaded("b", 50);
    pinned.addAll(List.of("a", "b"));
    List<Action> actions = want("m", 50);
    assertEquals(List.of(), unloads(actions));
    assertEquals(List.of(), answers(actions, "m"));
    assertEquals(1, cache.loadsQueued());
    pinned.remove("b");
    assertEquals(List.of("b"), unloads(tick(1_000)));
    step(new Event.UnloadDone("b"));
    only(Action.Outcome.Ready.class, done("m", 50), "m");
  }

  @Test
  void aWaitForMemoryEndsWithTheNumbers() {
    loaded("a", 100);
    pinned.add("a");
    want("m", 50);
    assertEquals(List.of(), answers(tick(59_000), "m"));
    Action.Outcome.NoRoom none = only(Action.Outcome.NoRoom.class, tick(1_000), "m");
    assertTrue(none.why().contains("ramBytes=50"), none.why());
    assertNull(cache.state("m"));
    assertEquals(0, cache.loadsQueued());
  }

  @Test
  void aModelLargerThanThePodIsRefusedWithTheNumbers() {
    Action.Outcome.NoRoom none = only(Action.Outcome.NoRoom.class, want("m", 101), "m");
    assertTrue(none.why().contains("101") && none.why().contains("100"), none.why());
    assertNull(cache.state("m"));
  }

  @Test
  void aPlanDisplacesOnlyWhatWasUsedEarlier() {
    loaded("a", 100);
    long aUsed = now;
    lastUsed.put("a", aUsed);
    now += 60 * SECOND;
    List<Action> refused = plan("m", 50, aUsed - SECOND);
    only(Action.Outcome.NoRoom.class, refused, "m");
    assertEquals(List.of(), unloads(refused));
    assertEquals(1, refused.size(), () -> "a refused plan is never announced: " + refused);
    assertEquals(List.of("a"), unloads(plan("m", 50, aUsed + SECOND)));
  }

  @Test
  void aPlanUsesFreeMemoryWhateverItsAge() {
    loaded("a", 50);
    assertEquals(List.of("m"), loads(plan("m", 50, 0)));
  }

  @Test
  void callsGoBeforePlans() {
    want("a", 10);
    want("b", 10);
    plan("p", 10, 0);
    want("c", 10);
    assertEquals(List.of("c"), loads(done("a", 10)));
    assertEquals(List.of("p"), loads(done("b", 10)));
  }

  @Test
  void aPlanThatACallJoinsIsACall() {
    want("a", 10);
    want("b", 10);
    plan("p", 10, 0);
    plan("q", 10, 0);
    want("q", 10);
    assertEquals(List.of("q"), loads(done("a", 10)));
  }

  @Test
  void aLargeLoadIsNotStarvedBySmallOnes() {
    loaded("a", 40);
    loaded("b", 40);
    pinned.addAll(List.of("a", "b"));
    assertEquals(List.of(), loads(want("large", 60)));
    assertEquals(List.of(), loads(want("small", 10)));
    pinned.remove("a");
    List<Action> actions = tick(1_000);
    assertEquals(List.of("a"), unloads(actions));
    assertEquals(List.of(), loads(actions));
    assertEquals(List.of("large"), loads(step(new Event.UnloadDone("a"))));
  }

  @Test
  void aSmallLoadGoesAheadWhenTheLargeOneLosesNothing() {
    loaded("a", 40);
    loaded("b", 40);
    assertEquals(List.of("a"), unloads(want("large", 50)));
    assertEquals(List.of("small"), loads(want("small", 10)));
    assertEquals(List.of("large"), loads(step(new Event.UnloadDone("a"))));
  }

  @Test
  void keepsTheBoundOfConcurrentLoads() {
    want("a", 1);
    want("b", 1);
    assertEquals(List.of(), loads(want("c", 1)));
    assertEquals(3, cache.loadsQueued());
    assertEquals(List.of("c"), loads(done("a", 1)));
  }

  @Test
  void refusesWhenTheQueueIsFull() {
    for (int i = 0; i < 12; i++) {
      assertEquals(List.of(), answers(want("m" + i, 1), "m" + i));
    }
    only(Action.Outcome.NoRoom.class, want("m12", 1), "m12");
    assertEquals(12, cache.loadsQueued());
  }

  @Test
  void keepsTheBoundOfResidents() {
    cache = cache(config(100, 2, 10, 2));
    loaded("a", 1);
    loaded("b", 1);
    assertEquals(List.of("a"), unloads(want("m", 1)));
    assertEquals(List.of("m"), loads(step(new Event.UnloadDone("a"))));
    assertEquals(2, cache.residents());
  }

  @Test
  void assumesASizeForAModelThatNobodyMeasured() {
    want("m", 0);
    assertEquals(Memory.ram(5), cache.used());
  }

  @Test
  void aModelThatCameOutLargerMakesOthersLeaveAtOnce() {
    loaded("a", 40);
    loaded("b", 40);
    want("m", 20);
    List<Action> actions = done("m", 50);
    only(Action.Outcome.Ready.class, actions, "m");
    assertEquals(List.of("a"), unloads(actions));
    assertEquals(Memory.ram(130), cache.used());
    step(new Event.UnloadDone("a"));
    assertEquals(Memory.ram(90), cache.used());
  }

  @Test
  void aModelThatCameOutLargerGivesWayToPinnedOnesAndComesBack() {
    loaded("a", 80);
    pinned.add("a");
    want("m", 20);
    List<Action> actions = done("m", 30);
    assertEquals(List.of("m"), unloads(actions));
    assertEquals(List.of(), answers(actions, "m"));
    step(new Event.UnloadDone("m"));
    pinned.remove("a");
    assertEquals(List.of("a"), unloads(tick(1_000)));
    assertEquals(List.of("m"), loads(step(new Event.UnloadDone("a"))));
    assertEquals(Memory.ram(30), cache.used());
    only(Action.Outcome.Ready.class, done("m", 30), "m");
  }

  @Test
  void aModelThatCameOutLargerThanThePodLeavesForGood() {
    want("m", 20);
    List<Action> actions = done("m", 120);
    Action.Outcome.Failed failed = only(Action.Outcome.Failed.class, actions, "m");
    assertTrue(failed.reason().contains("120") && failed.reason().contains("100"));
    assertEquals(List.of("m"), unloads(actions));
    only(Action.Outcome.Failed.class, want("m", 20), "m");
    step(new Event.UnloadDone("m"));
    assertEquals(
        new CopyState.FailedToLoad(Fault.CAPACITY, failed.reason(), Long.MAX_VALUE),
        cache.state("m"));
    assertEquals(Memory.NONE, cache.used());
    now += 10_000 * SECOND;
    only(Action.Outcome.Failed.class, want("m", 20), "m");
  }

  @Test
  void retriesAFailedLoadAfterAGrowingPause() {
    long[] delays = new long[9];
    for (int i = 0; i < delays.length; i++) {
      want("m", 10);
      List<Action> actions = step(new Event.LoadFailed("m", "timeout", Fault.TRANSIENT));
      Action.Outcome.Failed failed = only(Action.Outcome.Failed.class, actions, "m");
      delays[i] = failed.retryAtMs() - now / MS;
      assertEquals(Memory.NONE, cache.used());
      now = (failed.retryAtMs() - 1) * MS;
      assertEquals(List.of(), loads(want("m", 10)));
      only(Action.Outcome.Failed.class, want("m", 10), "m");
      now += MS;
    }
    assertTrue(delays[0] > 750 && delays[0] <= 1_000, "first " + delays[0]);
    assertTrue(delays[1] > 1_500 && delays[1] <= 2_000, "second " + delays[1]);
    assertTrue(delays[8] > 45_000 && delays[8] <= 60_000, "last " + delays[8]);
  }

  @Test
  void aModelAtFaultPausesForTheLongestTimeUnlessItIsForgotten() {
    want("m", 10);
    List<Action> actions = step(new Event.LoadFailed("m", "no such object", Fault.PERMANENT));
    Action.Outcome.Failed failed = only(Action.Outcome.Failed.class, actions, "m");
    assertEquals(Fault.PERMANENT, failed.fault());
    long pauseMs = failed.retryAtMs() - now / MS;
    assertTrue(pauseMs > 45_000 && pauseMs <= 60_000, "pauses " + pauseMs);
    now = (failed.retryAtMs() - 1) * MS;
    assertEquals("no such object", only(Action.Outcome.Failed.class, want("m", 10), "m").reason());
    assertEquals(List.of(new Action.Publish("m", null)), step(new Event.Forgotten("m")));
    assertEquals(List.of("m"), loads(want("m", 10)));
  }

  @Test
  void anotherSettingEndsThePausesOfWhatItMayHelp() {
    want("secret", 10);
    step(new Event.LoadFailed("secret", "access denied", Fault.CONFIGURATION));
    want("missing", 10);
    step(new Event.LoadFailed("missing", "no such object", Fault.PERMANENT));
    want("large", 10);
    done("large", 120);
    step(new Event.UnloadDone("large"));
    only(Action.Outcome.Failed.class, want("secret", 10), "secret");

    List<Action> actions = step(new Event.Reconfigured());
    assertTrue(actions.contains(new Action.Publish("secret", null)), actions.toString());
    assertTrue(actions.contains(new Action.Publish("missing", null)), actions.toString());
    assertEquals(List.of("secret"), loads(want("secret", 10)));
    assertEquals(List.of("missing"), loads(want("missing", 10)));
    only(Action.Outcome.Failed.class, want("large", 10), "large");
  }

  @Test
  void anOldFailureIsForgotten() {
    want("m", 10);
    step(new Event.LoadFailed("m", "timeout", Fault.TRANSIENT));
    tick(62_000);
    assertNull(cache.state("m"));
  }

  @Test
  void remembersABoundedNumberOfFailures() {
    for (int i = 0; i < 30; i++) {
      want("m" + i, 10);
      step(new Event.LoadFailed("m" + i, "bad", Fault.PERMANENT));
    }
    assertEquals(20, cache.states().size());
    assertNull(cache.state("m0"));
  }

  @Test
  void aFailedUnloadKeepsItsMemoryAndIsRetriedUntilItSucceeds() {
    loaded("a", 100);
    assertEquals(List.of("a"), unloads(step(new Event.Unwanted("a"))));
    int retries = 0;
    for (int i = 0; i < 100; i++) {
      step(new Event.UnloadFailed("a", "busy"));
      assertEquals(Memory.ram(100), cache.used());
      assertEquals(new CopyState.Unloading(), cache.state("a"));
      assertEquals(1, cache.unloadsFailing());
      retries += unloads(tick(1_000)).size();
    }
    assertTrue(retries >= 10 && retries < 30, "retries " + retries);
    while (unloads(tick(1_000)).isEmpty()) {
      assertTrue(now < EPOCH + 1000 * SECOND);
    }
    step(new Event.UnloadDone("a"));
    assertEquals(Memory.NONE, cache.used());
    assertEquals(0, cache.unloadsFailing());
  }

  @Test
  void anotherLeavesWhenAnUnloadFails() {
    loaded("a", 50);
    loaded("b", 50);
    assertEquals(List.of("a"), unloads(want("m", 40)));
    assertEquals(List.of("b"), unloads(step(new Event.UnloadFailed("a", "busy"))));
  }

  @Test
  void aModelWantedWhileItLeavesComesBackAfterwards() {
    loaded("a", 50);
    step(new Event.Unwanted("a"));
    assertEquals(List.of(), want("a", 50));
    assertEquals(List.of("a"), loads(step(new Event.UnloadDone("a"))));
    only(Action.Outcome.Ready.class, done("a", 50), "a");
  }

  @Test
  void aModelStaysForAMomentSoThatThoseWhoWaitedCanUseIt() {
    want("a", 100);
    want("b", 100);
    assertEquals(List.of(), unloads(done("a", 100)));
    assertEquals(List.of(), unloads(tick(999)));
    assertEquals(List.of("a"), unloads(tick(1)));
  }

  @Test
  void anUnwantedModelLeavesWhenItIsIdle() {
    loaded("a", 50);
    pinned.add("a");
    assertEquals(List.of(), unloads(step(new Event.Unwanted("a"))));
    pinned.clear();
    assertEquals(List.of("a"), unloads(tick(1_000)));
  }

  @Test
  void anUnwantedModelThatIsWantedAgainStays() {
    loaded("a", 50);
    pinned.add("a");
    step(new Event.Unwanted("a"));
    want("a", 50);
    pinned.clear();
    assertEquals(List.of(), unloads(tick(60_000)));
  }

  @Test
  void anUnregisteredModelLeavesInEveryState() {
    want("loading", 10);
    only(Action.Outcome.Failed.class, step(new Event.Forgotten("loading")), "loading");
    assertEquals(List.of("loading"), unloads(done("loading", 10)));
    step(new Event.UnloadDone("loading"));
    loaded("loaded", 10);
    assertEquals(List.of("loaded"), unloads(step(new Event.Forgotten("loaded"))));
    step(new Event.UnloadDone("loaded"));
    want("x", 10);
    want("y", 10);
    want("queued", 10);
    only(Action.Outcome.Failed.class, step(new Event.Forgotten("queued")), "queued");
    want("x", 10);
    step(new Event.Forgotten("x"));
    assertEquals(List.of(), answers(step(new Event.LoadFailed("x", "gone", Fault.TRANSIENT)), "x"));
    done("y", 10);
    assertEquals(Set.of("y"), cache.states().keySet());
    assertEquals(Memory.ram(10), cache.used());
  }

  @Test
  void aDrainingPodLoadsNothingNewButKeepsWhatItHas() {
    loaded("a", 10);
    want("b", 10);
    want("c", 10);
    want("d", 10);
    only(Action.Outcome.Draining.class, step(new Event.Draining()), "d");
    assertTrue(cache.draining());
    only(Action.Outcome.Draining.class, want("e", 10), "e");
    only(Action.Outcome.Ready.class, want("a", 10), "a");
    only(Action.Outcome.Ready.class, done("b", 10), "b");
    assertFalse(cache.states().containsKey("d"));
  }

  @Test
  void aReportThatNobodyWaitsForChangesNothing() {
    loaded("a", 10);
    for (Event stray :
        List.of(
            new Event.LoadDone("a", Memory.ram(90)),
            new Event.LoadFailed("a", "x", Fault.PERMANENT),
            new Event.UnloadDone("a"),
            new Event.UnloadFailed("a", "x"),
            new Event.LoadDone("ghost", Memory.ram(90)),
            new Event.UnloadDone("ghost"),
            new Event.Unwanted("ghost"),
            new Event.Forgotten("ghost"))) {
      assertEquals(List.of(), step(stray), stray::toString);
    }
    assertEquals(Memory.ram(10), cache.used());
  }

  @Test
  void tellsTheLastUseOfWhatWouldLeaveFirst() {
    assertEquals(0, cache.oldestUseNs());
    loaded("a", 10);
    long aUsed = now - SECOND;
    loaded("b", 10);
    assertEquals(aUsed, cache.oldestUseNs());
    lastUsed.put("a", now);
    assertEquals(now - SECOND, cache.oldestUseNs());
  }

  @Test
  void bothKindsOfMemoryMustFit() {
    cache =
        cache(
            new CacheConfig(
                new Memory(100, 100), Memory.NONE, 100, 4, 10, 10, 60_000, 0, 2_000, 1, 1, 1, 1));
    step(new Event.Wanted("ram", new Memory(90, 0), now));
    step(new Event.LoadDone("ram", new Memory(90, 0)));
    step(new Event.Wanted("vram", new Memory(0, 90), now));
    step(new Event.LoadDone("vram", new Memory(0, 90)));
    now += 5 * SECOND;
    assertEquals(List.of("vram"), unloads(step(new Event.Wanted("m", new Memory(5, 50), now))));
  }

  @Test
  void refusesAConfigurationOutOfRange() {
    IllegalArgumentException thrown =
        assertThrows(IllegalArgumentException.class, () -> config(100, 0, 10, 10));
    assertTrue(
        String.valueOf(thrown.getMessage())
            .contains("maxConcurrentLoads is 0, must be at least 1"));
  }

  @Test
  void aMeasuredSizeBeyondAllBoundsUpsetsNobodysAccount() {
    loaded("a", 40);
    want("m", 10);
    want("n", 10);
    only(Action.Outcome.Failed.class, done("m", Long.MAX_VALUE), "m");
    only(Action.Outcome.Failed.class, done("n", Long.MAX_VALUE), "n");
    step(new Event.UnloadDone("m"));
    step(new Event.UnloadDone("n"));
    assertEquals(Memory.ram(40), cache.used());
  }

  @Test
  void aPlannedLoadThatIsPlannedAgainAfterItWasUnwantedStays() {
    plan("m", 10, now - 60 * SECOND);
    step(new Event.Unwanted("m"));
    plan("m", 10, now - 60 * SECOND);
    only(Action.Outcome.Ready.class, done("m", 10), "m");
    assertEquals(List.of(), unloads(tick(1_000)));
  }

  @Test
  void aPlannedReturnThatIsNoLongerWantedIsCancelled() {
    loaded("a", 50);
    step(new Event.Unwanted("a"));
    plan("a", 50, now - 60 * SECOND);
    only(Action.Outcome.NoRoom.class, step(new Event.Unwanted("a")), "a");
    assertEquals(List.of(), loads(step(new Event.UnloadDone("a"))));
    assertEquals(0, cache.loadsQueued());
  }

  @Test
  void aCallThatWaitsForAReturnIsNotCancelledByTheTrim() {
    loaded("a", 50);
    step(new Event.Unwanted("a"));
    want("a", 50);
    assertEquals(List.of(), answers(step(new Event.Unwanted("a")), "a"));
    assertEquals(List.of("a"), loads(step(new Event.UnloadDone("a"))));
  }

  @Test
  void refusesATimeTooLongToCountInNanoseconds() {
    CacheConfig d = CacheConfig.defaults(Memory.ram(100));
    IllegalArgumentException thrown =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                new CacheConfig(
                    d.capacity(),
                    d.unknownSize(),
                    d.maxResidents(),
                    d.maxConcurrentLoads(),
                    d.maxQueued(),
                    d.maxFailed(),
                    Long.MAX_VALUE,
                    d.graceMs(),
                    d.liveWindowMs(),
                    d.retryFirstMs(),
                    d.retryMaxMs(),
                    d.unloadRetryFirstMs(),
                    d.unloadRetryMaxMs()));
    assertTrue(
        String.valueOf(thrown.getMessage()).contains("queueTimeoutMs is 9223372036854775807"));
  }
}
