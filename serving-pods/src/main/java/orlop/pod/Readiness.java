package orlop.pod;

import java.util.List;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.MeshView;

/** Whether a model can be called, read from the view without loading anything. Pure. */
final class Readiness {
  private Readiness() {}

  /**
   * True when a copy is loaded, or when nothing stands against loading one: no copy whose last load
   * failed and may not be tried again yet.
   */
  static boolean ready(MeshView view, String modelId, long nowMs) {
    List<Copy> copies = view.copies(modelId);
    return copies.stream().anyMatch(Copy::isLoaded)
        || copies.stream().noneMatch(copy -> failing(copy, nowMs));
  }

  private static boolean failing(Copy copy, long nowMs) {
    return copy.state() instanceof CopyState.FailedToLoad(Fault _, String _, long retryAtMs)
        && nowMs < retryAtMs;
  }
}
