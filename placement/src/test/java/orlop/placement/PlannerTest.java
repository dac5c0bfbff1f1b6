package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.placement.SmallMesh.NOW_MS;
import static orlop.placement.SmallMesh.draining;
import static orlop.placement.SmallMesh.failed;
import static orlop.placement.SmallMesh.failedForGood;
import static orlop.placement.SmallMesh.loaded;
import static orlop.placement.SmallMesh.loading;
import static orlop.placement.SmallMesh.model;
import static orlop.placement.SmallMesh.pod;
import static orlop.placement.SmallMesh.withOldestUse;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** How many copies there should be: a table of small meshes. */
class PlannerTest {
  private static final long MINUTE = 60_000;

  private final Planner planner = new Planner(Planner.Config.defaults(), new Placer());

  /** Changes without their reasons. */
  private List<String> plan(SmallMesh mesh, Demand demand) {
    return planner.plan(mesh.view(), demand, NOW_MS).stream().map(PlannerTest::text).toList();
  }

  private static String text(Change change) {
    return switch (change) {
      case Change.LoadCopy load -> "load " + load.modelId() + " in " + load.podId();
      case Change.UnloadCopy unload -> "unload " + unload.modelId() + " in " + unload.podId();
      case Change.PromoteAlias promote -> "promote " + promote.name();
      case Change.FailAlias fail -> "fail " + fail.name() + ": " + fail.why();
    };
  }

  private static SmallMesh mesh(Model model) {
    return new SmallMesh().models(model).pods(pod("a"), pod("b", "y", 0, 0), pod("c"));
  }

  private static Demand steady(String modelId, double callsPerMinute) {
    return new Demand(
        Map.of(modelId, new Demand.Use(callsPerMinute, NOW_MS - 10 * MINUTE, NOW_MS - 1000)));
  }

  private static Demand once(String modelId) {
    return new Demand(Map.of(modelId, new Demand.Use(0.2, 0, NOW_MS - 1000)));
  }

  private static Demand idleSince(String modelId, long idleMs) {
    return new Demand(Map.of(modelId, new Demand.Use(0, 0, NOW_MS - idleMs)));
  }

  private static Model bounded(String id, int min, int max) {
    return bounded(id, min, max, 100);
  }

  private static Model bounded(String id, int min, int max, long sizeBytes) {
    return new Model(id, "onnx", "p", "", sizeBytes, min, max, Set.of(), Set.of(), 0);
  }

  @Test
  void leavesAnIdleMeshAlone() {
    assertEquals(List.of(), plan(mesh(model("m", 100)), Demand.NONE));
    assertEquals(List.of(), plan(mesh(model("m", 100)).copy("m", "a", loaded()), Demand.NONE));
  }

  @Test
  void keepsTheMinimumOfCopies() {
    List<String> changes = plan(mesh(bounded("m", 2, 0)), Demand.NONE);
    assertEquals(2, new HashSet<>(changes).size());
    assertTrue(changes.stream().allMatch(c -> c.startsWith("load m in ")), changes::toString);
    assertEquals(1, plan(mesh(bounded("m", 2, 0)).copy("m", "a", loading()), Demand.NONE).size());
    assertEquals(
        List.of(),
        plan(
            mesh(bounded("m", 2, 0)).copy("m", "a", loading()).copy("m", "b", loaded()),
            Demand.NONE));
  }

  @Test
  void addsASecondCopyInAnotherZoneForASteadilyUsedModel() {
    assertEquals(
        List.of("load m in b"),
        plan(mesh(model("m", 100)).copy("m", "a", loaded()), steady("m", 30)));
  }

  @Test
  void addsNoCopyForOneOffCalls() {
    assertEquals(List.of(), plan(mesh(model("m", 100)).copy("m", "a", loaded()), once("m")));
  }

  @Test
  void addsNoCopyOfWhatIsNotYetKnownToLoad() {
    assertEquals(List.of(), plan(mesh(model("m", 100)).copy("m", "a", loading()), steady("m", 30)));
  }

