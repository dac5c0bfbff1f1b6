package orlop.registry;

import orlop.placement.Delta;

/** One key of a session and the last word on it. Guarded by the session's lock. */
final class SessionKey {
  final String key;
  final SessionLease share;
  Delta last;
  long number;
  // The number under which it stands in unstored; 0 when it is stored.
  long unstoredNumber;
  boolean inFlight;
  // The revision of the last write that was confirmed.
  long storedAt;

  SessionKey(String key, SessionLease share, Delta last) {
    this.key = key;
    this.share = share;
    this.last = last;
  }
}
