package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.placement.SmallMesh.NOW_MS;
import static orlop.placement.SmallMesh.attempt;
import static orlop.placement.SmallMesh.loaded;
import static orlop.placement.SmallMesh.loading;
import static orlop.placement.SmallMesh.model;
import static orlop.placement.SmallMesh.withOldestUse;

import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Placement by time to serve: what is queued, pulled, loaded and lost; hints; wishes. */
class OutlookPlacementTest {
  private static final long GB = 1_000_000_000;

  private final Placer placer = new Placer();

  private static Pod pod(String id, String zone, String version, long startedMs, Outlook outlook) {
    return new Pod(
        id,
        id + ":8033",
        zone,
        Set.of(),
        Memory.ram(8 * GB),
        Memory.NONE,
        0,
        0,
        false,
        startedMs,
        version,
        outlook);
  }

  private static Pod pod(String id, long queuedMs) {
    return pod(id, "z", "1", 0, queued(queuedMs));
  }

  private static Outlook queued(long queuedMs) {
    return new Outlook(NOW_MS, 4, queuedMs, 200_000_000, Map.of(), 0, 0);
  }

  private Placement.Chosen chosen(MeshView view, Model model, Attempt attempt) {
    return assertInstanceOf(Placement.Chosen.class, placer.place(view, model, attempt));
  }

  private String chosen(MeshView view, Model model) {
    return chosen(view, model, attempt(model.id(), "x")).pod().id();
  }

  private static Attempt with(Model model, Hints hints) {
    return new Attempt(model.id(), "x", false, Set.of(), false, 0, NOW_MS, hints, -1);
  }

  private static SmallMesh mesh(Model model, Pod... pods) {
    return new SmallMesh().models(model).pods(pods);
  }

  @Test
  void theSecondsQueuedCountNotTheirNumber() {
    Model model = model("m", GB);
    Pod manySmall =
        new Pod(
            "many",
            "a:1",
            "z",
            Set.of(),
            Memory.ram(8 * GB),
            Memory.NONE,
            12,
            0,
            false,
            0,
            "1",
            queued(2_000));
    Pod oneLarge =
        new Pod(
            "one",
            "b:1",
            "z",
            Set.of(),
            Memory.ram(8 * GB),
            Memory.NONE,
            1,
            0,
            false,
            0,
            "1",
            queued(120_000));
    assertEquals("many", chosen(mesh(model, manySmall, oneLarge).view(), model));
  }

  @Test
  void aQueueOfWhichNothingWasHeardForLongCountsAsDone() {
    Model model = model("m", GB);
    Pod longAgo =
        pod(
            "old",
            "z",
            "1",
            0,
            new Outlook(NOW_MS - 40_000, 4, 60_000, 200_000_000, Map.of(), 0, 0));
    assertEquals("old", chosen(mesh(model, longAgo, pod("now", 60_000)).view(), model));
  }

  @Test
  void aPodThatPullsAndLoadsFasterIsPreferred() {
    Model model = model("m", 2 * GB);
    Outlook slow = new Outlook(NOW_MS, 4, 0, 50_000_000, Map.of("onnx", 500_000_000L), 0, 0);
    Outlook fast = new Outlook(NOW_MS, 4, 0, 900_000_000, Map.of("onnx", 500_000_000L), 0, 0);
    Outlook slowLoader = new Outlook(NOW_MS, 4, 0, 900_000_000, Map.of("onnx", 50_000_000L), 0, 0);
    assertEquals(
        "fast",
        chosen(
            mesh(
                    model,
                    pod("slow", "z", "1", 0, slow),
                    pod("fast", "z", "1", 0, fast),
                    pod("loader", "z", "1", 0, slowLoader))
                .view(),
            model));
  }

