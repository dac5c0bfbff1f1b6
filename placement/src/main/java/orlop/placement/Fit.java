package orlop.placement;

import org.jspecify.annotations.Nullable;

/** Whether a model is larger than any pod there is. Pure. */
public final class Fit {
  private Fit() {}

  /**
   * Says why no pod could ever hold the model, with the numbers. O(pods).
   *
   * @return null when one could, when its size is unknown, or when there are no pods to compare
   */
  public static @Nullable String whyNowhere(MeshView view, Model model) {
    long largestBytes = 0;
    Pod largest = null;
    for (Pod pod : view.pods()) {
      long bytes = pod.accelerated() ? pod.capacity().vramBytes() : pod.capacity().ramBytes();
      if (largest == null || bytes > largestBytes) {
        largest = pod;
        largestBytes = bytes;
      }
    }
    if (largest == null || model.sizeHintBytes() <= largestBytes) {
      return null;
    }
    return "model '%s' is expected to take %d bytes; the largest of the %d pods, '%s', has %d bytes %s"
        .formatted(
            model.id(),
            model.sizeHintBytes(),
            view.pods().size(),
            largest.id(),
            largestBytes,
            largest.accelerated() ? "of GPU memory" : "of memory");
  }
}
