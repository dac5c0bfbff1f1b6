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
 * @param tries how often one after another a first copy was planned and did not come to be loaded
 * @param triedMs when the last of these tries began
 */
record Past(
    long lostMs,
    long steadyMs,
    long enoughMs,
    long crowdedOutMs,
    long trimmedMs,
    double bears,
    long bearsMs,
    int tries,
    long triedMs) {
  static final Past NONE = new Past(0, 0, 0, 0, 0, 0, 0, 0, 0);

  /** One try: the time in which a plan may be repeated before its load is seen. */
  private static final long TRY_MS = 30_000;

  /** Tries without a call in between: what does not come to stay needs a caller to ask for it. */
  private static final int MOST_TRIES = 3;

  Past lost(long nowMs) {
    return new Past(
        nowMs, steadyMs, enoughMs, crowdedOutMs, trimmedMs, bears, bearsMs, tries, triedMs);
  }

  Past steady(long nowMs) {
    return new Past(
        lostMs, nowMs, enoughMs, crowdedOutMs, trimmedMs, bears, bearsMs, tries, triedMs);
  }

  Past enough(long sinceMs) {
    return new Past(
        lostMs, steadyMs, sinceMs, crowdedOutMs, trimmedMs, bears, bearsMs, tries, triedMs);
  }

  Past crowdedOut(long nowMs) {
    return new Past(lostMs, steadyMs, enoughMs, nowMs, trimmedMs, bears, bearsMs, tries, triedMs);
  }

  /** Whether fewer still suffice is seen anew. */
  Past trimmed(long nowMs) {
    return new Past(lostMs, steadyMs, 0, crowdedOutMs, nowMs, bears, bearsMs, tries, triedMs);
  }

  Past bears(double callsPerMinute, long nowMs) {
    return new Past(
        lostMs, steadyMs, enoughMs, crowdedOutMs, trimmedMs, callsPerMinute, nowMs, tries, triedMs);
  }

  /** A load of a first copy is planned. */
  Past tried(long lastUsedMs, long nowMs) {
    boolean same = tries > 0 && nowMs - triedMs < TRY_MS;
    int next = same ? tries : lastUsedMs > triedMs ? 1 : tries + 1;
    return new Past(
        lostMs,
        steadyMs,
        enoughMs,
        crowdedOutMs,
        trimmedMs,
        bears,
        bearsMs,
        next,
        same ? triedMs : nowMs);
  }

  /** A copy is loaded. */
  Past stands() {
    return new Past(0, steadyMs, enoughMs, crowdedOutMs, trimmedMs, bears, bearsMs, 0, 0);
  }

  /** Without what only who carries plans out can know: what came of them, and why copies went. */
  Past watched() {
    return new Past(lostMs, steadyMs, enoughMs, 0, trimmedMs, bears, bearsMs, 0, 0);
  }

  /** Whether planning a first copy has come to nothing too often since the last call. */
  boolean givenUp(long lastUsedMs, long nowMs) {
    return tries >= MOST_TRIES && nowMs - triedMs >= TRY_MS && lastUsedMs <= triedMs;
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
        learnt ? bearsMs : 0,
        tries,
        triedMs);
  }

  private static long within(long whenMs, long nowMs, long spanMs) {
    return nowMs - whenMs < spanMs ? whenMs : 0;
  }
}