  @Test
  void aModelGoesBackToThePodWhoseDiskHasIt() {
    Model model = model("m", 4 * GB);
    for (String last : List.of("p17", "p133")) {
      SmallMesh mesh = mesh(model);
      for (int i = 0; i < 200; i++) {
        mesh.pods(pod("p" + i, 0));
      }
      mesh.copy("m", last, loaded(), NOW_MS - 60_000);
      MeshView view = mesh.view().with(List.of(new Delta.CopyRemoved(last, "m")), 1_000);
      Placement.Chosen chosen = chosen(view, model, attempt("m", "x"));
      assertEquals(last, chosen.pod().id());
      assertTrue(chosen.why().contains("on its disk"), chosen.why());
    }
  }

  @Test
  void aDiskThatWasPurgedSinceIsNotCountedOn() {
    Model model = model("m", 4 * GB);
    Outlook purged = new Outlook(NOW_MS, 4, 8_000, 200_000_000, Map.of(), 0, NOW_MS - 30_000);
    MeshView view =
        mesh(model, pod("had", "z", "1", 0, purged), pod("idle", 0))
            .copy("m", "had", loaded(), NOW_MS - 60_000)
            .view()
            .with(List.of(new Delta.CopyRemoved("had", "m")), 1_000);
    assertEquals("idle", chosen(view, model));
  }

  @Test
  void theViewRemembersLastPodsOfABoundedNumberOfModels() {
    SmallMesh mesh = new SmallMesh().pods(pod("a", 0));
    MeshView view = mesh.view();
    for (int i = 0; i < 100_000; i++) {
      // All in one batch would be faster, and would show less.
      if (i % 1_000 == 0) {
        List<Delta> batch = new java.util.ArrayList<>();
        for (int k = i; k < i + 1_000; k++) {
          batch.add(new Delta.CopyPut(new Copy("m" + k, "a", loaded(), k)));
          batch.add(new Delta.CopyRemoved("a", "m" + k));
        }
        view = view.with(batch, i);
      }
    }
    int known = 0;
    for (int i = 0; i < 100_000; i++) {
      known += view.lastIn("m" + i).size();
    }
    assertTrue(known > 50_000 && known <= 65_536, "remembered " + known);
    assertEquals("a", view.lastIn("m99999").getFirst().podId());
  }

  @Test
  void whatIsWorthMoreStays() {
    Model model = model("m", 4 * GB);
    Outlook precious = new Outlook(NOW_MS, 4, 0, 0, Map.of(), 4, 0);
    Outlook cheap = new Outlook(NOW_MS, 4, 0, 0, Map.of(), 0.1, 0);
    Pod full =
        new Pod(
            "x",
            "x:1",
            "z",
            Set.of(),
            Memory.ram(8 * GB),
            Memory.ram(8 * GB),
            0,
            0,
            false,
            0,
            "1",
            cheap);
    Pod dear = withOldestUse(rename(full, "dear").withOutlook(precious), 900_000);
    Pod poor = withOldestUse(rename(full, "poor"), 1_000);
    MeshView view = mesh(model, dear.withOutlook(precious), poor.withOutlook(cheap)).view();
    assertEquals("poor", chosen(view, model));
  }

  private static Pod rename(Pod pod, String id) {
    return new Pod(
        id,
        id + ":1",
        pod.zone(),
        pod.labels(),
        pod.capacity(),
        pod.used(),
        pod.loadsQueued(),
        pod.oldestUseMs(),
        pod.draining(),
        pod.startedMs(),
        pod.version(),
        pod.outlook());
  }

  @Test
  void aSecondCopyGoesToAnotherZoneAndNeverToTheSamePod() {
    for (int i = 0; i < 50; i++) {
      Model model = model("m" + i, GB);
      SmallMesh mesh = mesh(model);
      for (int p = 0; p < 60; p++) {
        // The other zones are busy, and half the first has the copy's neighbours.
        mesh.pods(pod("p" + p, "z" + p % 3, "1", 0, queued(p % 3 == 0 ? 0 : 40_000)));
      }
      String first = chosen(mesh.view(), model);
      mesh.copy(model.id(), first, i % 2 == 0 ? loaded() : loading());
      String second = chosen(mesh.view(), model);
      assertTrue(!zone(first).equals(zone(second)), first + " and " + second);
      mesh.copy(model.id(), second, loaded());
      String third = chosen(mesh.view(), model);
      assertEquals(3, Set.of(zone(first), zone(second), zone(third)).size());
    }
  }

