package orlop.placement;

/** What one pod says of one model it holds or tried to hold. */
public sealed interface CopyState {
  /**
   * Accepted: waiting for its turn, or being pulled and loaded. Calls may join it. Its memory is
   * taken once the load itself starts.
   */
  record Loading() implements CopyState {}

  /**
   * Callable.
   *
   * @param size measured memory
   * @param loadMs how long pull and load took
   */
  record Loaded(Memory size, long loadMs) implements CopyState {}

  /**
   * The last load failed.
   *
   * @param fault what kind of failure
   * @param reason one line for people
   * @param retryAtMs no new attempt on this pod before, milliseconds since the epoch; {@link
   *     Long#MAX_VALUE} when nothing but another registration can help here
   */
  record FailedToLoad(Fault fault, String reason, long retryAtMs) implements CopyState {}

  /** Accepts no new calls; its memory is still taken. */
  record Unloading() implements CopyState {}
}