  @Test
  void addsNoCopyThatSomethingElseWouldHaveToLeaveFor() {
    SmallMesh full =
        new SmallMesh()
            .models(model("m", 100))
            .pods(pod("a", "z", 100, 0), pod("b", "z", 850, 0))
            .copy("m", "a", loaded());
    assertEquals(List.of(), plan(full, steady("m", 30)));
  }

  @Test
  void addsCopiesAsTheCallsGrowUpToOneForEachPod() {
    SmallMesh mesh = mesh(model("m", 100));
    for (int i = 0; i < 9; i++) {
      mesh.pods(pod("p" + i));
    }
    mesh.copy("m", "a", loaded()).copy("m", "b", loaded());
    assertEquals(List.of(), plan(mesh, steady("m", 3_000)));
    assertEquals(1, plan(mesh, steady("m", 5_000)).size());
    mesh.copy("m", "c", loaded()).copy("m", "p0", loaded());
    assertEquals(1, plan(mesh, steady("m", 1_000_000)).size());
    for (int i = 1; i < 9; i++) {
      mesh.copy("m", "p" + i, loaded());
    }
    assertEquals(List.of(), plan(mesh, steady("m", 1_000_000)));
  }

  @Test
  void neverExceedsTheMaximumOfCopies() {
    assertEquals(
        List.of(), plan(mesh(bounded("m", 0, 1)).copy("m", "a", loaded()), steady("m", 30)));
  }

  @Test
  void trimsWhatExceedsTheMaximumAtOnce() {
    SmallMesh mesh =
        mesh(bounded("m", 0, 1))
            .copy("m", "a", loaded(), NOW_MS - 1000)
            .copy("m", "b", loaded(), NOW_MS - 1000);
    assertEquals(1, plan(mesh, steady("m", 30)).size());
  }

  @Test
  void trimsAnUnusedSecondCopyWhereMostCopiesAre() {
    SmallMesh mesh =
        mesh(model("m", 100))
            .copy("m", "a", loaded())
            .copy("m", "b", loaded())
            .copy("m", "c", loaded());
    List<String> changes = plan(mesh, idleSince("m", 20 * MINUTE));
    assertEquals(1, changes.size());
    assertTrue(
        Set.of("unload m in a", "unload m in c").contains(changes.getFirst()), changes::toString);
    assertEquals(changes, plan(mesh, Demand.NONE));
    assertEquals(List.of(), plan(mesh(model("m", 100)).copy("m", "a", loaded()), Demand.NONE));
  }

  @Test
  void leavesAYoungOrLatelyUsedSecondCopyAlone() {
    SmallMesh young =
        mesh(model("m", 100)).copy("m", "a", loaded()).copy("m", "b", loaded(), NOW_MS - MINUTE);
    assertEquals(List.of(), plan(young, idleSince("m", 20 * MINUTE)));
    SmallMesh used = mesh(model("m", 100)).copy("m", "a", loaded()).copy("m", "b", loaded());
    assertEquals(List.of(), plan(used, idleSince("m", 5 * MINUTE)));
  }

  @Test
  void neverTrimsWhileACopyIsLoading() {
    SmallMesh mesh =
        mesh(model("m", 100))
            .copy("m", "a", loaded())
            .copy("m", "b", loaded())
            .copy("m", "c", loading());
    assertEquals(List.of(), plan(mesh, idleSince("m", 20 * MINUTE)));
  }

  @Test
  void trimsAnAccidentalThirdCopyOfAModelInUse() {
    SmallMesh mesh =
        mesh(model("m", 100))
            .copy("m", "a", loaded())
            .copy("m", "b", loaded())
            .copy("m", "c", loaded());
    assertEquals(1, plan(mesh, steady("m", 30)).size());
    assertEquals(List.of(), plan(mesh, steady("m", 3_000)));
  }

