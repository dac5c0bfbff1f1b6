package orlop.sim;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * ModelMesh's choice of the pod for a cache miss, as a baseline: the pods in its placement order, a
 * shortlist of those like the first, less those with many more calls, and of the rest one at
 * random. Source: kserve/modelmesh, class ModelMesh, its cache-miss balancer and its constants.
 *
 * <p>Its code judges all members of the shortlist but the first by the asking pod's own record;
 * {@link #asCoded} does the same, else each is judged by its own, as was meant.
 */
final class IncumbentRules {
  /** Timer of a pod's record; least pause after a load or an eviction. */
  static final long PUBLISH_MS = 40_000;

  static final long PUBLISH_LEAST_MS = 2_000;

  private static final long LRU_WINDOW_MS = 45_000;
  private static final int COUNT_FLOOR = 10;
  private static final double COUNT_FACTOR = 1.25;
  private static final int BUSY_CALLS_PER_MINUTE = 100;

  /** For a model used within the last 12 minutes, but not the last 5 seconds. */
  private static final double BUSY_FACTOR = 3;

  /** Of the capacity; less free counts as full. */
  private static final double FULL_SHARE = 0.05;

  /**
   * What a pod publishes of itself.
   *
   * @param oldestUseMs of the model that leaves first
   * @param callsPerMinute in the last minute
   */
  record Instance(
      String id,
      long capacityBytes,
      long freeBytes,
      int models,
      long oldestUseMs,
      int loading,
      int loaders,
      int callsPerMinute) {
    boolean full() {
      return freeBytes < capacityBytes * FULL_SHARE;
    }
  }

  private static final Comparator<Instance> FEWER =
      Comparator.comparingInt(Instance::models)
          .thenComparing(Comparator.comparingLong(Instance::freeBytes).reversed())
          .thenComparingLong(Instance::oldestUseMs)
          .thenComparing(i -> i.loading() >= i.loaders())
          .thenComparingInt(Instance::loading)
          .thenComparing(Comparator.comparingLong(Instance::capacityBytes).reversed())
          .thenComparingInt(Instance::callsPerMinute)
          .thenComparing(Instance::id);

  private static final Comparator<Instance> ORDER =
      (a, b) -> {
        if (a.full() != b.full()) {
          return a.full() ? 1 : -1;
        }
        int byAge = a.full() ? Long.compare(a.oldestUseMs(), b.oldestUseMs()) : 0;
        return byAge != 0 ? byAge : FEWER.compare(a, b);
      };

  private final boolean asCoded;
  private final SplittableRandom random;
  private List<Instance> sorted = List.of();

  IncumbentRules(boolean asCoded, long seed) {
    this.asCoded = asCoded;
    this.random = new SplittableRandom(seed);
  }

  /** What the pods last published. */
  void see(Collection<Instance> instances) {
    List<Instance> next = new ArrayList<>(instances);
    next.sort(ORDER);
    sorted = next;
  }

  /**
   * The pod that shall load.
   *
   * @param own the asking pod's record as it is now
   * @param excluded pods that hold, failed or refused the model
   */
  @Nullable String choose(Instance own, Set<String> excluded, long nowMs) {
    List<Instance> shortlist = new ArrayList<>();
    Instance best = null;
    for (Instance instance : sorted) {
      if (excluded.contains(instance.id())) {
        continue;
      }
      if (best == null) {
        best = instance;
      } else if (!like(best, asCoded && !instance.id().equals(own.id()) ? own : instance, nowMs)) {
        break;
      }
      shortlist.add(instance);
    }
    if (shortlist.isEmpty()) {
      return null;
    }
    if (!asCoded) {
      withoutBusy(shortlist);
    } else if (shortlist.size() > 1
        && shortlist.getFirst().callsPerMinute() >= BUSY_CALLS_PER_MINUTE) {
      // The asking pod's own record carries no calls, so all but the first look unused.
      shortlist.removeFirst();
    }
    return shortlist.get(random.nextInt(shortlist.size())).id();
  }

  private static boolean like(Instance best, Instance other, long nowMs) {
    if (best.full()) {
      long windowMs = Math.max(LRU_WINDOW_MS, (nowMs - best.oldestUseMs()) / 10);
      return other.oldestUseMs() - best.oldestUseMs() <= windowMs;
    }
    return !other.full()
        && other.freeBytes() >= best.freeBytes() / 4
        && (other.models() < COUNT_FLOOR || other.models() <= best.models() * COUNT_FACTOR);
  }

  private static void withoutBusy(List<Instance> shortlist) {
    int least = Integer.MAX_VALUE;
    for (Instance instance : shortlist) {
      least = Math.min(least, instance.callsPerMinute());
    }
    double most = Math.max(BUSY_CALLS_PER_MINUTE, least * BUSY_FACTOR);
    shortlist.removeIf(instance -> instance.callsPerMinute() > most);
  }
}
