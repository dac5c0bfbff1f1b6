package orlop.placement;

/**
 * The copies of one model that count: those in pods that the view knows and that stay.
 *
 * @param leaving loaded copies in pods that drain
 * @param misplaced loaded copies in pods that may no longer load the model
 * @param youngestMs when the last of them entered its state, milliseconds since the epoch
 */
record CopyCount(int loaded, int loading, int leaving, int misplaced, long youngestMs) {

  /** Loaded or on the way. */
  int live() {
    return loaded + loading;
  }

  static CopyCount of(MeshView view, String modelId) {
    int loaded = 0;
    int loading = 0;
    int leaving = 0;
    int misplaced = 0;
    Model model = view.model(modelId);
    long youngestMs = 0;
    for (Copy copy : view.copies(modelId)) {
      Pod pod = view.pod(copy.podId());
      if (pod == null || pod.draining()) {
        leaving += pod != null && copy.isLoaded() ? 1 : 0;
        continue;
      }
      if (model != null && !pod.labels().containsAll(view.required(model))) {
        misplaced += copy.isLoaded() ? 1 : 0;
        continue;
      }
      switch (copy.state()) {
        case CopyState.Loaded _ -> loaded++;
        case CopyState.Loading _ -> loading++;
        case CopyState.FailedToLoad _, CopyState.Unloading _ -> {}
      }
      if (copy.isLoaded() || copy.isLoading()) {
        youngestMs = Math.max(youngestMs, copy.sinceMs());
      }
    }
    return new CopyCount(loaded, loading, leaving, misplaced, youngestMs);
  }
}
