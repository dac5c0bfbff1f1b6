package orlop.bridge;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TransactionAbortedException;

/**
 * The producer and the one transaction that it has open at a time, from the first result that can
 * be released, never while records are being scored: readers behind it wait. Owned by the poll
 * thread; the producer's own thread adds refusals.
 */
final class OutputTransaction implements AutoCloseable {
  /** A record that the broker or the producer did not take. */
  record Refusal(Slot slot, Outcome.Settled outcome, Exception why) {}

  private final KafkaProducer<byte[], byte[]> producer;
  private final Topics topics;
  private final ConcurrentLinkedQueue<Refusal> refusals = new ConcurrentLinkedQueue<>();
  private boolean open;
  private long openedNs;
  private int records;
  private long bytes;

  OutputTransaction(KafkaProducer<byte[], byte[]> producer, Topics topics) {
    this.producer = producer;
    this.topics = topics;
  }

  boolean isOpen() {
    return open;
  }

  long openedNs() {
    return openedNs;
  }

  int records() {
    return records;
  }

  long bytes() {
    return bytes;
  }

  /** Adds what the slot became. Throws a KafkaException when the transaction must be aborted. */
  void send(Slot slot, Outcome.Settled outcome) {
    begin();
    ProducerRecord<byte[], byte[]> record =
        topics.written(slot, outcome, System.currentTimeMillis());
    records++;
    bytes += slot.bytes();
    producer.send(
        record,
        (written, failure) -> {
          if (failure != null && !(failure instanceof TransactionAbortedException)) {
            refusals.add(new Refusal(slot, outcome, failure));
          }
        });
  }

  private void begin() {
    if (!open) {
      producer.beginTransaction();
      open = true;
      openedNs = System.nanoTime();
      records = 0;
      bytes = 0;
    }
  }

  /** Throws a KafkaException when the transaction must be aborted. */
  void commit(Map<TopicPartition, OffsetAndMetadata> offsets, ConsumerGroupMetadata group) {
    begin();
    if (!offsets.isEmpty()) {
      producer.sendOffsetsToTransaction(offsets, group);
    }
    producer.commitTransaction();
    open = false;
  }

  /** Throws when the producer cannot go on: fenced, or unsure whether a commit took place. */
  void abort() {
    if (open) {
      producer.abortTransaction();
      open = false;
    }
  }

  /** What was refused since the last call. */
  List<Refusal> takeRefusals() {
    List<Refusal> taken = new ArrayList<>();
    for (Refusal next = refusals.poll(); next != null; next = refusals.poll()) {
      taken.add(next);
    }
    return taken;
  }

  /** Does not wait: an open transaction is ended by the next holder of the transactional id. */
  @Override
  public void close() {
    producer.close(Duration.ZERO);
  }
}
