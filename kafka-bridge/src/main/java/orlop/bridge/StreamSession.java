package orlop.bridge;

import io.grpc.Status;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;

/**
 * One life of a stream's consumer and producer, from joining the group to the first error that they
 * do not survive. Everything here runs on the poll thread, the rebalance callbacks too.
 *
 * <p>Each turn reads, sends to the mesh, takes answers in, releases results in offset order per
 * partition into the transaction, and commits when it is due. What protects exactly-once:
 *
 * <ul>
 *   <li>an offset is committed only in the transaction of the results before it;
 *   <li>results are kept until their transaction is committed, and sent again after an abort;
 *   <li>partitions are given up only after what was released from them is committed, because the
 *       next owner starts at the committed offset as soon as the callback returns.
 * </ul>
 */
final class StreamSession implements ConsumerRebalanceListener, AutoCloseable {
  private static final System.Logger LOG = System.getLogger(StreamSession.class.getName());

  private static final int MAX_TRANSACTION_RECORDS = 10_000;
  private static final long MAX_TRANSACTION_BYTES = 16L << 20;
  private static final long IDLE_POLL_NS = TimeUnit.MILLISECONDS.toNanos(50);
  private static final long FED_POLL_INTERVAL_NS = TimeUnit.MILLISECONDS.toNanos(5);
  private static final long ANSWER_WAIT_NS = TimeUnit.MILLISECONDS.toNanos(3);
  private static final long LAG_INTERVAL_NS = TimeUnit.MILLISECONDS.toNanos(500);
  private static final long MAX_RELEASE_BACKOFF_NS = TimeUnit.SECONDS.toNanos(5);
  private static final long FIRST_RELEASE_BACKOFF_NS = TimeUnit.MILLISECONDS.toNanos(100);
  private static final double RESUME_AT = 0.7;

  private final StreamConfig stream;
  private final Counters counters;
  private final Scoring scoring;
  private final OutputTransaction transaction;
  private final KafkaConsumer<byte[], byte[]> consumer;
  private final Map<TopicPartition, PartitionLog> logs = new HashMap<>();
  private final long commitIntervalNs;
  private long lastPollNs = System.nanoTime();
  private long lastCommitNs = System.nanoTime();
  private long nextLagNs = System.nanoTime();
  private long releaseFromNs = System.nanoTime();
  private long releaseBackoffNs;
  private boolean paused;
  private boolean broken;

  private StreamSession(
      StreamConfig stream,
      Counters counters,
      Scoring scoring,
      OutputTransaction transaction,
      KafkaConsumer<byte[], byte[]> consumer) {
    this.stream = stream;
    this.counters = counters;
    this.scoring = scoring;
    this.transaction = transaction;
    this.consumer = consumer;
    this.commitIntervalNs = TimeUnit.MILLISECONDS.toNanos(stream.commitIntervalMs());
  }

  /**
   * Ends what an earlier holder of the transactional id left open, checks that the topics exist and
   * joins the group. Throws a KafkaException that names what could not be done.
   */
  static StreamSession open(
      KafkaClients clients,
      StreamConfig stream,
      String instance,
      MeshClient mesh,
      Counters counters) {
    KafkaProducer<byte[], byte[]> producer = clients.producer();
    try {
      producer.initTransactions();
      Topics topics =
          new Topics(
              stream,
              instance,
              partitions(producer, stream.inputTopic()),
              partitions(producer, stream.outputTopic()),
              partitions(producer, stream.deadLetterTopic()));
      KafkaConsumer<byte[], byte[]> consumer = clients.consumer();
      StreamSession session =
          new StreamSession(
              stream,
              counters,
              new Scoring(stream, mesh, counters),
              new OutputTransaction(producer, topics),
              consumer);
      consumer.subscribe(List.of(stream.inputTopic()), session);
      return session;
    } catch (RuntimeException e) {
      producer.close(Duration.ZERO);
      throw e;
    }
  }

  private static int partitions(KafkaProducer<byte[], byte[]> producer, String topic) {
    try {
      return producer.partitionsFor(topic).size();
    } catch (TimeoutException e) {
      throw new KafkaException("topic " + topic + " does not exist or is not visible", e);
    }
  }

  /** Works until told to stop, then finishes what is in flight within the given time. */
  void run(CountDownLatch stop, long drainTimeoutMs) {
    try {
      while (stop.getCount() > 0) {
        turn();
      }
      drain(TimeUnit.MILLISECONDS.toNanos(drainTimeoutMs));
    } catch (RuntimeException e) {
      broken = true;
      throw e;
    }
  }

  private void turn() {
    // A poll costs as much as several records, and every answer makes a turn.
    if (!scoring.isFed() || System.nanoTime() - lastPollNs >= FED_POLL_INTERVAL_NS) {
      append(consumer.poll(Duration.ofNanos(pollNs())));
      lastPollNs = System.nanoTime();
      scoring.turn(lastPollNs);
    }
    scoring.hear(waitForAnswersNs());
    scoring.turn(System.nanoTime());
    releaseAndCommit(false);
    balance();
    report();
  }

