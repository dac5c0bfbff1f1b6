package orlop.pod;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Calls that wait for models to be loaded in this pod, counted by model: one cold model may have
 * three quarters of the calls and of the bytes that the pod takes, and leaves the rest to others.
 * Thread-safe; O(1).
 *
 * <p>A call counts with the bytes that had come when it began to wait. More than its stream's
 * window do not come after that.
 */
final class Parked {
  private record Share(int calls, long bytes) {}

  private final Map<String, Share> shares = new ConcurrentHashMap<>();
  private final int mostCalls;
  private final long mostBytes;

  /**
   * @param podCalls that the pod takes at a time
   * @param podBytes that those may hold
   */
  Parked(int podCalls, long podBytes) {
    mostCalls = podCalls - podCalls / 4;
    mostBytes = podBytes - podBytes / 4;
  }

  /**
   * Counts a call, until {@link #leave}.
   *
   * @return why there is no room for it, and then it is not counted; null when there is
   */
  @Nullable String enter(String modelId, long bytes) {
    Share now =
        shares.merge(
            modelId,
            new Share(1, bytes),
            (old, more) -> new Share(old.calls + 1, old.bytes + bytes));
    if (now.calls <= mostCalls && (now.calls == 1 || now.bytes <= mostBytes)) {
      return null;
    }
    leave(modelId, bytes);
    return now.calls > mostCalls
        ? "%d calls wait for model '%s', one may have %d, three quarters of maxInFlight"
            .formatted(now.calls - 1, modelId, mostCalls)
        : "the calls that wait for model '%s' would hold %d bytes, one may have %d, three quarters of maxInFlightBytes"
            .formatted(modelId, now.bytes, mostBytes);
  }

  /** Once for each {@link #enter} that was let in, with the same bytes. */
  void leave(String modelId, long bytes) {
    shares.computeIfPresent(
        modelId, (id, old) -> old.calls == 1 ? null : new Share(old.calls - 1, old.bytes - bytes));
  }

  /** Models that calls wait for. */
  int models() {
    return shares.size();
  }
}
