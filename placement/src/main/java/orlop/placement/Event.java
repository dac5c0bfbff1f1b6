package orlop.placement;

/** What happens to one pod's {@link ModelCache}. */
public sealed interface Event {
  /**
   * Somebody wants the model here.
   *
   * @param size expected memory; corrected when loaded
   * @param lastUsedNs counts as its last use when it was never used here, nanoseconds since the
   *     epoch; decides what it may displace
   */
  record Wanted(String modelId, Memory size, long lastUsedNs) implements Event {}

  /** The runtime loaded it; {@code size} is measured. */
  record LoadDone(String modelId, Memory size) implements Event {}

  /**
   * @param permanent only a change of the model can help: no retry until it is wanted after {@link
   *     Forgotten}
   */
  record LoadFailed(String modelId, String reason, boolean permanent) implements Event {}

  record UnloadDone(String modelId) implements Event {}

  /** The memory may still be taken; the cache retries. */
  record UnloadFailed(String modelId, String reason) implements Event {}

  /** Let the copy go when it is idle: the planner trims, or an operator asks. */
  record Unwanted(String modelId) implements Event {}

  /** The model was unregistered: let the copy go and forget its failures. */
  record Forgotten(String modelId) implements Event {}

  /** From now on nothing new is loaded. */
  record Draining() implements Event {}

  /** Time has passed; at least once a second. */
  record Tick() implements Event {}
}
