package orlop.placement;

/** What happens to one pod's {@link ModelCache}. */
public sealed interface Event {
  /**
   * Somebody wants the model here.
   *
   * @param size expected memory; corrected when loaded
   * @param lastUsedNs counts as its last use when it was never used here, nanoseconds since the
   *     epoch; decides what it may displace
   * @param purpose what for
   */
  record Wanted(String modelId, Memory size, long lastUsedNs, Purpose purpose) implements Event {
    /** For people. */
    public Wanted(String modelId, Memory size, long lastUsedNs) {
      this(modelId, size, lastUsedNs, Purpose.ONLINE);
    }
  }

  /** What a model is wanted for. */
  enum Purpose {
    /** Somebody waits, or is expected to. */
    ONLINE,
    /** Work that can wait: does not displace what people used lately, and holds a bounded share. */
    BATCH,
    /** Calls are foreseen: it stays for the time of a lease, or until its first use. */
    PREFETCH
  }

  /**
   * The runtime loaded it; {@code size} is measured.
   *
   * @param tookNs what pull and load took where the one who did it measured it; 0 when the time
   *     since {@link Action.Load} says enough
   */
  record LoadDone(String modelId, Memory size, long tookNs) implements Event {
    public LoadDone(String modelId, Memory size) {
      this(modelId, size, 0);
    }
  }

  /**
   * @param fault decides for how long it is not tried again
   */
  record LoadFailed(String modelId, String reason, Fault fault) implements Event {}

  record UnloadDone(String modelId) implements Event {}

  /** The memory may still be taken; the cache retries. */
  record UnloadFailed(String modelId, String reason) implements Event {}

  /** Let the copy go when it is idle: the planner trims, or an operator asks. */
  record Unwanted(String modelId) implements Event {}

  /** The model was unregistered: let the copy go and forget its failures. */
  record Forgotten(String modelId) implements Event {}

  /**
   * Credentials or a runtime changed: what kept models from loading may be gone, so failures are
   * forgotten.
   */
  record Reconfigured() implements Event {}

  /** The runtime no longer holds what it had loaded: the copy goes at once, whoever uses it. */
  record Lost(String modelId) implements Event {}

  /** From now on nothing new is loaded. */
  record Draining() implements Event {}

  /** Time has passed; at least once a second. */
  record Tick() implements Event {}
}
