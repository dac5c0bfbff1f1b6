package orlop.placement;

import org.jspecify.annotations.Nullable;

/** What a pod's {@link ModelCache} wants done. */
public sealed interface Action {
  /** Pull and load, then report {@link Event.LoadDone} or {@link Event.LoadFailed}. */
  record Load(String modelId) implements Action {}

  /**
   * Take no new calls for it, wait for those in flight, unload, then report {@link
   * Event.UnloadDone} or {@link Event.UnloadFailed}.
   */
  record Unload(String modelId) implements Action {}

  /**
   * Tell the mesh.
   *
   * @param state null when the copy is gone
   */
  record Publish(String modelId, @Nullable CopyState state) implements Action {}

  /** Tell everybody who waits for the model here. */
  record Answer(String modelId, Outcome outcome) implements Action {}

  /** How a want ended. */
  sealed interface Outcome {
    record Ready() implements Outcome {}

    record Failed(Fault fault, String reason, long retryAtMs) implements Outcome {}

    /** It does not fit, or what is here is worth more. */
    record NoRoom(String why) implements Outcome {}

    /** It is on its way out, and others are said to hold it. */
    record Leaving() implements Outcome {}

    record Draining() implements Outcome {}
  }
}
