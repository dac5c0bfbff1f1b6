package orlop.bridge;

import java.util.ArrayDeque;
import java.util.Iterator;
import org.apache.kafka.common.TopicPartition;
import org.jspecify.annotations.Nullable;

/**
 * The records of one partition during one assignment, in arrival order. Not thread-safe: owned by
 * the poll thread. A partition that is lost and won again gets a new log, so that answers to calls
 * of the earlier assignment find theirs dropped and change nothing.
 *
 * <p>A slot moves {@code waiting -> in the transaction -> gone} on commit, and back to waiting on
 * abort with its result kept. A deque and not a bitmap over offsets, because compaction and
 * transaction markers leave holes in them. All operations O(1), except abort: O(slots in the
 * transaction).
 */
final class PartitionLog {
  final TopicPartition partition;
  private final ArrayDeque<Slot> waiting = new ArrayDeque<>();
  private final ArrayDeque<Slot> inTransaction = new ArrayDeque<>();
  private long position;
  private long committed;
  private long bytes;
  private boolean dropped;

  /**
   * @param position offset of the next record to read
   * @param committed the group's offset; -1 where it has none
   */
  PartitionLog(TopicPartition partition, long position, long committed) {
    this.partition = partition;
    this.position = position;
    this.committed = committed;
  }

  void append(Slot slot) {
    waiting.addLast(slot);
    bytes += slot.bytes();
  }

  /** Tells how far reading has come, over records and over holes. */
  void readUpTo(long nextOffset) {
    position = nextOffset;
  }

  void settle(Slot slot, Outcome.Settled outcome) {
    bytes -= slot.bytes();
    slot.settled = outcome;
    bytes += slot.bytes();
  }

  /** The oldest record that waits, once it has a result. */
  @Nullable Slot releasable() {
    Slot head = waiting.peekFirst();
    return head != null && head.settled != null ? head : null;
  }

  /** Moves the oldest waiting record into the transaction. */
  void release() {
    inTransaction.addLast(waiting.removeFirst());
  }

  /** Everything before this offset is in the transaction or committed. */
  long frontier() {
    Slot head = waiting.peekFirst();
    return head == null ? position : head.record.offset();
  }

  boolean hasOffsetToCommit() {
    return frontier() > committed;
  }

  void committed(long offset) {
    committed = offset;
    for (Slot slot : inTransaction) {
      bytes -= slot.bytes();
    }
    inTransaction.clear();
  }

  void aborted() {
    for (Iterator<Slot> newestFirst = inTransaction.descendingIterator(); newestFirst.hasNext(); ) {
      waiting.addFirst(newestFirst.next());
    }
    inTransaction.clear();
  }

  Iterable<Slot> transaction() {
    return inTransaction;
  }

  int size() {
    return waiting.size() + inTransaction.size();
  }

  long bytes() {
    return bytes;
  }

  void drop() {
    dropped = true;
  }

  boolean isDropped() {
    return dropped;
  }
}
