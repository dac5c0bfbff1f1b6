package orlop.placement;

/**
 * One model in one pod.
 *
 * @param sinceMs when it entered {@code state}, milliseconds since the epoch
 */
public record Copy(String modelId, String podId, CopyState state, long sinceMs) {
  public boolean isLoaded() {
    return state instanceof CopyState.Loaded;
  }

  public boolean isLoading() {
    return state instanceof CopyState.Loading;
  }
}
