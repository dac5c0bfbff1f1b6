package orlop.placement;

/** One step that the planner wants carried out; each may be repeated without harm. */
public sealed interface Change {
  /** As the last use of what may displace nothing: a moment before all uses. */
  long FREE_ONLY_MS = 1;

  /** Why, in one line. */
  String why();

  /**
   * @param lastUsedMs what was used earlier may leave for it, milliseconds since the epoch; {@link
   *     #FREE_ONLY_MS} lets it take free memory alone. Once loaded it counts as used at that
   *     moment.
   */
  record LoadCopy(String modelId, String podId, long lastUsedMs, String why) implements Change {
    /** A load that takes free memory alone. */
    public LoadCopy(String modelId, String podId, String why) {
      this(modelId, podId, FREE_ONLY_MS, why);
    }
  }

  record UnloadCopy(String modelId, String podId, String why) implements Change {}

  /** The alias's target is ready: make it the active model. */
  record PromoteAlias(String name, String targetModelId, String why) implements Change {}

  /** The alias's target cannot be loaded: record it, keep serving the active model. */
  record FailAlias(String name, String targetModelId, String why) implements Change {}
}
