package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class FitTest {
  private static Pod pod(String id, long ramBytes, long vramBytes) {
    Memory capacity = new Memory(ramBytes, vramBytes);
    return new Pod(id, id + ":1", "", Set.of(), capacity, Memory.NONE, 0, 0, false, 0, "1");
  }

  private static MeshView mesh(Pod... pods) {
    List<Delta> deltas = new ArrayList<>();
    for (Pod pod : pods) {
      deltas.add(new Delta.PodPut(pod));
    }
    return MeshView.empty().with(deltas, 1);
  }

  @Test
  void aModelLargerThanAnyPodIsNamedWithTheNumbers() {
    MeshView view = mesh(pod("a", 1_000, 0), pod("b", 5_000, 0));
    assertNull(Fit.whyNowhere(view, SmallMesh.model("m", 5_000)));
    assertEquals(
        "model 'm' is expected to take 5001 bytes; the largest of the 2 pods, 'b', has 5000 bytes"
            + " of memory",
        Fit.whyNowhere(view, SmallMesh.model("m", 5_001)));
  }

  @Test
  void aPodWithAnAcceleratorOffersItsMemory() {
    MeshView view = mesh(pod("gpu", 9_000, 2_000));
    assertEquals(
        "model 'm' is expected to take 3000 bytes; the largest of the 1 pods, 'gpu', has 2000"
            + " bytes of GPU memory",
        Fit.whyNowhere(view, SmallMesh.model("m", 3_000)));
  }

  @Test
  void anUnknownSizeAndAnEmptyMeshSayNothing() {
    assertNull(Fit.whyNowhere(mesh(pod("a", 1_000, 0)), SmallMesh.model("m", 0)));
    assertNull(Fit.whyNowhere(mesh(), SmallMesh.model("m", 5_000)));
  }
}
