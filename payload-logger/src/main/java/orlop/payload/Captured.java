package orlop.payload;

import com.google.protobuf.ByteString;
import java.util.Map;
import orlop.api.PayloadEvent;
import orlop.api.PayloadEvent.Kind;

/**
 * One event between offer and outcome. Identity matters: it is its own key in flight. Immutable but
 * for its message, which is taken or dropped once.
 */
final class Captured {
  /** Heap that one event takes beside its message: objects, queue node, ids. */
  private static final int EVENT_OVERHEAD_BYTES = 512;

  private final Kind kind;
  private final String id;
  private final String modelId;
  private final String alias;
  private final int statusCode;
  private final String contentType;
  final PayloadLog.Lent value;
  private final Map<String, String> metadata;
  private final long sequence;
  private final long timeMs;
  final long chargeBytes;

  Captured(
      Kind kind,
      String id,
      String modelId,
      String alias,
      int statusCode,
      String contentType,
      PayloadLog.Lent value,
      Map<String, String> metadata,
      long sequence,
      long timeMs,
      long chargeBytes) {
    this.kind = kind;
    this.id = id;
    this.modelId = modelId;
    this.alias = alias;
    this.statusCode = statusCode;
    this.contentType = contentType;
    this.value = value;
    this.metadata = metadata;
    this.sequence = sequence;
    this.timeMs = timeMs;
    this.chargeBytes = chargeBytes;
  }

  PayloadEvent toEvent(PayloadLogConfig config, byte[] bytes) {
    return new PayloadEvent(
        kind,
        id,
        config.source(),
        timeMs,
        modelId,
        alias,
        config.namespace(),
        statusCode,
        sequence,
        contentType,
        metadata,
        bytes);
  }

  /** What it takes of the budget until its outcome is known. */
  static long chargeBytes(PayloadLog.Lent value, Map<String, String> metadata) {
    return EVENT_OVERHEAD_BYTES + value.heldBytes() + sizeBytes(metadata);
  }

  private static long sizeBytes(Map<String, String> metadata) {
    if (metadata.isEmpty()) {
      return 0;
    }
    long size = 0;
    for (Map.Entry<String, String> entry : metadata.entrySet()) {
      size += 2L * (entry.getKey().length() + entry.getValue().length()) + 64;
    }
    return size;
  }

  /** A message that nobody else holds. */
  record Owned(ByteString value) implements PayloadLog.Lent {
    @Override
    public int size() {
      return value.size();
    }

    @Override
    public long heldBytes() {
      return value.size();
    }

    @Override
    public byte[] take() {
      return value.toByteArray();
    }

    @Override
    public void drop() {}
  }
}
