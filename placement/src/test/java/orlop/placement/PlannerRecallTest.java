package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.placement.SmallMesh.NOW_MS;
import static orlop.placement.SmallMesh.draining;
import static orlop.placement.SmallMesh.loaded;
import static orlop.placement.SmallMesh.model;
import static orlop.placement.SmallMesh.pod;
import static orlop.placement.SmallMesh.unloading;
import static orlop.placement.SmallMesh.withOldestUse;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** What the planner does over several steps, given what it remembers. */
class PlannerRecallTest {
  private static final long MINUTE = 60_000;

  private final Planner planner = new Planner(Planner.Config.defaults(), new Placer());
  private Recall recall = Recall.since(NOW_MS - 120 * MINUTE);
  private long nowMs = NOW_MS;

  private List<String> step(SmallMesh mesh, Demand demand) {
    return step(planner, mesh, demand);
  }

  private List<String> step(Planner with, SmallMesh mesh, Demand demand) {
    Plan plan = with.plan(mesh.view(), demand, recall, nowMs);
    recall = plan.recall();
    return plan.changes().stream().map(PlannerRecallTest::text).toList();
  }

  private static String text(Change change) {
    return switch (change) {
      case Change.LoadCopy load -> "load " + load.modelId() + " in " + load.podId();
      case Change.UnloadCopy unload -> "unload " + unload.modelId() + " in " + unload.podId();
      case Change.PromoteAlias promote -> "promote " + promote.name();
      case Change.FailAlias fail -> "fail " + fail.name();
    };
  }

  private Demand calls(String modelId, double perMinute, double queuedMs) {
    return new Demand(
        Map.of(modelId, new Demand.Use(perMinute, nowMs - 30 * MINUTE, nowMs, 100, queuedMs)));
  }

  private static SmallMesh three() {
    return new SmallMesh().pods(pod("a"), pod("b", "y", 0, 0), pod("c", "x", 0, 0));
  }

  private static SmallMesh full(String... pods) {
    SmallMesh mesh = new SmallMesh();
    for (String id : pods) {
      mesh.pods(withOldestUse(pod(id, "z", 1000, 0), MINUTE));
    }
    return mesh;
  }

  // Lost and evicted.

  @Test
  void aModelLostWithItsPodDisplacesWhatAnEvictedOneMayNot() {
    Demand demand = calls("m", 30, 0);
    SmallMesh evicted = full("a", "b").models(model("m", 100)).copy("m", "a", loaded());
    step(evicted, demand);
    assertEquals(List.of(), step(full("a", "b").models(model("m", 100)), demand));
    recall = Recall.since(0);
    step(full("a", "b").models(model("m", 100)).copy("m", "a", loaded()), demand);
    // Ten of its gaps are 20 s; what is in the pod that is left was unused for a minute.
    assertEquals(List.of("load m in b"), step(full("b").models(model("m", 100)), demand));
  }

  @Test
  void theHottestOfALostPodComeBackFirst() {
    SmallMesh before = three();
    SmallMesh after = new SmallMesh().pods(pod("b", "y", 0, 0), pod("c", "x", 0, 0));
    Map<String, Demand.Use> uses = new HashMap<>();
    for (int i = 0; i < 4; i++) {
      Model model = model("m" + i, 10);
      before.models(model).copy("m" + i, "a", loaded());
      after.models(model).copy("m" + i, "a", loaded());
      uses.put("m" + i, new Demand.Use(i + 1, 0, NOW_MS - 1000));
    }
    assertEquals(List.of(), step(before, new Demand(uses)));
    List<String> ids = step(after, new Demand(uses)).stream().map(c -> c.split(" ")[1]).toList();
    assertEquals(List.of("m3", "m2", "m1", "m0"), ids);
  }

