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

  /** State and since when, for people. */
  String words(long nowMs) {
    long forS = Math.max(0, nowMs - sinceMs) / 1000;
    return switch (state) {
      case CopyState.Loading() -> "loading for " + forS + " s";
      case CopyState.Loaded(Memory _, long loadMs) ->
          "loaded for " + forS + " s, in " + Estimate.seconds(loadMs);
      case CopyState.FailedToLoad(Fault _, String reason, long _) ->
          "failed " + forS + " s ago: " + reason;
      case CopyState.Unloading() -> "unloading for " + forS + " s";
    };
  }
}
