package orlop.placement;

import java.util.List;

/**
 * The models of the whole mesh in three numbers, as its leader shows them.
 *
 * @param managed registered
 * @param loaded of them, those with a loaded copy at least
 * @param failing of them, those with a copy whose last load failed
 */
public record MeshTotals(int managed, int loaded, int failing) {
  /** O(models + copies). */
  public static MeshTotals of(MeshView view) {
    int[] counts = new int[2];
    view.eachModel(
        model -> {
          List<Copy> copies = view.copies(model.id());
          if (copies.isEmpty()) {
            return;
          }
          counts[0] += copies.stream().anyMatch(Copy::isLoaded) ? 1 : 0;
          counts[1] +=
              copies.stream().anyMatch(copy -> copy.state() instanceof CopyState.FailedToLoad)
                  ? 1
                  : 0;
        });
    return new MeshTotals(view.modelCount(), counts[0], counts[1]);
  }
}