  @Test
  void aLostModelTakesThePlaceOfASpareCopyBeforeItDisplacesAnything() {
    Model lost = model("lost", 100);
    Model twice = model("twice", 100);
    SmallMesh before = full("a", "b", "c").models(lost, twice).copy("lost", "c", loaded());
    SmallMesh after = full("a", "b").models(lost, twice);
    for (SmallMesh mesh : List.of(before, after)) {
      mesh.copy("twice", "a", loaded()).copy("twice", "b", loaded());
    }
    Map<String, Demand.Use> uses = new HashMap<>();
    uses.put("lost", new Demand.Use(2, NOW_MS - 30 * MINUTE, NOW_MS));
    uses.put("twice", new Demand.Use(500, NOW_MS - 30 * MINUTE, NOW_MS));
    step(before, new Demand(uses));
    List<String> changes = step(after, new Demand(uses));
    assertEquals(2, changes.size(), changes::toString);
    String pod = changes.get(0).substring("unload twice in ".length());
    assertEquals("load lost in " + pod, changes.get(1));
  }

  @Test
  void aPodThatCannotBeReachedCountsAsLostBeforeItsLeaseEnds() {
    Model model = model("m", 100);
    SmallMesh mesh = three().models(model).copy("m", "a", loaded());
    Demand.Use use = new Demand.Use(30, NOW_MS - 30 * MINUTE, NOW_MS, 3, 0);
    Demand heard = new Demand(Map.of("m", use));
    assertEquals(List.of(), step(mesh, heard));
    Demand silent = new Demand(Map.of("m", use), Map.of(), Set.of("a"));
    assertEquals(1, step(mesh, silent).size());
  }

  @Test
  void whoCannotReachHalfOfThePodsBlamesItself() {
    SmallMesh mesh = three().models(model("m", 100)).copy("m", "a", loaded());
    Demand.Use use = new Demand.Use(30, NOW_MS - 30 * MINUTE, NOW_MS, 3, 0);
    Demand silent = new Demand(Map.of("m", use), Map.of(), Set.of("a", "b"));
    assertEquals(List.of(), step(mesh, silent));
  }

  // Drain.

  @Test
  void whatADrainingPodAloneHoldsIsLoadedElsewhereBusiestFirst() {
    SmallMesh mesh =
        three().pods(draining(pod("a"))).models(model("rare", 100), model("busy", 100));
    mesh.copy("rare", "a", loaded()).copy("busy", "a", loaded());
    Map<String, Demand.Use> uses = new HashMap<>();
    uses.put("rare", new Demand.Use(0.05, 0, NOW_MS - 40 * MINUTE));
    uses.put("busy", new Demand.Use(20, NOW_MS - 30 * MINUTE, NOW_MS));
    List<String> changes = step(mesh, new Demand(uses));
    assertEquals(2, changes.size(), changes::toString);
    assertTrue(changes.get(0).startsWith("load busy in "), changes::toString);
    assertTrue(changes.get(1).startsWith("load rare in "), changes::toString);
  }

  @Test
  void furtherCopiesWaitWhileAPodHandsOver() {
    SmallMesh mesh =
        three().pods(draining(pod("a"))).models(model("only", 100), model("busy", 100));
    mesh.copy("only", "a", loaded()).copy("busy", "b", loaded());
    Map<String, Demand.Use> uses = new HashMap<>();
    uses.put("only", new Demand.Use(1, 0, NOW_MS));
    uses.put("busy", new Demand.Use(20, NOW_MS - 30 * MINUTE, NOW_MS));
    List<String> changes = step(mesh, new Demand(uses));
    assertEquals(1, changes.size(), changes::toString);
    assertTrue(changes.getFirst().startsWith("load only in "), changes::toString);
  }

  @Test
  void plansDoNotAddToALongQueue() {
    SmallMesh mesh = new SmallMesh().models(model("m", 100));
    mesh.pods(pod("a", "z", 0, 0), pod("b", "y", 0, 2), pod("c", "x", 0, 9));
    mesh.copy("m", "a", loaded());
    assertEquals(List.of(), step(mesh, calls("m", 30, 0)));
    mesh.pods(pod("b", "y", 0, 1));
    assertEquals(List.of("load m in b"), step(mesh, calls("m", 30, 0)));
  }

