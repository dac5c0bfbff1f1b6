package orlop.bridge;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.jspecify.annotations.Nullable;

/**
 * One record between its reading and the commit of its result. The poll thread owns the mutable
 * fields; other threads see {@code record} and {@code model} only. Times from the monotonic clock
 * in nanoseconds.
 */
final class Slot {
  /**
   * What the JVM needs for a slot and its record beside the bytes of key and value; an estimate.
   */
  private static final int OVERHEAD_BYTES = 200;

  final PartitionLog log;
  final ConsumerRecord<byte[], byte[]> record;
  final ModelName model;
  final long firstAtMs;

  Outcome.@Nullable Settled settled;
  Outcome.@Nullable Later lastFailure;

  /** Calls made. */
  int tries;

  /** Calls that count against the limit: the mesh was there and failed all the same. */
  int attempts;

  /** The last failed call fell into an outage of the whole mesh and is not counted. */
  boolean excused;

  long sentNs;
  long dueNs;

  Slot(PartitionLog log, ConsumerRecord<byte[], byte[]> record, ModelName model, long firstAtMs) {
    this.log = log;
    this.record = record;
    this.model = model;
    this.firstAtMs = firstAtMs;
  }

  long bytes() {
    long bytes = OVERHEAD_BYTES + length(record.key()) + length(record.value());
    if (settled instanceof Outcome.Scored scored) {
      bytes += length(scored.value());
    }
    return bytes;
  }

  private static int length(byte @Nullable [] bytes) {
    return bytes == null ? 0 : bytes.length;
  }
}