  private static String zone(String podId) {
    return "z" + Integer.parseInt(podId.substring(1)) % 3;
  }

  @Test
  void whileTwoVersionsRunNewCopiesPreferTheNewer() {
    Model model = model("m", GB);
    Pod restarted = pod("old-again", "z", "1", NOW_MS, queued(0));
    Pod old = pod("old", "z", "1", NOW_MS - 1_000_000, queued(0));
    Pod fresh = pod("new", "z", "2", NOW_MS - 60_000, queued(12_000));
    assertEquals("new", chosen(mesh(model, old, restarted, fresh).view(), model));
    Pod swamped = pod("new", "z", "2", NOW_MS - 60_000, queued(600_000));
    assertTrue(chosen(mesh(model, old, restarted, swamped).view(), model).startsWith("old"));
  }

  @Test
  void aDrainingPodThatTheViewDoesNotKnowOfIsSpared() {
    Model model = model("m", GB);
    MeshView view = mesh(model, pod("a", 0), pod("b", 50_000)).view();
    Hints hints =
        Hints.NONE.heard("a", new Hints.Heard(NOW_MS + 1, 0, 0, Memory.NONE, true), NOW_MS);
    assertEquals("a", chosen(view, model));
    assertEquals("b", chosen(view, model, with(model, hints)).pod().id());
  }

  @Test
  void whatAPodAnsweredCountsUntilItsRecordIsNewer() {
    Model model = model("m", GB);
    Hints hints =
        Hints.NONE.heard("a", new Hints.Heard(NOW_MS - 5, 9, 90_000, Memory.NONE, false), NOW_MS);
    MeshView stale =
        mesh(model, pod("a", "z", "1", 0, queued(0).saidAt(NOW_MS - 40_000)), pod("b", 8_000))
            .view();
    assertEquals("a", chosen(stale, model));
    assertEquals("b", chosen(stale, model, with(model, hints)).pod().id());
    MeshView caughtUp = mesh(model, pod("a", 0), pod("b", 8_000)).view();
    assertEquals("a", chosen(caughtUp, model, with(model, hints)).pod().id());
  }

  /**
   * One pod asks for fifty loads in a moment and hears nothing: it spreads them by their length.
   */
  @Test
  void whatAPodHasJustSentCountsForItsNextChoice() {
    SmallMesh mesh = new SmallMesh();
    for (int i = 0; i < 5; i++) {
      mesh.pods(pod("p" + i, "z", "1", 0, queued(0).saidAt(NOW_MS - 40_000)));
    }
    MeshView view = mesh.view();
    Router router = new Router(placer);
    Map<String, Integer> loads = new HashMap<>();
    Hints hints = Hints.NONE;
    for (int i = 0; i < 50; i++) {
      Model model = model("m" + i, GB / 4);
      Attempt attempt = with(model, hints);
      Pod pod = chosen(view, model, attempt).pod();
      Router.Expected expected = router.expect(view, model, pod, attempt);
      hints = hints.sent(pod.id(), model.id(), expected.loadMs(), expected.size(), NOW_MS);
      loads.merge(pod.id(), 1, Integer::sum);
    }
    assertTrue(Collections.max(loads.values()) <= 12, loads.toString());
    assertEquals(5, loads.size());
  }

  @Test
  void aFurtherCallOfAModelJoinsTheLoadThatThisPodHasJustAskedFor() {
    Router router = new Router(placer);
    for (int i = 0; i < 50; i++) {
      Model model = model("m" + i, 4 * GB);
      MeshView view = mesh(model, pod("a", 0), pod("b", 0), pod("c", 0)).view();
      Pod first = chosen(view, model, with(model, Hints.NONE)).pod();
      Router.Expected expected = router.expect(view, model, first, with(model, Hints.NONE));
      Hints hints =
          Hints.NONE.sent(first.id(), model.id(), expected.loadMs(), expected.size(), NOW_MS);
      assertEquals(first, chosen(view, model, with(model, hints)).pod());
    }
  }

