package orlop.registry;

import java.util.function.Consumer;

/** One of the leases of a session, and how many of its keys are under it. */
final class SessionLease implements EtcdLease.Holder {
  /**
   * In etcd 3.4 a put costs more the more keys its lease has; a lease costs three calls in 10 s.
   */
  static final int MAX_KEYS = 1_000;

  final EtcdLease lease;
  // Guarded by the session's lock.
  int keys;
  private final Consumer<SessionLease> onGranted;
  private final Runnable onConfirmed;

  SessionLease(
      EtcdStore store, String owner, Consumer<SessionLease> onGranted, Runnable onConfirmed) {
    this.onGranted = onGranted;
    this.onConfirmed = onConfirmed;
    lease = new EtcdLease(store, owner, this);
  }

  boolean hasRoom() {
    return keys < MAX_KEYS;
  }

  @Override
  public void granted(long leaseId) {
    onGranted.accept(this);
  }

  @Override
  public void confirmed() {
    onConfirmed.run();
  }
}
