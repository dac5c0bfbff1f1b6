package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.placement.SmallMesh.NOW_MS;
import static orlop.placement.SmallMesh.attempt;
import static orlop.placement.SmallMesh.draining;
import static orlop.placement.SmallMesh.failed;
import static orlop.placement.SmallMesh.failedForGood;
import static orlop.placement.SmallMesh.labelled;
import static orlop.placement.SmallMesh.loaded;
import static orlop.placement.SmallMesh.loading;
import static orlop.placement.SmallMesh.model;
import static orlop.placement.SmallMesh.pod;
import static orlop.placement.SmallMesh.tried;
import static orlop.placement.SmallMesh.withOldestUse;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Where a model should go: constraints, each goal against the next lower one, agreement. */
class PlacerTest {
  private final Placer placer = new Placer();

  private String chosen(MeshView view, Model model) {
    return assertInstanceOf(
            Placement.Chosen.class, placer.place(view, model, attempt(model.id(), "x")))
        .pod()
        .id();
  }

  private static SmallMesh with(Model model, Pod... pods) {
    return new SmallMesh().models(model).pods(pods);
  }

  @Test
  void keepsTheConstraints() {
    Model model = model("m", 100);
    assertEquals("b", chosen(with(model, draining(pod("a")), pod("b")).view(), model));
    assertEquals(
        "b", chosen(with(model, pod("a"), pod("b")).copy("m", "a", loaded()).view(), model));
    assertEquals(
        "b", chosen(with(model, pod("a"), pod("b")).copy("m", "a", loading()).view(), model));
    assertEquals(
        "b", chosen(with(model, pod("a"), pod("b")).copy("m", "a", failed("x", 1)).view(), model));
    Model gpu = new Model("g", "onnx", "p", "", 100, 0, 0, Set.of("gpu"), Set.of(), 0);
    assertEquals("b", chosen(with(gpu, pod("a"), labelled(pod("b"), "gpu")).view(), gpu));
    Placement placement =
        placer.place(with(model, pod("a"), pod("b")).view(), model, tried("m", "x", "a"));
    assertEquals("b", ((Placement.Chosen) placement).pod().id());
  }

  @Test
  void prefersFreeMemoryOverAnEmptyQueue() {
    Model model = model("m", 100);
    MeshView view = with(model, pod("full", "z", 950, 0), pod("free", "z", 0, 3)).view();
    assertEquals("free", chosen(view, model));
  }

  @Test
  void aPodThatAloneHasFreeMemoryIsNotSentEverything() {
    Model model = model("m", 100);
    MeshView view = with(model, pod("full", "z", 950, 0), pod("free", "z", 0, 8)).view();
    assertEquals("full", chosen(view, model));
  }

  @Test
  void spreadsCopiesOverZones() {
    Model model = model("m", 100);
    MeshView view =
        with(model, pod("a", "z1", 0, 0), pod("b", "z1", 0, 0), pod("c", "z2", 0, 7))
            .copy("m", "a", loaded())
            .view();
    assertEquals("c", chosen(view, model));
  }

  @Test
  void prefersFewLoadsQueued() {
    Model model = model("m", 100);
    MeshView view = with(model, pod("busy", "z", 0, 6), pod("idle", "z", 0, 1)).view();
    assertEquals("idle", chosen(view, model));
  }

  @Test
  void letsTheLongestUnusedGoWhenAllAreFull() {
    Model model = model("m", 100);
    MeshView view =
        with(
                model,
                withOldestUse(pod("young", "z", 1000, 0), 10_000),
                withOldestUse(pod("old", "z", 1000, 0), 600_000))
            .view();
    assertEquals("old", chosen(view, model));
  }

  @Test
  void prefersTheLabelsAModelAsksFor() {
    Model model = new Model("m", "onnx", "p", "", 100, 0, 0, Set.of(), Set.of("ssd"), 0);
    MeshView view = with(model, pod("a"), labelled(pod("b", "z", 0, 7), "ssd")).view();
    assertEquals("b", chosen(view, model));
  }

  @Test
  void prefersAPodWhereItHasNotFailedBefore() {
    Model model = model("m", 100);
    MeshView view =
        with(model, pod("sick"), pod("full", "z", 1000, 0))
            .copy("m", "sick", failed("x", -1))
            .view();
    assertEquals("full", chosen(view, model));
  }