  /** A thousand callers of one cold model cause one load, so they must not look like a thousand. */
  @Test
  void callsOfOneModelCountAsOneLoad() {
    Hints hints = Hints.NONE;
    for (int i = 0; i < 1_000; i++) {
      hints = hints.sent("a", "m", 5_000, Memory.ram(1), NOW_MS + i);
    }
    Pod seen = hints.seen(pod("a", "z", "1", 0, queued(0).saidAt(NOW_MS - 1)), NOW_MS + 1_000);
    assertEquals(1, seen.loadsQueued());
    assertEquals(5_000, seen.outlook().queuedMs());
  }

  /** The pod's word tells how much it has queued by now, and not that this model is among it. */
  @Test
  void callsGoOnToJoinALoadAfterItsPodHasSpoken() {
    Model model = model("m", GB);
    MeshView view =
        mesh(model, pod("a", 0), pod("b", "z", "1", 0, queued(0).saidAt(NOW_MS - 500))).view();
    Hints hints =
        Hints.NONE
            .sent("a", "m", 1_000, Memory.ram(1), NOW_MS)
            .heard("a", new Hints.Heard(NOW_MS + 1, 1, 90_000, Memory.NONE, false), NOW_MS + 1)
            .sent("b", "m", 1_000, Memory.ram(1), NOW_MS - 10_000);
    assertEquals("a", chosen(view, model, with(model, hints)).pod().id());
    Pod seen = hints.seen(pod("a", "z", "1", 0, queued(0).saidAt(NOW_MS - 1)), NOW_MS + 1);
    assertEquals(1, seen.loadsQueued(), "what was sent is part of what was said");
  }

  @Test
  void hintsAreBoundedAndExpire() {
    Hints hints = Hints.NONE;
    for (int i = 0; i < 1_000; i++) {
      hints = hints.sent("p" + i, "m" + i, 1_000, Memory.ram(1), NOW_MS + i);
    }
    assertEquals(Hints.MAX_PODS, hints.size());
    for (int i = 0; i < 200; i++) {
      hints = hints.sent("p999", "m" + i, 1_000, Memory.ram(1), NOW_MS + 1_000);
    }
    Pod pod = pod("p999", "z", "1", 0, Outlook.UNKNOWN);
    assertEquals(Hints.MAX_SENT, hints.seen(pod, NOW_MS + 1_000).loadsQueued());
    assertEquals(pod, hints.seen(pod, NOW_MS + 1_001 + Hints.LIFE_MS));
  }

  @Test
  void saysWhatDecided() {
    Model model = model("m", GB);
    String why = chosen(mesh(model, pod("a", 4_000)).view(), model, attempt("m", "x")).why();
    assertTrue(why.contains("queue 1.0 s, pull 5.0 s, load 2.6 s; nothing leaves"), why);
    assertTrue(why.contains("best of 1 compared, 1 of 1 pods may load it"), why);
  }

  @Test
  void explainsEachCopyAndTheNext() {
    Model model = model("m", GB);
    MeshView view = mesh(model, pod("a", 0), pod("b", 0)).copy("m", "a", loaded()).view();
    List<String> lines = placer.explain(view, model, attempt("m", "x"));
    assertEquals(2, lines.size());
    assertTrue(lines.getFirst().startsWith("pod a: loaded for 3600 s, in 1.0 s"), lines.getFirst());
    assertTrue(lines.getLast().startsWith("next: pod b, "), lines.getLast());
  }

