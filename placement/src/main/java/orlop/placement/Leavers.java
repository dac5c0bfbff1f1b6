package orlop.placement;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * What may leave a pod, and in which order. For a call: any loaded model that nobody holds, whose
 * owner did not pin it, and that is neither in the grace period in which the first of those who
 * waited for it comes to use it nor under the lease of a prefetch. For a plan: of these, only one
 * used before what is wanted. For a batch: none that a person's call used lately.
 */
final class Leavers {
  /** What a copy here is worth when there are others. */
  private static final double WITH_OTHERS = 0.25;

  private static final int EXACTLY = 256;
  private static final long FIRST_AGE_NS = 1_000 * Step.MS;

  private final EvictionPolicy policy;
  private final CostDensity density = new CostDensity(EvictionPolicy.USES_KEPT);
  private final Usage usage;
  private final CacheConfig config;
  private final Seats seats;
  private final ResidentView view;
  private final long graceNs;
  private long firstAtNs = Long.MIN_VALUE;
  private @Nullable CacheEntry first;

  Leavers(EvictionPolicy policy, Usage usage, CacheConfig config) {
    this.policy = policy;
    this.usage = usage;
    this.config = config;
    this.seats = new Seats(policy.ordered());
    this.view = new ResidentView(usage, config.capacity());
    this.graceNs = config.graceMs() * Step.MS;
  }

  // Who is loaded.

  void loaded(CacheEntry entry, long nowNs) {
    seats.add(entry, value(entry, nowNs));
  }

  /** Its worth may have fallen: nobody wants it any more. */
  void unwanted(CacheEntry entry, long nowNs) {
    seats.revalue(entry, value(entry, nowNs));
  }

  void leaves(CacheEntry entry) {
    entry.history.left(view.of(entry));
    seats.remove(entry);
  }

  /** It leaves to make room. */
  void evicted(CacheEntry entry, long nowNs) {
    policy.evicted(view.of(entry), nowNs);
  }

  /** Tells the policy of a use, where it wants to know. */
  void seen(CacheEntry entry) {
    if (policy.learns()) {
      view.of(entry);
      // The call that it was loaded for was told of when the load was done.
      boolean again = entry.seenNs == 0 || usage.uses(entry.modelId) > 1;
      if (again && view.lastUsedNs() > entry.seenNs) {
        entry.seenNs = view.lastUsedNs();
        policy.seen(view, entry.seenNs);
      }
    }
  }

  /** Tells the policy of all uses since the last time. O(loaded models). */
  void seenAll() {
    if (policy.learns()) {
      for (int i = 0; i < seats.size(); i++) {
        seen(seats.get(i));
      }
    }
  }

  // Who leaves.

  /**
   * Who leaves for the sake of {@code entry}; null when those who may do not suffice. Looks at 64
   * for each one that leaves, and at all only when that does not suffice.
   */
  @Nullable List<CacheEntry> choose(
      CacheEntry entry, Memory missing, int missingSlots, boolean batchOnly, long nowNs) {
    Predicate<CacheEntry> allowed = other -> mayLeaveFor(entry, other, batchOnly, nowNs);
    Victims victims = new Victims(missing, missingSlots);
    Seats.Choice choice =
        seats
        .new Choice(
            other -> victims.helps(other.size) && allowed.test(other),
            other -> value(other, nowNs));
    while (!victims.suffice()) {
      CacheEntry next = choice.next();
      if (next == null) {
        break;
      }
      victims.add(next);
    }
    choice.close();
    return victims.suffice()
        ? victims.fewest()
        : chooseAmongAll(missing, missingSlots, allowed, nowNs);
  }

  private @Nullable List<CacheEntry> chooseAmongAll(
      Memory missing, int missingSlots, Predicate<CacheEntry> allowed, long nowNs) {
    List<CacheEntry> candidates = new ArrayList<>();
    for (int i = 0; i < seats.size(); i++) {
      CacheEntry other = seats.get(i);
      if (allowed.test(other)) {
        candidates.add(other);
        other.rank = value(other, nowNs);
      }
    }
    return Victims.choose(candidates, missing, missingSlots);
  }

  private boolean mayLeaveFor(CacheEntry entry, CacheEntry other, boolean batchOnly, long nowNs) {
    return other != entry
        && (entry.live || lastUsedNs(other) < entry.wantedNs)
        && (!batchOnly || isBatch(other))
        && !(isBatch(entry) && usedOnlineLately(other, nowNs))
        && idle(other, nowNs)
        && (other.unwanted || other.doomed || !stays(other, nowNs));
  }

  /** Whether its owner pinned it, or a prefetch leased it a while that is not over. */
  private boolean stays(CacheEntry entry, long nowNs) {
    return (nowNs < entry.leasedUntilNs && usage.lastUsedNs(entry.modelId) == 0)
        || usage.kept(entry.modelId);
  }

  boolean isBatch(CacheEntry entry) {
    return entry.batch && usage.lastOnlineUseNs(entry.modelId) == 0;
  }

  private boolean usedOnlineLately(CacheEntry entry, long nowNs) {
    long usedNs =
        entry.batch
            ? usage.lastOnlineUseNs(entry.modelId)
            : Math.max(entry.wantedNs, usage.lastOnlineUseNs(entry.modelId));
    return usedNs > 0 && nowNs - usedNs < config.onlineWindowMs() * Step.MS;
  }

  /** The loaded model that is worth least, held or not; null when none is loaded. */
  @Nullable CacheEntry first(long nowNs) {
    boolean fresh = first != null && first.seat >= 0 && nowNs - firstAtNs < FIRST_AGE_NS;
    if (fresh && seats.size() > EXACTLY) {
      return first;
    }
    first = null;
    firstAtNs = nowNs;
    double lowest = 0;
    for (int i = 0; i < seats.size(); i++) {
      CacheEntry entry = seats.get(i);
      double value = value(entry, nowNs);
      if (first == null || value < lowest) {
        first = entry;
        lowest = value;
      }
    }
    return first;
  }

  /** What the entry saves, in nanoseconds of load time for each second that it stays. */
  double savesNsPerSecond(CacheEntry entry, long nowNs) {
    view.of(entry);
    return density.value(view, nowNs) * view.share() * 1e9;
  }

  boolean idle(CacheEntry entry, long nowNs) {
    boolean grace =
        entry.readyNs != Long.MIN_VALUE
            && nowNs - entry.readyNs < graceNs
            && usage.lastUsedNs(entry.modelId) < entry.readyNs;
    return !grace && !usage.pinned(entry.modelId);
  }

  long lastUsedNs(CacheEntry entry) {
    return Math.max(usage.lastUsedNs(entry.modelId), Math.max(entry.wantedNs, entry.readyNs));
  }

  private double value(CacheEntry entry, long nowNs) {
    if (entry.unwanted || entry.doomed) {
      return Double.NEGATIVE_INFINITY;
    }
    double value = policy.value(view.of(entry), nowNs);
    return policy.ordered() || usage.copiesElsewhere(entry.modelId) == 0
        ? value
        : value * WITH_OTHERS;
  }
}
