package orlop.registry;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * The leases of one session: another for each {@link SessionLease#MAX_KEYS} keys. The first also
 * holds the pod's own record and stands for the session. All but {@link #close} is called under the
 * session's lock.
 */
final class SessionLeases {
  private final EtcdStore store;
  private final String podId;
  private final Consumer<SessionLease> onGranted;
  private final List<SessionLease> leases = new ArrayList<>();

  /**
   * @param onGranted hears of each lease that is new, with nothing under it yet
   * @param onConfirmed runs when the first is kept: one of them is enough to look for all
   */
  SessionLeases(
      EtcdStore store, String podId, Consumer<SessionLease> onGranted, Runnable onConfirmed) {
    this.store = store;
    this.podId = podId;
    this.onGranted = onGranted;
    leases.add(new SessionLease(store, "pod " + podId, onGranted, onConfirmed));
  }

  SessionLease first() {
    return leases.getFirst();
  }

  List<SessionLease> all() {
    return List.copyOf(leases);
  }

  /** One that may hold a further key; a new one is kept from now on. */
  SessionLease withRoom() {
    for (SessionLease lease : leases) {
      if (lease.hasRoom()) {
        return lease;
      }
    }
    String owner = "pod " + podId + " #" + leases.size();
    SessionLease more = new SessionLease(store, owner, onGranted, () -> {});
    leases.add(more);
    more.lease.startKeeping();
    return more;
  }

  /** Gives these back, all at a time, so that a silent etcd costs one timeout. */
  static void close(List<SessionLease> all, String podId) {
    List<Thread> closing =
        all.stream()
            .skip(1)
            .map(share -> Thread.ofVirtual().name("orlop-leave-" + podId).start(share.lease::close))
            .toList();
    all.getFirst().lease.close();
    try {
      for (Thread thread : closing) {
        thread.join();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