  @Test
  void countsAcceleratorMemoryWhereThereIsOne() {
    Model model = model("m", 500);
    Pod gpu =
        new Pod(
            "gpu", "gpu:1", "z", Set.of(), new Memory(100, 1000), Memory.NONE, 0, 0, false, 0, "1");
    assertEquals(new Memory(0, 500), Placer.expectedSize(MeshView.empty(), model, gpu));
    assertEquals("gpu", chosen(with(model, gpu).view(), model));
    MeshView measured = with(model, gpu, pod("a")).copy("m", "a", loaded()).view();
    assertEquals(Memory.ram(100), Placer.expectedSize(measured, model, pod("a")));
    assertEquals(new Memory(0, 500), Placer.expectedSize(measured, model, gpu));
  }

  @Test
  void aModelThatFailedInThreePodsIsTriedInNoOther() {
    Model model = model("m", 100);
    SmallMesh mesh = with(model, pod("a"), pod("b"), pod("c"), pod("d"));
    mesh.copy("m", "a", failed("bad format", 9)).copy("m", "b", failed("bad format", 9));
    assertInstanceOf(Placement.Chosen.class, placer.place(mesh.view(), model, attempt("m", "x")));
    mesh.copy("m", "c", failed("bad format", 9));
    Placement.NoRoom none =
        assertInstanceOf(
            Placement.NoRoom.class, placer.place(mesh.view(), model, attempt("m", "x")));
    assertEquals(Route.Cause.LOAD_FAILED, none.cause());
    assertTrue(none.why().contains("3 pod(s), in a: bad format"), none.why());
  }

  @Test
  void aModelThatOnePodFoundAtFaultItselfIsTriedInNoOther() {
    Model model = model("m", 100);
    SmallMesh mesh = with(model, pod("a"), pod("b")).copy("m", "a", failedForGood("bad format"));
    Placement.NoRoom none =
        assertInstanceOf(
            Placement.NoRoom.class, placer.place(mesh.view(), model, attempt("m", "x")));
    assertEquals(Route.Cause.LOAD_FAILED, none.cause());
    assertTrue(none.why().contains("in a: bad format"), none.why());
  }

  @Test
  void whileOnePodPausesNoOtherRepeatsItsFailure() {
    Model model = model("m", 100);
    SmallMesh mesh = with(model, pod("a"), pod("b"), pod("c"));
    mesh.copy("m", "a", failed("timeout", 9)).copy("m", "b", failed("timeout", 0));
    assertEquals("c", chosen(mesh.view(), model), "a pod that has not failed may still try");
    mesh.copy("m", "c", failed("timeout", 0));
    assertInstanceOf(Placement.NoRoom.class, placer.place(mesh.view(), model, attempt("m", "x")));
    mesh.copy("m", "a", failed("timeout", 0));
    assertInstanceOf(Placement.Chosen.class, placer.place(mesh.view(), model, attempt("m", "x")));
  }

  @Test
  void saysHowManyPodsWhatRuledOut() {
    Model model = model("m", 5000);
    Placement.NoRoom none =
        assertInstanceOf(
            Placement.NoRoom.class,
            placer.place(
                with(model, pod("a"), pod("b"), draining(pod("c"))).view(),
                model,
                attempt("m", "x")));
    assertEquals(Route.Cause.NO_ROOM, none.cause());
    assertTrue(none.why().contains("1 draining, 2 too small"), none.why());
  }