  @Test
  void bringsBackTheBusiestFirst() {
    SmallMesh mesh = new SmallMesh().pods(pod("a"), pod("b"));
    Map<String, Demand.Use> uses = new HashMap<>();
    for (int i = 0; i < 5; i++) {
      mesh.models(model("m" + i, 10)).copy("m" + i, "lost", loaded());
      uses.put("m" + i, new Demand.Use(10 * (i + 1), 0, NOW_MS - 1000));
    }
    mesh.models(model("cold", 10));
    uses.put("cold", new Demand.Use(50, 0, NOW_MS - 90 * MINUTE));
    List<String> order =
        planner.plan(mesh.view(), new Demand(uses), NOW_MS).stream()
            .map(c -> ((Change.LoadCopy) c).modelId())
            .toList();
    assertEquals(List.of("m4", "m3", "m2", "m1", "m0"), order);
  }

  @Test
  void replacesTheCopiesOfADrainingPod() {
    SmallMesh mesh = mesh(model("m", 100)).pods(draining(pod("a"))).copy("m", "a", loaded());
    List<String> changes = plan(mesh, steady("m", 30));
    assertEquals(1, changes.size());
    assertTrue(changes.getFirst().startsWith("load m in "), changes::toString);
  }

  @Test
  void aLostModelDisplacesOnlyWhatHasGoneCold() {
    SmallMesh warm =
        new SmallMesh()
            .models(model("m", 100))
            .pods(withOldestUse(pod("a", "z", 1000, 0), 4 * MINUTE));
    assertEquals(List.of(), plan(warm, steady("m", 30)));
    SmallMesh cold =
        new SmallMesh()
            .models(model("m", 100))
            .pods(withOldestUse(pod("a", "z", 1000, 0), 6 * MINUTE));
    List<Change> changes = planner.plan(cold.view(), steady("m", 30), NOW_MS);
    assertEquals(NOW_MS - 5 * MINUTE, ((Change.LoadCopy) changes.getFirst()).lastUsedMs());
  }

  @Test
  void spreadsOnePlanOverThePods() {
    SmallMesh mesh = new SmallMesh();
    for (int i = 0; i < 40; i++) {
      mesh.models(bounded("m" + i, 1, 0));
    }
    mesh.pods(pod("a"), pod("b"), pod("c"), pod("d"));
    Map<String, Integer> perPod = new HashMap<>();
    for (Change change : planner.plan(mesh.view(), Demand.NONE, NOW_MS)) {
      perPod.merge(((Change.LoadCopy) change).podId(), 1, Integer::sum);
    }
    assertEquals(4, perPod.size());
    perPod.values().forEach(n -> assertTrue(n <= 10, "bytes beyond the pod: " + perPod));
  }

  @Test
  void keepsTheBoundOfChanges() {
    SmallMesh mesh = new SmallMesh();
    for (int i = 0; i < 40; i++) {
      mesh.pods(pod("p" + i));
    }
    for (int i = 0; i < 200; i++) {
      mesh.models(bounded("m" + i, 1, 0));
    }
    assertEquals(64, plan(mesh, Demand.NONE).size());
  }

  @Test
  void movesAnAliasOnlyWhenAsManyCopiesAreLoadedAsServedBefore() {
    SmallMesh mesh =
        mesh(model("old", 100))
            .models(model("new", 100))
            .alias("x", "old", "new", "")
            .copy("old", "a", loaded())
            .copy("old", "b", loaded());
    List<String> first = plan(mesh, Demand.NONE);
    assertEquals(1, first.size());
    assertTrue(first.getFirst().startsWith("load new in "), first::toString);
    mesh.copy("new", "c", loading());
    assertEquals(1, plan(mesh, Demand.NONE).size());
    mesh.copy("new", "c", loaded());
    assertEquals(1, plan(mesh, Demand.NONE).size());
    mesh.copy("new", "b", loaded());
    assertEquals(List.of("promote x"), plan(mesh, Demand.NONE));
  }

