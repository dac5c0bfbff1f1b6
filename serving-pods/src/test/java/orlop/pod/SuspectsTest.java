package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import orlop.placement.Delta;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/** A pod that could not be reached is out of sight for a while, and for no longer. */
class SuspectsTest {
  private static Pod pod(String id) {
    return new Pod(id, "h:1", "", Set.of(), Memory.ram(1), Memory.NONE, 0, 0, false, 0, "");
  }

  @Test
  void aSuspectIsTakenOutOfTheViewUntilItsTimeIsOver() {
    AtomicLong nowMs = new AtomicLong(1_000);
    Suspects suspects = new Suspects(100, nowMs::get);
    MeshView view =
        MeshView.empty().with(List.of(new Delta.PodPut(pod("a")), new Delta.PodPut(pod("b"))), 1);
    assertSame(view, suspects.without(view));
    suspects.suspect("a");
    MeshView thinned = suspects.without(view);
    assertNull(thinned.pod("a"));
    assertNotNull(thinned.pod("b"));
    assertSame(thinned, suspects.without(view), "made once per view");
    nowMs.addAndGet(99);
    assertNull(suspects.without(view).pod("a"));
    nowMs.addAndGet(1);
    assertSame(view, suspects.without(view));
  }
}
