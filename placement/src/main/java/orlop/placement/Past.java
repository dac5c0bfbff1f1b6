package orlop.placement;

/**
 * What the planner remembers of one model. All times are milliseconds since the epoch, 0 for never.
 *
 * @param lostMs when it last lost a copy with its pod; 0 once it stands again
 * @param steadyMs when it was last called steadily
 * @param enoughMs since when fewer copies would have sufficed; 0 while they would not
 * @param crowdedOutMs when a pod last evicted one of several copies
 * @param trimmedMs when the planner last let a copy go
 * @param bears calls per minute that a copy bears, learnt when calls queued; 0 when they never did
 * @param bearsMs when that was learnt
 */
record Past(
    long lostMs,
    long steadyMs,
    long enoughMs,
    long crowdedOutMs,
    long trimmedMs,
    double bears,
    long bearsMs) {
  static final Past NONE = new Past(0, 0, 0, 0, 0, 0, 0);

  Past lost(long nowMs) {
    return new Past(nowMs, steadyMs, enoughMs, crowdedOutMs, trimmedMs, bears, bearsMs);
  }

  Past steady(long nowMs) {
    return new Past(lostMs, nowMs, enoughMs, crowdedOutMs, trimmedMs, bears, bearsMs);
  }

  Past enough(long sinceMs) {
    return new Past(lostMs, steadyMs, sinceMs, crowdedOutMs, trimmedMs, bears, bearsMs);
  }

  Past crowdedOut(long nowMs) {
    return new Past(lostMs, steadyMs, enoughMs, nowMs, trimmedMs, bears, bearsMs);
  }

  /** Whether fewer still suffice is seen anew. */
  Past trimmed(long nowMs) {
    return new Past(lostMs, steadyMs, 0, crowdedOutMs, nowMs, bears, bearsMs);
  }

  Past bears(double callsPerMinute, long nowMs) {
    return new Past(lostMs, steadyMs, enoughMs, crowdedOutMs, trimmedMs, callsPerMinute, nowMs);
  }

  /** Without what is too old to matter. */
  Past faded(long nowMs, long recentMs) {
    boolean learnt = nowMs - bearsMs < Recall.LEARNT_MS;
    return new Past(
        within(lostMs, nowMs, recentMs),
        within(steadyMs, nowMs, recentMs),
        enoughMs,
        within(crowdedOutMs, nowMs, recentMs),
        within(trimmedMs, nowMs, recentMs),
        learnt ? bears : 0,
        learnt ? bearsMs : 0);
  }

  private static long within(long whenMs, long nowMs, long spanMs) {
    return nowMs - whenMs < spanMs ? whenMs : 0;
  }
}