  /** Equal contents, other order of arrival: the same choice, whoever asks. */
  @Test
  void podsWithEqualViewsChooseTheSamePod() {
    Random random = new Random(7);
    for (int round = 0; round < 200; round++) {
      Model model = model("m" + round, 100);
      List<Pod> pods = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        Pod pod = pod("p" + i, "z" + i % 3, random.nextInt(11) * 100, random.nextInt(6));
        pods.add(withOldestUse(pod, random.nextInt(1_000_000)));
      }
      String first = chosen(with(model, pods.toArray(Pod[]::new)).view(), model);
      Collections.shuffle(pods, random);
      assertEquals(first, chosen(with(model, pods.toArray(Pod[]::new)).view(), model));
    }
  }

  /** Small differences of stale views fall into one class and do not change the choice. */
  @Test
  void viewsThatDifferALittleMostlyAgree() {
    Random random = new Random(8);
    int agreed = 0;
    for (int round = 0; round < 500; round++) {
      Model model = model("m" + round, 10);
      SmallMesh one = new SmallMesh().models(model);
      SmallMesh other = new SmallMesh().models(model);
      for (int i = 0; i < 20; i++) {
        int used = random.nextInt(700);
        one.pods(pod("p" + i, "z", used, 0));
        other.pods(pod("p" + i, "z", used + random.nextInt(20), random.nextInt(2)));
      }
      agreed += chosen(one.view(), model).equals(chosen(other.view(), model)) ? 1 : 0;
    }
    assertTrue(agreed > 480, "agreed in " + agreed + " of 500");
  }

  /** One stale view, many cold models: they do not all go to the pod that looks best. */
  @Test
  void aStaleViewDoesNotHerd() {
    SmallMesh mesh = new SmallMesh();
    for (int i = 0; i < 50; i++) {
      mesh.pods(withOldestUse(pod("p" + i, "z", 1000, 0), 600_000 + i * 100L));
    }
    MeshView view = mesh.view();
    Map<String, Integer> counts = new HashMap<>();
    for (int i = 0; i < 1000; i++) {
      counts.merge(chosen(view, model("m" + i, 100)), 1, Integer::sum);
    }
    assertEquals(50, counts.size());
    assertTrue(Collections.max(counts.values()) < 50, "of 1000: " + counts);
  }

  /** One pod in 400 is empty: what all pods miss in the same moment is not all its own. */
  @Test
  void thePodThatAloneLooksBestIsSentABoundedShare() {
    SmallMesh mesh = new SmallMesh().pods(pod("empty"));
    for (int i = 1; i < 400; i++) {
      mesh.pods(withOldestUse(pod("p" + i, "z", 1000, 0), 600_000));
    }
    MeshView view = mesh.view();
    int share = 0;
    for (int i = 0; i < 1000; i++) {
      share += chosen(view, model("m" + i, 100)).equals("empty") ? 1 : 0;
    }
    assertTrue(share > 10 && share < 80, "of 1000 models it was sent " + share);
  }

  @Test
  void aPodThatGoesMovesItsOwnShareAlone() {
    SmallMesh all = new SmallMesh();
    for (int i = 0; i < 10; i++) {
      all.pods(pod("p" + i));
    }
    MeshView before = all.view();
    MeshView after = before.with(List.of(new Delta.PodRemoved("p3")), NOW_MS);
    for (int i = 0; i < 300; i++) {
      String old = chosen(before, model("m" + i, 10));
      if (!old.equals("p3")) {
        assertEquals(old, chosen(after, model("m" + i, 10)));
      }
    }
  }

  @Test
  void expectsTheLargestMeasuredSizeInWhateverOrderTheCopiesAreKnown() {
    Model model = model("m", 100);
    CopyState small = new CopyState.Loaded(Memory.ram(10), 1);
    CopyState large = new CopyState.Loaded(Memory.ram(30), 1);
    Pod c = pod("c");
    MeshView one =
        with(model, pod("a"), pod("b"), c).copy("m", "a", small).copy("m", "b", large).view();
    MeshView other =
        with(model, pod("a"), pod("b"), c).copy("m", "b", large).copy("m", "a", small).view();
    assertEquals(Memory.ram(30), Placer.expectedSize(one, model, c));
    assertEquals(Memory.ram(30), Placer.expectedSize(other, model, c));
  }

  @Test
  void aPodThatClaimsAllTheMemoryThereCanBeIsPlacedLikeAnyOther() {
    Model model = model("m", Long.MAX_VALUE - 10);
    Pod endless =
        new Pod(
            "a",
            "a:1",
            "z",
            Set.of(),
            Memory.ram(Long.MAX_VALUE),
            Memory.NONE,
            0,
            0,
            false,
            0,
            "1");
    assertEquals("a", chosen(with(model, endless).view(), model));
  }
}