  @Test
  void movesAnAliasWithFewerCopiesWhenThereIsNoRoomForMore() {
    SmallMesh mesh =
        new SmallMesh()
            .models(model("old", 100), model("new", 100))
            .pods(pod("a", "z", 980, 0), pod("b", "z", 980, 0))
            .alias("x", "old", "new", "")
            .copy("old", "a", loaded())
            .copy("old", "b", loaded())
            .copy("new", "a", loaded());
    assertEquals(List.of("promote x"), plan(mesh, Demand.NONE));
  }

  @Test
  void anAliasKeepsServingWhenItsTargetCannotBeLoaded() {
    SmallMesh mesh =
        new SmallMesh()
            .models(model("old", 100), model("new", 100))
            .pods(pod("a"), pod("b"))
            .copy("old", "a", loaded())
            .copy("new", "a", failedForGood("bad format"))
            .alias("x", "old", "new", "");
    List<String> changes = plan(mesh, Demand.NONE);
    assertEquals(1, changes.size());
    assertTrue(changes.getFirst().startsWith("fail x: "), changes::toString);
    assertTrue(changes.getFirst().contains("bad format"), changes::toString);
    mesh.alias("x", "old", "new", "bad format");
    assertEquals(List.of(), plan(mesh, Demand.NONE));
  }

  @Test
  void anAliasThatCouldNotMoveGoesOnWhenTheCauseIsMended() {
    SmallMesh mesh =
        new SmallMesh()
            .models(model("old", 100), model("new", 100))
            .pods(pod("a"))
            .copy("old", "a", loaded())
            .copy("new", "a", failed("access denied", 1000))
            .alias("x", "old", "new", "access denied");
    assertEquals(List.of(), plan(mesh, Demand.NONE));
    mesh.copy("new", "a", failed("access denied", 0));
    assertEquals(List.of("load new in a"), plan(mesh, Demand.NONE));
    mesh.copy("new", "a", loaded());
    assertEquals(List.of("promote x"), plan(mesh, Demand.NONE));
  }

  @Test
  void notesAnAliasWhoseTargetNobodyRegistered() {
    SmallMesh mesh = mesh(model("old", 100)).alias("x", "old", "ghost", "");
    assertEquals(List.of("fail x: model 'ghost' is not registered"), plan(mesh, Demand.NONE));
  }

  /** What was carried out no longer appears, and the next plan does not undo it. */
  @Test
  void aPlanCarriedOutLeavesNothingToDo() {
    SmallMesh mesh = mesh(bounded("min", 2, 0)).models(model("busy", 50), model("lost", 50));
    mesh.copy("busy", "a", loaded());
    Map<String, Demand.Use> uses = new HashMap<>();
    uses.put("busy", new Demand.Use(30, NOW_MS - 10 * MINUTE, NOW_MS));
    uses.put("lost", new Demand.Use(30, 0, NOW_MS));
    MeshView view = mesh.view();
    List<Change> changes = planner.plan(view, new Demand(uses), NOW_MS);
    assertEquals(4, changes.size());
    assertEquals(changes, planner.plan(view, new Demand(uses), NOW_MS));
    List<Delta> deltas = new ArrayList<>();
    for (Change change : changes) {
      Change.LoadCopy load = (Change.LoadCopy) change;
      deltas.add(new Delta.CopyPut(new Copy(load.modelId(), load.podId(), loaded(), NOW_MS)));
    }
    assertEquals(List.of(), planner.plan(view.with(deltas, 99), new Demand(uses), NOW_MS));
  }

  @Test
  void refusesAConfigurationOutOfRange() {
    assertThrows(
        IllegalArgumentException.class,
        () -> new Planner.Config(0, 60_000, 0, 0, 1, 0, 0, 0, 0, 0));
    assertThrows(
        IllegalArgumentException.class, () -> new Planner.Config(1, 999, 0, 0, 1, 0, 0, 0, 0, 0));
    assertThrows(
        IllegalArgumentException.class,
        () -> new Planner.Config(1, 60_000, 0, 0, 1, 0, 101, 0, 0, 0));
    assertThrows(
        IllegalArgumentException.class,
        () -> new Planner.Config(1, 60_000, 0, 0, 1, 0, 0, -1, 0, 0));
    assertThrows(
        IllegalArgumentException.class,
        () -> new Planner.Config(1, 60_000, 0, 0, 1, 0, 0, 0, 0, 59_999));
    assertThrows(
        IllegalArgumentException.class,
        () -> new Planner.Config(1, 60_000, 0, Double.NaN, 1, 0, 0, 0, 0, 0));
    assertThrows(
        IllegalArgumentException.class,
        () -> new Planner.Config(1, 60_000, 0, 0, Double.NaN, 0, 0, 0, 0, 0));
  }

