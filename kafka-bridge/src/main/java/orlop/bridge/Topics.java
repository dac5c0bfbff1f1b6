package orlop.bridge;

import io.grpc.Status;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;

/**
 * How a stream's records look on its topics: which model an input names, and the record that a
 * settled slot becomes. Immutable, thread-safe.
 *
 * <p>A result keeps the input's key and headers and carries where it came from. A dead letter keeps
 * key, value and headers byte for byte and carries why in headers {@code orlop-dlq-*}; where a
 * replayed record had such headers already, the last one counts.
 *
 * <p>Where the topic has as many partitions as the input, a record stays on its partition number,
 * whatever its key and whoever partitioned the input; else its key decides.
 */
final class Topics {
  static final String CONTENT_TYPE = "content-type";
  static final String MODEL = "orlop-model-id";
  static final String SOURCE = "orlop-source-";
  static final String DEAD_LETTER = "orlop-dlq-";

  private static final int MAX_MESSAGE_CHARS = 1024;

  private final StreamConfig stream;
  private final String instance;
  private final int sharedWithOutput;
  private final int sharedWithDeadLetters;

  /**
   * @param inputs partitions of the input topic; likewise the others
   */
  Topics(StreamConfig stream, String instance, int inputs, int outputs, int deadLetters) {
    this.stream = stream;
    this.instance = instance;
    this.sharedWithOutput = inputs == outputs ? inputs : 0;
    this.sharedWithDeadLetters = inputs == deadLetters ? inputs : 0;
  }

  static ModelName modelOf(ConsumerRecord<byte[], byte[]> record) {
    String model = text(record, Headers.MODEL_ID);
    if (!model.isEmpty()) {
      return new ModelName(model, false);
    }
    String alias = text(record, Headers.VMODEL_ID);
    return alias.isEmpty() ? ModelName.NONE : new ModelName(alias, true);
  }

  /** The last header of this name in UTF-8, or empty. */
  static String text(ConsumerRecord<byte[], byte[]> record, String name) {
    Header header = record.headers().lastHeader(name);
    byte[] value = header == null ? null : header.value();
    return value == null ? "" : new String(value, StandardCharsets.UTF_8);
  }

  ProducerRecord<byte[], byte[]> written(Slot slot, Outcome.Settled outcome, long nowMs) {
    return switch (outcome) {
      case Outcome.Scored scored -> result(slot, scored);
      case Outcome.Rejected rejected -> deadLetter(slot, rejected, nowMs);
    };
  }

  private ProducerRecord<byte[], byte[]> result(Slot slot, Outcome.Scored scored) {
    ConsumerRecord<byte[], byte[]> record = slot.record;
    RecordHeaders headers = new RecordHeaders(record.headers());
    if (!scored.model().isEmpty()) {
      put(headers, MODEL, scored.model());
    }
    putSource(headers, SOURCE, record);
    return new ProducerRecord<>(
        stream.outputTopic(),
        partition(record, sharedWithOutput),
        null,
        record.key(),
        scored.value(),
        headers);
  }

  private ProducerRecord<byte[], byte[]> deadLetter(
      Slot slot, Outcome.Rejected rejected, long nowMs) {
    ConsumerRecord<byte[], byte[]> record = slot.record;
    RecordHeaders headers = new RecordHeaders(record.headers());
    put(headers, DEAD_LETTER + "reason", rejected.reason().name());
    put(headers, DEAD_LETTER + "message", shortened(rejected.message()));
    if (rejected.code() != Status.Code.OK) {
      put(headers, DEAD_LETTER + "grpc-code", rejected.code().name());
    }
    if (!rejected.model().isEmpty()) {
      put(headers, DEAD_LETTER + "model", rejected.model());
    }
    put(headers, DEAD_LETTER + "attempts", Integer.toString(slot.tries));
    put(headers, DEAD_LETTER + "first-at", Long.toString(slot.firstAtMs));
    put(headers, DEAD_LETTER + "last-at", Long.toString(nowMs));
    put(headers, DEAD_LETTER + "stream", stream.name());
    put(headers, DEAD_LETTER + "group", stream.group());
    put(headers, DEAD_LETTER + "instance", instance);
    record
        .leaderEpoch()
        .ifPresent(epoch -> put(headers, DEAD_LETTER + "leader-epoch", epoch.toString()));
    putSource(headers, DEAD_LETTER, record);
    return new ProducerRecord<>(
        stream.deadLetterTopic(),
        partition(record, sharedWithDeadLetters),
        null,
        record.key(),
        record.value(),
        headers);
  }

  private static @Nullable Integer partition(ConsumerRecord<byte[], byte[]> record, int shared) {
    return record.partition() < shared ? record.partition() : null;
  }

  private static void putSource(
      RecordHeaders headers, String prefix, ConsumerRecord<byte[], byte[]> record) {
    put(headers, prefix + "topic", record.topic());
    put(headers, prefix + "partition", Integer.toString(record.partition()));
    put(headers, prefix + "offset", Long.toString(record.offset()));
    put(headers, prefix + "timestamp", Long.toString(record.timestamp()));
  }

  private static void put(RecordHeaders headers, String name, String value) {
    headers.add(name, value.getBytes(StandardCharsets.UTF_8));
  }

  private static String shortened(@Nullable String message) {
    if (message == null) {
      return "";
    }
    return message.length() <= MAX_MESSAGE_CHARS
        ? message
        : message.substring(0, MAX_MESSAGE_CHARS) + "...";
  }
}
