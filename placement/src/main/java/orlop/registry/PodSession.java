package orlop.registry;

import orlop.placement.CopyState;
import orlop.placement.Pod;

/**
 * One pod's own keys. Thread-safe; never blocks: writes are coalesced by key and sent in the
 * background with a bounded number in flight, the newest value wins, and after an outage all that
 * is published stands again.
 */
public interface PodSession extends AutoCloseable {
  /** Publishes the pod's own record. */
  void publish(Pod pod);

  /**
   * Publishes the state of one of this pod's copies. A load that has just begun may be announced a
   * moment later, and not at all when it ends before; a copy that is being unloaded counts as
   * withdrawn, because nobody may call it any more.
   */
  void publish(String modelId, CopyState state, long sinceMs);

  /** Takes a copy back. */
  void withdraw(String modelId);

  /** Waits until all that was published before the call is stored. */
  boolean flush(long timeoutMs) throws InterruptedException;

  /** Revokes the lease: the pod and its copies vanish at once. Idempotent. */
  @Override
  void close();
}