  @Test
  void aSecondCopyIsPlannedOnceAModelWasCalledAgainAndAgainForTwentySeconds() {
    SmallMesh mesh = mesh(model("m", 100)).copy("m", "a", loaded());
    assertEquals(List.of(), plan(mesh, used("m", 19_999, 10)));
    assertEquals(List.of(), plan(mesh, used("m", 20_000, 4)));
    assertEquals(List.of("load m in b"), plan(mesh, used("m", 20_000, 5)));
  }

  private static Demand used(String modelId, long forMs, int beats) {
    return new Demand(Map.of(modelId, new Demand.Use(30, NOW_MS - forMs, NOW_MS, beats, 0)));
  }

  @Test
  void minimaThatNoPodCanKeepStarveNobody() {
    SmallMesh mesh = mesh(model("lost", 100)).models(model("many", 100), bounded("small", 1, 0));
    for (int i = 0; i < 400; i++) {
      mesh.models(
          new Model("gpu" + i, "onnx", "p", "", 100, 1, 0, Set.of("gpu"), Set.of(), 0),
          bounded("huge" + i, 1, 0, 5_000));
    }
    mesh.copy("many", "a", loaded()).copy("many", "b", loaded());
    List<String> changes = plan(mesh, steady("lost", 30));
    assertEquals(3, changes.size(), changes::toString);
    assertTrue(changes.get(0).startsWith("load small in "), changes::toString);
    assertTrue(changes.get(1).startsWith("load lost in "), changes::toString);
    assertTrue(changes.get(2).startsWith("unload many in "), changes::toString);
  }

  @Test
  void minimaBeyondTheMemoryOfTheMeshDoNotDisplaceOneAnotherAllTheTime() {
    SmallMesh mesh =
        new SmallMesh()
            .models(bounded("x", 1, 0, 400), bounded("y", 1, 0, 400), bounded("z", 1, 0, 400))
            .copy("x", "a", new CopyState.Loaded(Memory.ram(400), 1))
            .copy("y", "a", new CopyState.Loaded(Memory.ram(400), 1));
    mesh.pods(withOldestUse(pod("a", "z", 800, 0), MINUTE));
    assertEquals(List.of(), plan(mesh, Demand.NONE));
    mesh.pods(withOldestUse(pod("a", "z", 800, 0), 6 * MINUTE));
    assertEquals(List.of("load z in a"), plan(mesh, Demand.NONE));
  }

  @Test
  void aMinimumDisplacesWhatIsInUse() {
    SmallMesh mesh =
        new SmallMesh()
            .models(bounded("min", 1, 0))
            .pods(withOldestUse(pod("a", "z", 1000, 0), 1000));
    assertEquals(List.of("load min in a"), plan(mesh, Demand.NONE));
  }

  @Test
  void aModelWhoseAliasCannotMoveOnIsCaredForAllTheSame() {
    SmallMesh mesh =
        new SmallMesh()
            .models(bounded("old", 2, 0), model("new", 100))
            .pods(pod("a"), pod("b"))
            .copy("old", "a", loaded())
            .copy("new", "a", failedForGood("bad format"))
            .copy("new", "b", failedForGood("bad format"))
            .alias("x", "old", "new", "bad format");
    assertEquals(List.of("load old in b"), plan(mesh, Demand.NONE));
    SmallMesh lost =
        new SmallMesh()
            .models(model("old", 100))
            .pods(pod("a"))
            .alias("x", "old", "ghost", "not registered");
    assertEquals(List.of("load old in a"), plan(lost, steady("old", 30)));
  }