  // A new pod.

  @Test
  void aNewPodIsFilledWithWhatWasUsedLatelyBusiestFirst() {
    SmallMesh mesh = full("a").pods(pod("new", "z", 0, 0));
    Map<String, Demand.Use> uses = new HashMap<>();
    for (int i = 0; i < 3; i++) {
      mesh.models(model("m" + i, 100));
      uses.put("m" + i, new Demand.Use(0.1 * (i + 1), 0, NOW_MS - 20 * MINUTE));
    }
    mesh.models(model("old", 100));
    uses.put("old", new Demand.Use(0.1, 0, NOW_MS - 61 * MINUTE));
    // As many as begin at once; the others when these are done.
    assertEquals(List.of("load m2 in new", "load m1 in new"), step(mesh, new Demand(uses)));
  }

  @Test
  void noMemoryIsTakenForAPreWarm() {
    SmallMesh mesh = full("a", "b").models(model("m", 100));
    Demand lately = new Demand(Map.of("m", new Demand.Use(0.5, 0, NOW_MS - 20 * MINUTE)));
    assertEquals(List.of(), step(mesh, lately));
  }

  // Up and down.

  private SmallMesh copies(int count) {
    SmallMesh mesh = new SmallMesh().models(model("m", 10));
    for (int i = 0; i < 8; i++) {
      mesh.pods(pod("p" + i));
      if (i < count) {
        mesh.copy("m", "p" + i, loaded(), NOW_MS - 30 * MINUTE);
      }
    }
    return mesh;
  }

  @Test
  void callsThatQueueGetAnotherCopyThoughTheyAreFew() {
    assertEquals(List.of(), step(copies(2), calls("m", 300, 99)));
    assertEquals(1, step(copies(2), calls("m", 300, 101)).size());
  }

  @Test
  void aCopyThatEndedTheQueueingIsNotTrimmedBecauseThereIsNone() {
    assertEquals(1, step(copies(2), calls("m", 300, 500)).size());
    for (int minute = 0; minute < 60; minute++) {
      nowMs += MINUTE;
      assertEquals(List.of(), step(copies(3), calls("m", 300, 0)), "minute " + minute);
    }
  }

  @Test
  void aCopyGoesOnlyAfterFewerSufficedForTenMinutes() {
    assertEquals(List.of(), step(copies(4), calls("m", 7_000, 0)));
    nowMs += MINUTE;
    assertEquals(List.of(), step(copies(4), calls("m", 3_000, 0)));
    nowMs += 9 * MINUTE;
    assertEquals(List.of(), step(copies(4), calls("m", 3_000, 0)));
    nowMs += MINUTE;
    assertEquals(1, step(copies(4), calls("m", 3_000, 0)).size());
    // And the next one after ten more.
    nowMs += MINUTE;
    assertEquals(List.of(), step(copies(4), calls("m", 3_000, 0)));
  }

  @Test
  void aMomentOfMoreCallsBeginsTheWaitAnew() {
    step(copies(4), calls("m", 7_000, 0));
    nowMs += MINUTE;
    step(copies(4), calls("m", 3_000, 0));
    nowMs += 9 * MINUTE;
    step(copies(4), calls("m", 6_500, 0));
    nowMs += 2 * MINUTE;
    assertEquals(List.of(), step(copies(4), calls("m", 3_000, 0)));
  }

  @Test
  void aRateThatSwingsByLessThanTheHysteresisNeitherAddsNorTrims() {
    for (int minute = 0; minute < 120; minute++) {
      nowMs += MINUTE;
      double rate = minute % 20 < 10 ? 5_900 : 4_200;
      assertEquals(List.of(), step(copies(3), calls("m", rate, 0)), "minute " + minute);
    }
  }