  /** Nothing to wait for but records: wait in the poll. Else wait for answers, in hear. */
  private long pollNs() {
    if (scoring.inFlight() > 0) {
      return 0;
    }
    long nowNs = System.nanoTime();
    long latestNs = nowNs + IDLE_POLL_NS;
    long dueNs = scoring.nextTurnNs(latestNs);
    if (commitIsWanted() && commitDueNs() - dueNs < 0) {
      dueNs = commitDueNs();
    }
    return Math.max(0, dueNs - nowNs);
  }

  private long waitForAnswersNs() {
    if (scoring.inFlight() == 0) {
      return 0;
    }
    long leftNs = commitIsWanted() ? commitDueNs() - System.nanoTime() : ANSWER_WAIT_NS;
    return Math.clamp(leftNs, 0, ANSWER_WAIT_NS);
  }

  private void append(ConsumerRecords<byte[], byte[]> records) {
    long nowMs = records.isEmpty() ? 0 : System.currentTimeMillis();
    for (TopicPartition partition : records.partitions()) {
      PartitionLog log = logs.get(partition);
      if (log == null) {
        throw new IllegalStateException("records of " + partition + ", which was not assigned");
      }
      for (ConsumerRecord<byte[], byte[]> record : records.records(partition)) {
        Slot slot = new Slot(log, record, Topics.modelOf(record), nowMs);
        log.append(slot);
        scoring.add(slot);
        counters.in++;
      }
    }
    records
        .nextOffsets()
        .forEach(
            (partition, next) -> {
              PartitionLog log = logs.get(partition);
              if (log != null) {
                log.readUpTo(next.offset());
              }
            });
  }

  /**
   * @param now commit whatever was released, due or not
   */
  private void releaseAndCommit(boolean now) {
    if (releaseFromNs - System.nanoTime() > 0) {
      return;
    }
    try {
      for (PartitionLog log : logs.values()) {
        release(log);
      }
      if (commitIsWanted() && (now || System.nanoTime() - commitDueNs() >= 0)) {
        commit();
      }
    } catch (KafkaException e) {
      abort(e);
    }
  }

  private void release(PartitionLog log) {
    for (Slot slot = log.releasable(); slot != null; slot = log.releasable()) {
      Outcome.Settled settled = slot.settled;
      if (settled == null) {
        return;
      }
      // First into the log's transaction, so that an abort brings it back if the send fails.
      log.release();
      transaction.send(slot, settled);
      if (transaction.records() >= MAX_TRANSACTION_RECORDS
          || transaction.bytes() >= MAX_TRANSACTION_BYTES) {
        commit();
      }
    }
  }

  private boolean commitIsWanted() {
    if (transaction.isOpen()) {
      return true;
    }
    for (PartitionLog log : logs.values()) {
      if (log.hasOffsetToCommit()) {
        return true;
      }
    }
    return false;
  }

  private long commitDueNs() {
    return commitIntervalNs + (transaction.isOpen() ? transaction.openedNs() : lastCommitNs);
  }

  private void commit() {
    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
    for (PartitionLog log : logs.values()) {
      if (log.hasOffsetToCommit()) {
        offsets.put(log.partition, new OffsetAndMetadata(log.frontier()));
      }
    }
    transaction.commit(offsets, consumer.groupMetadata());
    for (PartitionLog log : logs.values()) {
      for (Slot slot : log.transaction()) {
        if (slot.settled instanceof Outcome.Rejected) {
          counters.deadLettered++;
        } else {
          counters.out++;
        }
      }
      log.committed(log.frontier());
    }
    counters.commits++;
    lastCommitNs = System.nanoTime();
    releaseBackoffNs = 0;
  }

  /** Takes released results back into their logs and waits before they are released again. */
  private void abort(KafkaException why) {
    counters.aborts++;
    try {
      transaction.abort();
    } catch (RuntimeException e) {
      e.addSuppressed(why);
      throw new KafkaException("producer cannot go on after: " + why.getMessage(), e);
    }
    for (PartitionLog log : logs.values()) {
      log.aborted();
    }
    boolean mended = false;
    String told = String.valueOf(why.getMessage());
    for (OutputTransaction.Refusal refusal : transaction.takeRefusals()) {
      Slot slot = refusal.slot();
      boolean result = refusal.outcome() instanceof Outcome.Scored;
      if (result && refusal.why() instanceof RecordTooLargeException) {
        slot.log.settle(slot, tooLarge((Outcome.Scored) refusal.outcome(), refusal.why()));
        mended = true;
        told = "result too large for " + stream.outputTopic() + ", becomes a dead letter";
      } else {
        told =
            (result
                    ? "result for " + stream.outputTopic()
                    : "dead letter for " + stream.deadLetterTopic())
                + " not written: "
                + refusal.why().getMessage();
      }
    }
    // A rebalance overtook the commit: the next poll tells what is still ours.
    boolean overtaken = why instanceof CommitFailedException;
    long longestNs = mended || overtaken ? 0 : MAX_RELEASE_BACKOFF_NS;
    releaseBackoffNs =
        Math.min(longestNs, Math.max(FIRST_RELEASE_BACKOFF_NS, 2 * releaseBackoffNs));
    releaseFromNs = System.nanoTime() + releaseBackoffNs;
    counters.lastError = told;
    LOG.log(
        System.Logger.Level.WARNING,
        "stream {0}: transaction aborted, its results are kept and sent again: {1}",
        stream.name(),
        told);
  }