  @Test
  void neverTrimsWhatAnAliasServesWhileItMoves() {
    SmallMesh mesh =
        mesh(bounded("old", 0, 1))
            .models(model("new", 100))
            .copy("old", "a", loaded())
            .copy("old", "b", loaded())
            .copy("new", "c", loading())
            .alias("x", "old", "new", "");
    assertTrue(plan(mesh, Demand.NONE).stream().noneMatch(c -> c.startsWith("unload")));
  }

  @Test
  void aVeryLargeBoundOfChangesIsABound() {
    Planner bold =
        new Planner(
            new Planner.Config(1 << 30, 60_000, 300_000, 1, 2_000, 600_000, 10, 100, 3_600_000, 0),
            new Placer());
    assertEquals(1, bold.plan(mesh(bounded("m", 1, 0)).view(), Demand.NONE, NOW_MS).size());
  }

  @Test
  void aFullMeshIsStillTrimmed() {
    SmallMesh mesh = new SmallMesh().models(model("many", 100));
    Map<String, Demand.Use> uses = new HashMap<>();
    for (int i = 0; i < 300; i++) {
      mesh.models(model("lost" + i, 100));
      uses.put("lost" + i, new Demand.Use(30, 0, NOW_MS - 1000));
    }
    for (String id : List.of("a", "b")) {
      mesh.pods(withOldestUse(pod(id, "z", 1000, 0), 1000)).copy("many", id, loaded());
    }
    List<String> changes = plan(mesh, new Demand(uses));
    assertEquals(1, changes.size(), changes::toString);
    assertTrue(changes.getFirst().startsWith("unload many in "), changes::toString);
  }

  private static LabelRules onlyWith(String label) {
    return new LabelRules(Map.of("onnx", new LabelRules.Labels(Set.of(label), Set.of())), null);
  }

  private List<String> plan(MeshView view, Demand demand) {
    return planner.plan(view, demand, NOW_MS).stream().map(PlannerTest::text).toList();
  }

  @Test
  void copiesMoveToWhereNewRulesWantThem() {
    SmallMesh mesh =
        new SmallMesh()
            .models(model("m", 100))
            .pods(pod("a"), SmallMesh.labelled(pod("b"), "gpu"))
            .copy("m", "a", loaded());
    assertEquals(List.of(), plan(mesh.view(), once("m")));
    // First the copy that may stay, then the other one goes.
    MeshView ruled = mesh.view().with(onlyWith("gpu"));
    assertEquals(List.of("load m in b"), plan(ruled, once("m")));
    MeshView both = mesh.copy("m", "b", loaded()).view().with(onlyWith("gpu"));
    assertEquals(List.of("unload m in a"), plan(both, once("m")));
  }

  @Test
  void aCopyThatMayNotStayServesAsLongAsThereIsNoOtherPlace() {
    SmallMesh mesh =
        new SmallMesh().models(model("m", 100)).pods(pod("a")).copy("m", "a", loaded());
    MeshView ruled = mesh.view().with(onlyWith("gpu"));
    assertEquals(List.of(), plan(ruled, once("m")));
    assertEquals(List.of("unload m in a"), plan(ruled, Demand.NONE));
  }

  @Test
  void operatorsMaySetTheCallsThatACopyBears() {
    SmallMesh mesh = mesh(model("m", 100)).copy("m", "a", loaded()).copy("m", "b", loaded());
    assertEquals(List.of(), plan(mesh.view(), steady("m", 300)));
    List<Delta> set = List.of(new Delta.SettingPut(Planner.CALLS_PER_COPY, "100"));
    assertEquals(List.of("load m in c"), plan(mesh.view().with(set, 2), steady("m", 300)));
    for (String nonsense : List.of("9", "many", "", "NaN")) {
      List<Delta> no = List.of(new Delta.SettingPut(Planner.CALLS_PER_COPY, nonsense));
      assertEquals(List.of(), plan(mesh.view().with(no, 2), steady("m", 300)), nonsense);
    }
  }
}
