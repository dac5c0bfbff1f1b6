package orlop.pod;

import java.util.LinkedHashMap;
import java.util.Map;
import orlop.placement.LoadTimes;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.placement.ModelCache;
import orlop.placement.Outlook;

/**
 * What this pod knows of its loads to come: what each that is queued or under way will take, how
 * fast pulls and loads went, and what its disk still has. Owned by the host thread.
 */
final class Backlog {
  private static final int REMEMBERED_LEAVERS = 10_000;

  private final LoadTimes times = new LoadTimes();
  private final Map<String, Long> expectedMs = new LinkedHashMap<>();
  private final Map<String, Long> leftMs = new Leavers();
  private final int loaders;
  private long queuedMs;
  private long diskSinceMs;

  Backlog(int loaders) {
    this.loaders = loaders;
  }

  /** A load is queued; one that is queued already changes nothing. */
  void queued(Model model, Memory size) {
    if (!expectedMs.containsKey(model.id())) {
      Long left = leftMs.get(model.id());
      boolean onDisk = left != null && left >= diskSinceMs;
      long ms = times.expectedMs(model.type(), size.ramBytes() + size.vramBytes(), onDisk);
      expectedMs.put(model.id(), ms);
      queuedMs += ms;
    }
  }

  /** It is no longer queued or under way. */
  void ended(String modelId) {
    Long ms = expectedMs.remove(modelId);
    queuedMs -= ms == null ? 0 : ms;
  }

  void loaded(Held held) {
    ended(held.model().id());
    long bytes = held.loaded().sizeBytes();
    Long left = leftMs.remove(held.model().id());
    if (!held.files().fromDisk()) {
      times.pulled(bytes, held.pullMs());
      // It was in memory until then and its files are gone: so are all that were left before.
      diskSinceMs = Math.max(diskSinceMs, left == null ? 0 : left + 1);
    }
    times.loaded(held.model().type(), bytes, held.loadMs() - held.pullMs());
  }

  void left(String modelId, long nowMs) {
    leftMs.put(modelId, nowMs);
  }

  long queuedMs() {
    return queuedMs;
  }

  Outlook outlook(ModelCache cache, long nowMs) {
    return new Outlook(
        nowMs,
        loaders,
        queuedMs,
        times.pullBytesPerS(),
        times.loadBytesPerS(),
        cache.marginalValue() * 1e9,
        diskSinceMs);
  }

  /** The last that left. */
  private static final class Leavers extends LinkedHashMap<String, Long> {
    private static final long serialVersionUID = 1L;

    @Override
    protected boolean removeEldestEntry(Map.Entry<String, Long> eldest) {
      return size() > REMEMBERED_LEAVERS;
    }
  }
}
