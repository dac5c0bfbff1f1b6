package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.placement.SmallMesh.draining;
import static orlop.placement.SmallMesh.loaded;
import static orlop.placement.SmallMesh.loading;
import static orlop.placement.SmallMesh.model;
import static orlop.placement.SmallMesh.pod;

import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Which copies stay for their minimum, and what a pod that goes waits for. */
class KeepsTest {
  private static Model min(String id, int copies, boolean pinned) {
    return new Model(id, "onnx", "p", "", 100, copies, 0, Set.of(), Set.of(), 0, pinned);
  }

  @Test
  void asManyCopiesAreKeptAsTheMinimumAsksForAndAllPodsAgreeWhich() {
    SmallMesh mesh = new SmallMesh().models(min("m", 2, false), model("free", 100));
    int kept = 0;
    for (String id : List.of("a", "b", "c")) {
      mesh.pods(pod(id)).copy("m", id, loaded()).copy("free", id, loaded());
    }
    for (String id : List.of("a", "b", "c")) {
      Set<String> here = Keeps.of(mesh.view(), id);
      assertFalse(here.contains("free"));
      kept += here.size();
    }
    assertEquals(2, kept);
  }

  @Test
  void minimaAreKeptInThreeQuartersOfAPodAndPinsInAllOfIt() {
    SmallMesh mesh = new SmallMesh().pods(pod("a"));
    for (int i = 0; i < 9; i++) {
      mesh.models(min("min" + i, 1, false)).copy("min" + i, "a", loaded());
    }
    assertEquals(7, Keeps.of(mesh.view(), "a").size());
    for (int i = 0; i < 9; i++) {
      mesh.models(min("min" + i, 0, true));
    }
    assertEquals(9, Keeps.of(mesh.view(), "a").size());
  }

  @Test
  void aCopyInADrainingPodIsNoReasonToLetGoOfItsSuccessor() {
    SmallMesh mesh = new SmallMesh().models(model("m", 100)).pods(pod("a"), pod("b"));
    mesh.copy("m", "a", loaded()).copy("m", "b", loaded());
    assertEquals(1, Keeps.elsewhere(mesh.view(), "b", "m"));
    mesh.pods(draining(pod("a")));
    assertEquals(0, Keeps.elsewhere(mesh.view(), "b", "m"));
  }

  @Test
  void aPodGoesWhenOthersHoldWhatItServed() {
    SmallMesh mesh = new SmallMesh().models(model("m", 100)).pods(draining(pod("a")), pod("b"));
    mesh.copy("m", "a", loaded());
    HandOver handOver = new HandOver("a", 0);
    List<String> mine = List.of("m", "unregistered");
    assertEquals(List.of("m"), handOver.missing(mesh.view(), mine));
    assertFalse(handOver.over(mesh.view(), mine, 1_000));
    mesh.copy("m", "b", loading());
    assertFalse(handOver.over(mesh.view(), mine, 60_000));
    mesh.copy("m", "b", loaded());
    assertTrue(handOver.over(mesh.view(), mine, 61_000));
  }

  @Test
  void aPodDoesNotWaitForNobody() {
    SmallMesh mesh = new SmallMesh().models(model("m", 100)).pods(draining(pod("a")));
    mesh.copy("m", "a", loaded());
    assertTrue(new HandOver("a", 0).over(mesh.view(), List.of("m"), 1));
    mesh.pods(pod("b"));
    HandOver hopeless = new HandOver("a", 0);
    assertFalse(hopeless.over(mesh.view(), List.of("m"), 1));
    assertTrue(hopeless.over(mesh.view(), List.of("m"), 1 + HandOver.PATIENCE_MS));
  }
}
