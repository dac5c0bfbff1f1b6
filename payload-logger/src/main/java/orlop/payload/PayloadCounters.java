package orlop.payload;

import java.util.Map;

/**
 * What became of the captured events up to one moment.
 *
 * <p>{@code captured >= sent + dropped} at all times, and equal once the log is closed. Events that
 * sampling left out are not captured.
 *
 * @param captured events that sampling chose; also the last sequence number given out
 * @param sent events that the sink confirmed
 * @param dropped lost events by reason; every reason has an entry
 * @param queuedBytes budget held by events that are neither sent nor dropped
 */
public record PayloadCounters(
    long captured, long sent, Map<DropReason, Long> dropped, long queuedBytes) {

  /** Events lost for one reason. */
  public long dropped(DropReason reason) {
    return dropped.getOrDefault(reason, 0L);
  }

  /** Events lost for any reason. */
  public long droppedTotal() {
    return dropped.values().stream().mapToLong(Long::longValue).sum();
  }
}
