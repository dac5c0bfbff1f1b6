package orlop.bridge;

/**
 * The figures of a stream over the life of its server, over all of its sessions. The poll thread
 * writes; other threads read what it published last.
 */
final class Counters {
  long in;
  long out;
  long deadLettered;
  long retried;
  long commits;
  long aborts;
  int inFlight;
  int retained;
  long retainedBytes;
  int partitions;
  long lag = -1;
  String lastError = "";

  /** Written once by the thread that asks the broker. */
  volatile long sessionTimeoutMs = -1;

  private volatile BridgeStatus published = snapshot(BridgeStatus.State.STARTING);

  void publish(BridgeStatus.State state) {
    published = snapshot(state);
  }

  BridgeStatus published() {
    return published;
  }

  private BridgeStatus snapshot(BridgeStatus.State state) {
    return new BridgeStatus(
        state,
        in,
        out,
        deadLettered,
        retried,
        commits,
        aborts,
        inFlight,
        retained,
        retainedBytes,
        partitions,
        lag,
        sessionTimeoutMs,
        lastError);
  }
}