  @Test
  void aSecondCopyStaysForAnHourAfterSteadyUse() {
    step(copies(2), calls("m", 30, 0));
    long usedMs = nowMs;
    Demand idle = new Demand(Map.of("m", new Demand.Use(0, 0, usedMs)));
    nowMs += 59 * MINUTE;
    assertEquals(List.of(), step(copies(2), idle));
    nowMs += 2 * MINUTE;
    assertEquals(List.of(), step(copies(2), idle));
    nowMs += 10 * MINUTE;
    assertEquals(1, step(copies(2), idle).size());
  }

  @Test
  void aSecondCopyThatWasCrowdedOutIsNotBroughtBackWithinTheHour() {
    step(copies(2), calls("m", 30, 0));
    nowMs += MINUTE;
    SmallMesh leaving = copies(1).copy("m", "p1", unloading());
    assertEquals(List.of(), step(leaving, calls("m", 30, 0)));
    nowMs += 50 * MINUTE;
    assertEquals(List.of(), step(copies(1), calls("m", 30, 0)));
    nowMs += 11 * MINUTE;
    assertEquals(1, step(copies(1), calls("m", 30, 0)).size());
  }

  @Test
  void whoPlannedAlongDoesNotTakeWhatTheLeaderTrimmedForCrowdedOut() {
    step(copies(2), calls("m", 30, 0));
    recall = recall.watched();
    nowMs += MINUTE;
    step(copies(1).copy("m", "p1", unloading()), calls("m", 30, 0));
    recall = recall.watched();
    nowMs += MINUTE;
    assertEquals(1, step(copies(1), calls("m", 30, 0)).size());
  }

  @Test
  void whoPlannedAlongHasTriedNothing() {
    Demand.Use use = new Demand.Use(30, NOW_MS - 30 * MINUTE, NOW_MS - 1000);
    for (int i = 0; i < 5; i++) {
      assertEquals(1, step(copies(0), new Demand(Map.of("m", use))).size(), "step " + i);
      recall = recall.watched();
      nowMs += MINUTE / 2;
    }
  }

  @Test
  void aNewLeaderTrimsNothingBeforeItKnowsMore() {
    recall = Recall.since(nowMs);
    assertEquals(List.of(), step(copies(3), Demand.NONE));
    nowMs += 9 * MINUTE;
    assertEquals(List.of(), step(copies(3), Demand.NONE));
    nowMs += 2 * MINUTE;
    assertEquals(1, step(copies(3), Demand.NONE).size());
  }

  // Pins, floors and idleness.

  @Test
  void aPinnedModelIsLoadedOnceThoughItHasNoMinimum() {
    SmallMesh mesh =
        three().models(new Model("m", "onnx", "p", "", 10, 0, 0, Set.of(), Set.of(), 0, true));
    assertEquals(1, step(mesh, Demand.NONE).size());
  }

  @Test
  void idleModelsAreUnloadedWhereThatIsAskedForAndNeverThoseWithAMinimum() {
    Planner.Config d = Planner.Config.defaults();
    Planner unloads =
        new Planner(
            new Planner.Config(
                d.maxChanges(),
                d.steadyMs(),
                d.hotMs(),
                d.hotCallsPerMinute(),
                d.callsPerCopyPerMinute(),
                d.trimAfterMs(),
                d.keepFreePercent(),
                d.queuedMs(),
                d.recentMs(),
                30 * MINUTE),
            new Placer());
    SmallMesh mesh =
        three()
            .models(
                model("idle", 10),
                model("used", 10),
                new Model("min", "onnx", "p", "", 10, 1, 0, Set.of(), Set.of(), 0));
    for (String id : List.of("idle", "used", "min")) {
      mesh.copy(id, "a", loaded());
    }
    Demand demand = new Demand(Map.of("used", new Demand.Use(1, 0, NOW_MS - 29 * MINUTE)));
    assertEquals(List.of("unload idle in a"), step(unloads, mesh, demand));
    assertEquals(List.of(), step(planner, mesh, demand));
  }

