package orlop.placement;

/** One step that the planner wants carried out; each may be repeated without harm. */
public sealed interface Change {
  /** Why, in one line. */
  String why();

  /**
   * @param lastUsedMs last use of the model anywhere, milliseconds since the epoch: the copy
   *     displaces only what was used earlier, and itself counts as used then; 0 lets it take free
   *     memory alone
   */
  record LoadCopy(String modelId, String podId, long lastUsedMs, String why) implements Change {
    /** A load that takes free memory alone. */
    public LoadCopy(String modelId, String podId, String why) {
      this(modelId, podId, 0, why);
    }
  }

  record UnloadCopy(String modelId, String podId, String why) implements Change {}

  /** The alias's target is ready: make it the active model. */
  record PromoteAlias(String name, String targetModelId, String why) implements Change {}

  /** The alias's target cannot be loaded: record it, keep serving the active model. */
  record FailAlias(String name, String targetModelId, String why) implements Change {}
}
