package orlop.runtime;

/**
 * A model that another process beside this one runs. Calls go there as they are, whatever their
 * method; {@link #infer} refuses.
 */
public interface SidecarModel extends LoadedModel {

  /** Where the runtime takes gRPC calls: {@code host:port}, or {@code unix:} and a path. */
  String address();

  /**
   * Whether the runtime's word that it does not hold this model is the model's own answer, since it
   * said so right after it had loaded it.
   */
  default boolean believed() {
    return false;
  }

  /** From now on it is. */
  default void believe() {}

  /** What its runtime lets be called, and how. */
  default SidecarMethods methods() {
    return SidecarMethods.ANY;
  }

  /** Calls that it runs at the same time; 0: as many as come. */
  default int maxConcurrency() {
    return 0;
  }

  /** Calls that may run and wait for it when its concurrency is limited. */
  default int maxInFlight() {
    return Integer.MAX_VALUE;
  }
}