  @Test
  void aPodThatMeasuredNothingIsTakenToBeLikeTheOthers() {
    Outlook slow = new Outlook(NOW_MS, 4, 0, 10_000_000, Map.of("onnx", 10_000_000L), 0, 0);
    Outlook nothing = new Outlook(NOW_MS, 4, 0, 0, Map.of(), 0, 0);
    Pod[] pods = {
      pod("a", "z", "1", 0, slow), pod("b", "z", "1", 0, slow), pod("new", "z", "1", 0, nothing)
    };
    Map<String, Integer> chosen = new HashMap<>();
    for (int i = 0; i < 300; i++) {
      Model model = model("m" + i, GB);
      chosen.merge(chosen(mesh(model, pods).view(), model), 1, Integer::sum);
    }
    assertTrue(Collections.min(chosen.values()) > 50 && chosen.size() == 3, chosen.toString());
  }

  @Test
  void whatIsSentThereCountsAsInTheOthersToo() {
    Outlook slow = new Outlook(NOW_MS, 4, 0, 10_000_000, Map.of("onnx", 10_000_000L), 0, 0);
    Outlook nothing = new Outlook(NOW_MS, 4, 0, 0, Map.of(), 0, 0);
    Pod known = pod("a", "z", "1", 0, slow);
    Pod newest = pod("new", "z", "1", 0, nothing);
    Model model = model("m", GB);
    MeshView view = mesh(model, known, newest).view();
    Router router = new Router(placer);
    assertEquals(
        router.expect(view, model, known, with(model, Hints.NONE)),
        router.expect(view, model, newest, with(model, Hints.NONE)));
    MeshView held = mesh(model, known, newest).copy("m", "new", loaded()).view();
    String line = placer.explain(held, model, attempt("m", "x")).getFirst();
    assertTrue(line.contains("load 100.1 s"), line);
  }

  // The router's.

  @Test
  void aBalancedCallersModelIsLoadedWhereItsCallArrives() {
    Router router = new Router(placer);
    for (int i = 0; i < 20; i++) {
      Model model = model("m" + i, GB);
      MeshView view = mesh(model, pod("a", 0), pod("b", 0), pod("c", 0)).view();
      Attempt balanced = new Attempt(model.id(), "b", false, Set.of(), true, 0, NOW_MS);
      assertEquals(
          "b", assertInstanceOf(Route.Load.class, router.route(view, balanced)).pod().id());
      MeshView busy = mesh(model, pod("a", 0), pod("b", 400_000), pod("c", 0)).view();
      assertTrue(
          !"b".equals(assertInstanceOf(Route.Load.class, router.route(busy, balanced)).pod().id()));
    }
  }

  @Test
  void aPodFarBusierThanItsSenderKnewSendsTheCallBack() {
    Router router = new Router(placer);
    Model model = model("m", GB);
    MeshView view = mesh(model, pod("a", 60_000)).view();
    assertInstanceOf(Route.Reject.class, router.route(view, forwarded(1_000)));
    assertInstanceOf(Route.Load.class, router.route(view, forwarded(10_000)));
    assertInstanceOf(Route.Load.class, router.route(view, forwarded(-1)));
  }

  @Test
  void aCallIsNotSentBackForTheLoadOfItsOwnModel() {
    Router router = new Router(placer);
    Model model = model("m", GB);
    MeshView view = mesh(model, pod("a", 0)).view();
    Hints.Heard busy = new Hints.Heard(NOW_MS + 1, 1, 600_000, Memory.NONE, false);
    Hints ofAnother = Hints.NONE.heard("a", busy, NOW_MS + 1);
    assertInstanceOf(Route.Reject.class, router.route(view, forwarded(0, ofAnother)));
    Hints itsOwn =
        Hints.NONE.sent("a", "m", 60_000, Memory.ram(1), NOW_MS).heard("a", busy, NOW_MS + 1);
    assertInstanceOf(Route.Load.class, router.route(view, forwarded(0, itsOwn)));
  }

  private static Attempt forwarded(long promisedMs) {
    return forwarded(promisedMs, Hints.NONE);
  }

  private static Attempt forwarded(long promisedMs, Hints hints) {
    return new Attempt("m", "a", true, Set.of(), false, 0, NOW_MS, hints, promisedMs);
  }
}
