package orlop.bridge;

/**
 * What a stream has done since it was started, as of the last turn of its poll thread.
 *
 * @param state what it is doing
 * @param in records read; one that is read again after a failure or a rebalance counts again
 * @param out results committed
 * @param deadLettered dead letters committed
 * @param retried calls made again after a failure
 * @param commits transactions committed
 * @param aborts transactions aborted
 * @param inFlight records in the mesh
 * @param retained records read and not yet committed
 * @param retainedBytes their keys, values and results
 * @param partitions partitions owned
 * @param lag records of the owned partitions that are not committed yet, read or not; -1 while not
 *     known
 * @param sessionTimeoutMs after this time without a heartbeat the group gives the partitions of a
 *     dead bridge to another; -1 while not known
 * @param lastError the last thing that went wrong, or empty
 */
public record BridgeStatus(
    State state,
    long in,
    long out,
    long deadLettered,
    long retried,
    long commits,
    long aborts,
    int inFlight,
    int retained,
    long retainedBytes,
    int partitions,
    long lag,
    long sessionTimeoutMs,
    String lastError) {

  /** What a stream is doing. */
  public enum State {
    /** Connecting to Kafka. */
    STARTING,
    /** Reading and scoring. */
    RUNNING,
    /** Not reading, because the window is full. */
    THROTTLED,
    /** Not reading, because no pod of the mesh answers; nothing is lost or given up. */
    MESH_UNREACHABLE,
    /**
     * Kafka refuses an output or a dead letter, or cannot be reached; tried again with back-off.
     */
    DEGRADED,
    /** Closed, or ended by an error that no retry mends. */
    STOPPED
  }
}