  private Outcome.Rejected tooLarge(Outcome.Scored scored, Exception why) {
    return new Outcome.Rejected(
        Outcome.Reason.OUTPUT_TOO_LARGE,
        Status.Code.OK,
        scored.model(),
        stream.outputTopic() + ": " + why.getMessage());
  }

  private boolean isDegraded() {
    return releaseBackoffNs > 0;
  }

  /** Stops reading at the high-water mark and goes on below 70 % of it. */
  private void balance() {
    int records = 0;
    long bytes = 0;
    for (PartitionLog log : logs.values()) {
      records += log.size();
      bytes += log.bytes();
    }
    counters.retained = records;
    counters.retainedBytes = bytes;
    double mark = paused ? RESUME_AT : 1;
    boolean full =
        records >= mark * stream.window().records() || bytes >= mark * stream.window().bytes();
    boolean stop = full || scoring.meshIsAway() || isDegraded();
    if (stop && !paused) {
      consumer.pause(logs.keySet());
    } else if (!stop && paused) {
      consumer.resume(logs.keySet());
    }
    paused = stop;
  }

  private void report() {
    long nowNs = System.nanoTime();
    if (nowNs - nextLagNs >= 0) {
      nextLagNs = nowNs + LAG_INTERVAL_NS;
      learnPositions();
      counters.lag = lag();
    }
    counters.inFlight = scoring.inFlight();
    counters.partitions = logs.size();
    counters.publish(
        isDegraded()
            ? BridgeStatus.State.DEGRADED
            : scoring.meshIsAway()
                ? BridgeStatus.State.MESH_UNREACHABLE
                : paused ? BridgeStatus.State.THROTTLED : BridgeStatus.State.RUNNING);
  }

  /**
   * Where the group has no offset and no record has come, the place where reading starts is known
   * to this consumer only; committing it keeps a successor from starting elsewhere.
   */
  private void learnPositions() {
    for (PartitionLog log : logs.values()) {
      if (log.frontier() < 0) {
        try {
          log.readUpTo(consumer.position(log.partition, Duration.ofMillis(100)));
        } catch (TimeoutException e) {
          return;
        }
      }
    }
  }

  private long lag() {
    long lag = 0;
    for (PartitionLog log : logs.values()) {
      OptionalLong unread = consumer.currentLag(log.partition);
      if (unread.isEmpty()) {
        return -1;
      }
      lag += unread.getAsLong() + log.size();
    }
    return lag;
  }

  private void drain(long timeoutNs) {
    long untilNs = System.nanoTime() + timeoutNs;
    while (scoring.inFlight() > 0 && untilNs - System.nanoTime() > 0) {
      scoring.hear(Math.max(1, Math.min(ANSWER_WAIT_NS, untilNs - System.nanoTime())));
      releaseAndCommit(false);
    }
    releaseAndCommit(true);
  }

  @Override
  public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
    for (TopicPartition partition : partitions) {
      logs.put(partition, new PartitionLog(partition, -1, -1));
    }
    if (paused) {
      consumer.pause(partitions);
    }
  }

  @Override
  public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
    if (!broken) {
      scoring.hear(0);
      releaseAndCommit(true);
    }
    drop(partitions);
  }

  /** Another may own these already, so nothing of them may be committed. */
  @Override
  public void onPartitionsLost(Collection<TopicPartition> partitions) {
    if (!broken && transaction.isOpen()) {
      abort(new CommitFailedException("partitions " + partitions + " were lost"));
    }
    drop(partitions);
  }

  private void drop(Collection<TopicPartition> partitions) {
    for (TopicPartition partition : partitions) {
      PartitionLog log = logs.remove(partition);
      if (log != null) {
        log.drop();
        scoring.forget(log);
      }
    }
  }

  /** Leaves the group, so that others take over at once. */
  @Override
  public void close() {
    scoring.close();
    try {
      consumer.close(CloseOptions.timeout(Duration.ofSeconds(5)));
    } catch (KafkaException e) {
      LOG.log(
          System.Logger.Level.WARNING,
          "stream {0}: consumer did not close cleanly: {1}",
          stream.name(),
          e.getMessage());
    } finally {
      transaction.close();
    }
  }
}
