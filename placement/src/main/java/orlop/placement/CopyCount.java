package orlop.placement;

/**
 * The copies of one model that count: those in pods that the view knows and that stay.
 *
 * @param leaving loaded copies in pods that drain
 * @param youngestMs when the last of them entered its state, milliseconds since the epoch
 * @param failedForGood whether every pod that last failed to load it failed for good; false when
 *     none failed
 */
record CopyCount(int loaded, int loading, int leaving, long youngestMs, boolean failedForGood) {

  /** Loaded or on the way. */
  int live() {
    return loaded + loading;
  }

  static CopyCount of(MeshView view, String modelId) {
    int loaded = 0;
    int loading = 0;
    int leaving = 0;
    int failed = 0;
    int failedForGood = 0;
    long youngestMs = 0;
    for (Copy copy : view.copies(modelId)) {
      Pod pod = view.pod(copy.podId());
      if (pod == null || pod.draining()) {
        leaving += pod != null && copy.isLoaded() ? 1 : 0;
        continue;
      }
      switch (copy.state()) {
        case CopyState.Loaded _ -> loaded++;
        case CopyState.Loading _ -> loading++;
        case CopyState.FailedToLoad(String _, long retryAtMs) -> {
          failed++;
          failedForGood += retryAtMs == Long.MAX_VALUE ? 1 : 0;
        }
        case CopyState.Unloading _ -> {}
      }
      if (copy.isLoaded() || copy.isLoading()) {
        youngestMs = Math.max(youngestMs, copy.sinceMs());
      }
    }
    return new CopyCount(
        loaded, loading, leaving, youngestMs, failed > 0 && failed == failedForGood);
  }
}
