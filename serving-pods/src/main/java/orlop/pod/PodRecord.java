package orlop.pod;

import orlop.placement.Memory;
import orlop.placement.ModelCache;
import orlop.placement.Pod;
import orlop.registry.PodSession;

/**
 * What this pod says of itself to the mesh, said again when it has changed enough to matter for a
 * while and at most once a second; draining is said at once. Owned by the host thread.
 */
final class PodRecord {
  private static final long LEAST_PAUSE_NS = 1_000_000_000;
  private static final long LOOK_NS = 100_000_000;
  private static final long OLDEST_USE_STEP_MS = 10_000;

  /*
   * Longer than a loading copy is held back. Else others would see the queue before the copy that
   * stands in it, and send further callers of the same model to a pod that looks freer.
   */
  private static final long SETTLED_NS = 400_000_000;

  private final Pod initial;
  private Pod said;
  private long lastSaidNs;
  private long lastLookNs;
  private long changedNs;
  private boolean changed;

  /**
   * @param initial the record with which the pod joined
   */
  PodRecord(Pod initial) {
    this.initial = initial;
    this.said = initial;
  }

  Pod initial() {
    return initial;
  }

  void publish(
      PodSession session, ModelCache cache, Backlog backlog, boolean draining, long nowNs) {
    boolean urgent = draining != said.draining();
    if (!urgent && (nowNs - lastSaidNs < LEAST_PAUSE_NS || nowNs - lastLookNs < LOOK_NS)) {
      return;
    }
    lastLookNs = nowNs;
    Pod now = record(cache, draining).withOutlook(backlog.outlook(cache, nowNs / 1_000_000));
    if (!urgent && !settled(matters(now), nowNs)) {
      return;
    }
    lastSaidNs = nowNs;
    changed = false;
    session.publish(now);
    said = now;
  }

  /** Whether a change that matters is there for long enough. */
  private boolean settled(boolean matters, long nowNs) {
    if (!matters || !changed) {
      changed = matters;
      changedNs = nowNs;
      return false;
    }
    return nowNs - changedNs >= SETTLED_NS;
  }

  private Pod record(ModelCache cache, boolean draining) {
    return new Pod(
        initial.id(),
        initial.address(),
        initial.zone(),
        initial.labels(),
        initial.capacity(),
        cache.used(),
        cache.loadsQueued(),
        cache.oldestUseNs() / 1_000_000,
        draining,
        initial.startedMs(),
        initial.version());
  }

  /** By more than a quarter. */
  private static boolean differ(long now, long said) {
    return Math.abs(now - said) > Math.max(now, said) / 4;
  }

  private boolean matters(Pod now) {
    Memory step = new Memory(now.capacity().ramBytes() / 100, now.capacity().vramBytes() / 100);
    return !now.used().minus(said.used()).fitsIn(step)
        || !said.used().minus(now.used()).fitsIn(step)
        || now.used().equals(Memory.NONE) != said.used().equals(Memory.NONE)
        || now.loadsQueued() != said.loadsQueued()
        || differ(now.outlook().queuedMs(), said.outlook().queuedMs())
        || differ(now.outlook().pullBytesPerS(), said.outlook().pullBytesPerS())
        || now.outlook().diskSinceMs() != said.outlook().diskSinceMs()
        || Math.abs(now.oldestUseMs() - said.oldestUseMs()) >= OLDEST_USE_STEP_MS;
  }
}
