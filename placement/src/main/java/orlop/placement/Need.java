package orlop.placement;

import java.util.Comparator;

/**
 * A model that needs more or fewer copies, and how much it is used.
 *
 * @param wanted copies that there should be
 * @param keep copies that are not trimmed; at least {@code wanted}
 * @param calls per minute
 * @param lastUsedMs milliseconds since the epoch; 0 when it was never seen in use
 * @param why what asks for it, for people
 */
record Need(
    Model model, CopyCount count, int wanted, int keep, double calls, long lastUsedMs, String why) {
  static final Comparator<Need> BUSIEST_FIRST =
      Comparator.comparingDouble((Need need) -> -need.calls)
          .thenComparingLong(need -> -need.lastUsedMs)
          .thenComparing(need -> need.model.id());

  /** The mean time between two calls, milliseconds; very long for what is hardly called. */
  double gapMs() {
    return 60_000 / Math.max(calls, 1e-6);
  }
}