  // Pods wanted.

  private PodsWanted wanted(SmallMesh mesh, Demand demand) {
    return planner.plan(mesh.view(), demand, recall, nowMs).podsWanted();
  }

  @Test
  void asManyPodsAreWantedAsTheModelsInUseFill() {
    SmallMesh mesh = three();
    Map<String, Demand.Use> uses = new HashMap<>();
    for (int i = 0; i < 20; i++) {
      mesh.models(model("m" + i, 250));
      uses.put("m" + i, new Demand.Use(0.1, 0, NOW_MS - MINUTE));
    }
    mesh.models(model("idle", 900));
    PodsWanted wanted = wanted(mesh, new Demand(uses));
    assertEquals(6, wanted.pods(), wanted.why());
    assertTrue(wanted.why().startsWith("memory: the 20 models in use"), wanted.why());
  }

  @Test
  void asManyPodsAreWantedAsTheirThreadsAreBusy() {
    Demand busy = new Demand(Map.of(), Map.of("a", 1.0, "b", 0.9, "c", 0.8), Set.of());
    PodsWanted wanted = wanted(three(), busy);
    assertEquals(4, wanted.pods(), wanted.why());
    assertTrue(wanted.why().startsWith("compute: 2.7 pods"), wanted.why());
  }

  @Test
  void asManyPodsAreWantedAsOneModelHasCopiesApart() {
    SmallMesh mesh =
        three().models(new Model("m", "onnx", "p", "", 10, 3, 0, Set.of(), Set.of(), 0));
    assertEquals(3, wanted(mesh, Demand.NONE).pods());
    assertEquals(1, wanted(three(), Demand.NONE).pods());
  }

  // Bounds.

  @Test
  void whatComesInVainIsPlannedForAMinuteAndAHalfAndThenWaitsForACall() {
    SmallMesh before = three().models(model("m", 100)).copy("m", "a", loaded());
    SmallMesh after = new SmallMesh().pods(pod("b", "y", 0, 0), pod("c", "x", 0, 0));
    after.models(model("m", 100)).copy("m", "a", loaded());
    Demand unused = calls("m", 3, 0);
    step(before, unused);
    int planned = 0;
    for (int s = 0; s < 200; s += 5) {
      nowMs = NOW_MS + s * 1_000L;
      planned += step(after, unused).size();
    }
    assertEquals(18, planned, "plans of 90 s, one each 5 s");
    nowMs += 5_000;
    assertEquals(1, step(after, calls("m", 3, 0)).size());
  }

  @Test
  void whatIsRememberedIsBoundedByWhatIsInUse() {
    SmallMesh mesh = three();
    Map<String, Demand.Use> uses = new HashMap<>();
    for (int i = 0; i < 50; i++) {
      mesh.models(model("m" + i, 1)).copy("m" + i, "a", loaded());
      uses.put("m" + i, new Demand.Use(30, NOW_MS - 30 * MINUTE, NOW_MS));
    }
    for (int i = 0; i < 1_000; i++) {
      mesh.models(model("unused" + i, 1));
    }
    step(mesh, new Demand(uses));
    assertEquals(50, recall.size());
    nowMs += 120 * MINUTE;
    step(mesh, Demand.NONE);
    assertEquals(0, recall.size());
  }

  @Test
  void equalStepsGiveEqualPlans() {
    List<List<String>> histories = new ArrayList<>();
    for (int run = 0; run < 2; run++) {
      recall = Recall.since(0);
      List<String> history = new ArrayList<>();
      for (int i = 0; i < 5; i++) {
        nowMs = NOW_MS + i * MINUTE;
        history.addAll(step(copies(1 + i), calls("m", 9_000, i * 50)));
      }
      histories.add(history);
    }
    assertEquals(histories.get(0), histories.get(1));
    assertFalse(histories.get(0).isEmpty());
  }
}
