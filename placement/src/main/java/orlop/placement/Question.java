package orlop.placement;

import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/**
 * One model that is to be placed, and what is known of it in one view: asked of many pods. One
 * placement's; not thread-safe. Made in O(copies of the model); each answer is O(its labels).
 */
final class Question {
  /** What a load that nobody told the length of counts. */
  private static final long USUAL_LOAD_MS = 1_000;

  private static final int USUAL_LOADERS = 4;

  /** Until an unload is over. */
  private static final long UNLOAD_MS = 5_000;

  /** However precious what leaves is, it counts no more than so many loads of the newcomer. */
  private static final double MOST_LOSS = 4;

  final MeshView view;
  final Model model;
  final ExpectedSize size;
  final Set<String> required;
  final long nowMs;

  /** Whether a pod that failed to load it may not try again yet. */
  final boolean pauses;

  private final Map<String, Copy> copies;
  private final Map<String, Integer> zones;
  private final List<MeshView.Gone> gone;
  private final Set<String> preferred;
  private @Nullable String newestVersion;
  private long usualPullBytesPerS;
  private long usualLoadBytesPerS;

  Question(MeshView view, Model model, long nowMs) {
    this.view = view;
    this.model = model;
    this.nowMs = nowMs;
    this.size = ExpectedSize.of(view, model);
    this.required = view.required(model);
    this.preferred = view.preferred(model);
    this.gone = view.lastIn(model.id());
    List<Copy> all = view.copies(model.id());
    this.copies = all.isEmpty() ? Map.of() : HashMap.newHashMap(all.size());
    this.zones = all.isEmpty() ? Map.of() : new HashMap<>();
    boolean failedLately = false;
    for (Copy copy : all) {
      failedLately |= Placer.failedLately(copy, nowMs) && view.pod(copy.podId()) != null;
      copies.put(copy.podId(), copy);
      Pod pod = copy.isLoaded() || copy.isLoading() ? view.pod(copy.podId()) : null;
      if (pod != null) {
        zones.merge(pod.zone(), 1, Integer::sum);
      }
    }
    this.pauses = failedLately;
  }

  /** Most models that are to be placed have no copy anywhere. */
  @Nullable Copy copy(Pod pod) {
    return copies.isEmpty() ? null : copies.get(pod.id());
  }

  boolean failedBefore(Pod pod) {
    Copy copy = copy(pod);
    return copy != null && copy.state() instanceof CopyState.FailedToLoad;
  }

  int copiesInZone(Pod pod) {
    return zones.isEmpty() ? 0 : zones.getOrDefault(pod.zone(), 0);
  }

  int missingLabels(Pod pod) {
    if (preferred.isEmpty()) {
      return 0;
    }
    int missing = 0;
    for (String label : preferred) {
      if (!pod.labels().contains(label)) {
        missing++;
      }
    }
    return missing;
  }

  /** From now on pods of other versions count as older; null where all run the same. */
  void newest(@Nullable String version) {
    newestVersion = version;
  }

  /**
   * From now on a pod that has measured nothing counts as the one in the middle of these: it reads
   * the same storage. Taken for fast, it would draw every load of a mesh whose storage is slow.
   */
  void likely(Collection<Pod> pods) {
    usualPullBytesPerS = middle(pods.stream().mapToLong(pod -> pod.outlook().pullBytesPerS()));
    usualLoadBytesPerS = middle(pods.stream().mapToLong(this::loadBytesPerS));
  }

  /** Whether the pod's own rates say what it takes there. */
  boolean measured(Pod pod) {
    return pod.outlook().pullBytesPerS() > 0 && loadBytesPerS(pod) > 0;
  }

  private static long middle(LongStream rates) {
    long[] known = rates.filter(rate -> rate > 0).sorted().toArray();
    return known.length == 0 ? 0 : known[known.length / 2];
  }

  private long loadBytesPerS(Pod pod) {
    return pod.outlook().loadBytesPerS().getOrDefault(model.type(), 0L);
  }

  /**
   * What leaves, as estimated against what leaves elsewhere.
   *
   * @param pod as it should be by now
   * @param usualWorth {@link #worth} of what leaves in the middle of the pods compared
   */
  Estimate estimate(Pod pod, boolean byAge, double usualWorth) {
    Outlook outlook = pod.outlook();
    Memory need = size.assumedIn(pod);
    long bytes = need.ramBytes() / 2 + need.vramBytes() / 2;
    bytes = bytes > Long.MAX_VALUE / 4 ? Long.MAX_VALUE / 4 : bytes * 2;
    boolean onDisk = onDisk(pod);
    long pullRate = outlook.pullBytesPerS() > 0 ? outlook.pullBytesPerS() : usualPullBytesPerS;
    long loadRate = loadBytesPerS(pod) > 0 ? loadBytesPerS(pod) : usualLoadBytesPerS;
    long pullMs = onDisk ? 0 : LoadTimes.pullMs(bytes, pullRate);
    long loadMs = LoadTimes.loadMs(bytes, loadRate);
    Copy copy = copy(pod);
    boolean leaving = copy != null && copy.state() instanceof CopyState.Unloading;
    long lossMs = 0;
    if (!fits(pod)) {
      double share = usualWorth <= 0 ? 1 : worth(pod, byAge) / usualWorth;
      lossMs = (long) ((pullMs + loadMs) / 2.0 * Math.min(MOST_LOSS, share));
    }
    return new Estimate(
        pod,
        failedBefore(pod),
        queueMs(pod),
        onDisk,
        pullMs,
        loadMs,
        lossMs,
        leaving ? UNLOAD_MS : 0,
        copiesInZone(pod),
        missingLabels(pod),
        newestVersion != null && !newestVersion.equals(pod.version()));
  }

  boolean fits(Pod pod) {
    return size.assumedIn(pod).fitsIn(pod.free());
  }

  /** What a byte of the next to leave is worth: as the pod says, else the rarer used the less. */
  double worth(Pod pod, boolean byAge) {
    if (!byAge) {
      return pod.outlook().evictionCost();
    }
    return pod.oldestUseMs() == 0 ? 1 : 1000.0 / Math.max(1000, nowMs - pod.oldestUseMs());
  }

  /** Until the loads that are queued are done, as if the loaders shared them evenly. */
  static long queueMs(Pod pod) {
    Outlook outlook = pod.outlook();
    int loaders = outlook.loaders() > 0 ? outlook.loaders() : USUAL_LOADERS;
    long queuedMs = outlook.saidMs() > 0 ? outlook.queuedMs() : pod.loadsQueued() * USUAL_LOAD_MS;
    return pod.loadsQueued() < loaders && outlook.saidMs() == 0 ? 0 : queuedMs / loaders;
  }

  private boolean onDisk(Pod pod) {
    for (int i = 0; i < gone.size(); i++) {
      MeshView.Gone last = gone.get(i);
      if (last.podId().equals(pod.id())) {
        return last.atMs() >= pod.outlook().diskSinceMs();
      }
    }
    return false;
  }
}
