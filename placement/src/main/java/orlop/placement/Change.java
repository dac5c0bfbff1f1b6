package orlop.placement;

/** One step that the planner wants carried out; each may be repeated without harm. */
public sealed interface Change {
  /** Why, in one line. */
  String why();

  record LoadCopy(String modelId, String podId, String why) implements Change {}

  record UnloadCopy(String modelId, String podId, String why) implements Change {}

  /** The alias's target is ready: make it the active model. */
  record PromoteAlias(String name, String targetModelId, String why) implements Change {}

  /** The alias's target cannot be loaded: record it, keep serving the active model. */
  record FailAlias(String name, String targetModelId, String why) implements Change {}
}
