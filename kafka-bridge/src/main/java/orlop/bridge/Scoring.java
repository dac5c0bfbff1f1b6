package orlop.bridge;

import io.grpc.Status;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Brings slots from read to settled: which go to the mesh when, and what follows from its answers.
 * Not thread-safe: owned by the poll thread; answers arrive through an inbox that holds at most one
 * entry for each record in flight. Times in nanoseconds of the monotonic clock.
 *
 * <p><b>What counts as an attempt.</b> A call that a pod answered with a failure, and a call that
 * nobody answered while the mesh answered others. Where nobody answers, a probe asks every pod
 * whether it lives. If none does, the mesh is away: nothing is sent, nothing is counted, and all
 * that waits goes on as soon as a probe is answered.
 */
final class Scoring implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Scoring.class.getName());
  private static final long PROBE_INTERVAL_NS = TimeUnit.MILLISECONDS.toNanos(500);
  private static final long LONGEST_GRACE_WAIT_MS = 1_000;

  /** These say nothing about the record and possibly nothing about the mesh. */
  private static final Set<Status.Code> SILENCE =
      Set.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED);

  private sealed interface Event {}

  private record Scored(Slot slot, Outcome outcome) implements Event {}

  private record Probed(boolean reachable) implements Event {}

  private final StreamConfig stream;
  private final MeshClient mesh;
  private final Dispatcher dispatcher;
  private final Counters counters;
  private final CallLimit limit;
  private final MissingModels missing;
  private final LinkedBlockingQueue<Event> inbox = new LinkedBlockingQueue<>();
  private final ModelQueues ready = new ModelQueues();
  private final PriorityQueue<Slot> delayed =
      new PriorityQueue<>(Comparator.comparingLong(slot -> slot.dueNs));
  private final SplittableRandom jitter = new SplittableRandom();
  private int inFlight;
  private boolean away;
  private boolean probing;
  private long nextProbeNs;

  Scoring(StreamConfig stream, MeshClient mesh, Counters counters) {
    this.stream = stream;
    this.mesh = mesh;
    this.counters = counters;
    this.dispatcher =
        new Dispatcher(stream, mesh, (slot, outcome) -> inbox.add(new Scored(slot, outcome)));
    this.limit = new CallLimit(stream.maxInFlight());
    this.missing = new MissingModels(TimeUnit.MILLISECONDS.toNanos(stream.retry().modelGraceMs()));
  }

  void add(Slot slot) {
    ready.addLast(slot);
  }

  /** Lets go of the slots of a partition that is not ours any more; calls in flight end unheard. */
  void forget(PartitionLog log) {
    ready.forget(log);
    delayed.removeIf(slot -> slot.log == log);
  }

  /** Whether answers alone keep it busy: records are in the mesh and more wait behind them. */
  boolean isFed() {
    return inFlight > 0 && !ready.isEmpty();
  }

  int inFlight() {
    return inFlight;
  }

  boolean meshIsAway() {
    return away;
  }

  /** When this must be called again though nothing happens, at the latest {@code latestNs}. */
  long nextTurnNs(long latestNs) {
    Slot first = delayed.peek();
    long dueNs = first == null || away || probing ? latestNs : first.dueNs;
    if (away && !probing) {
      dueNs = nextProbeNs;
    }
    return dueNs - latestNs < 0 ? dueNs : latestNs;
  }

  /** Sends what may be sent. */
  void turn(long nowNs) {
    if (away) {
      if (nowNs - nextProbeNs >= 0) {
        probe(nowNs);
      }
      return;
    }
    // Until the probe has spoken it is open whether these failures count.
    while (!probing && !delayed.isEmpty() && delayed.element().dueNs - nowNs <= 0) {
      Slot slot = delayed.remove();
      if (!countsOut(slot)) {
        ready.addFirst(slot);
      }
    }
    // Answers free the places of a joined request one by one; filling them so would break up the
    // next.
    int enough = Math.clamp(limit.limit() / 2, 1, stream.maxBatchRows());
    while (limit.limit() - inFlight >= enough) {
      List<Slot> slots = ready.take(Math.min(stream.maxBatchRows(), limit.limit() - inFlight));
      if (slots.isEmpty()) {
        return;
      }
      for (Slot slot : slots) {
        slot.sentNs = nowNs;
        counters.retried += slot.tries == 0 ? 0 : 1;
        slot.tries++;
      }
      inFlight += slots.size();
      dispatcher.dispatch(slots);
    }
  }

  /** Takes in what has arrived, waiting for the first of it at most {@code waitNs}. */
  void hear(long waitNs) {
    Event event = next(waitNs);
    while (event != null) {
      long nowNs = System.nanoTime();
      switch (event) {
        case Scored scored -> {
          inFlight--;
          scored(scored.slot, scored.outcome, nowNs);
        }
        case Probed probed -> probed(probed.reachable, nowNs);
      }
      event = inbox.poll();
    }
  }

  private @Nullable Event next(long waitNs) {
    if (waitNs <= 0) {
      return inbox.poll();
    }
    try {
      return inbox.poll(waitNs, TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return null;
    }
  }

  private void scored(Slot slot, Outcome outcome, long nowNs) {
    if (slot.log.isDropped()) {
      return;
    }
    switch (outcome) {
      case Outcome.Scored scored -> {
        limit.succeeded();
        missing.found(slot.model.name());
        missing.found(scored.model());
        slot.log.settle(slot, scored);
      }
      case Outcome.Rejected rejected -> slot.log.settle(slot, rejected);
      case Outcome.Later later -> failed(slot, later, nowNs);
    }
  }

  private void failed(Slot slot, Outcome.Later later, long nowNs) {
    slot.lastFailure = later;
    slot.excused = false;
    counters.lastError = later.message();
    if (later.code() == Status.Code.NOT_FOUND) {
      if (missing.isGivenUp(later.model(), nowNs)) {
        reject(slot, Outcome.Reason.MODEL_NOT_FOUND, later);
      } else {
        slot.excused = true;
        delay(slot, Math.min(LONGEST_GRACE_WAIT_MS, backoffMs(slot)), nowNs);
      }
      return;
    }
    if (later.code() == Status.Code.RESOURCE_EXHAUSTED || later.code() == Status.Code.UNAVAILABLE) {
      limit.overloaded(nowNs);
    }
    if (SILENCE.contains(later.code())) {
      slot.excused = away;
      probe(nowNs);
      delay(slot, backoffMs(slot), nowNs);
    } else if (!countsOut(slot)) {
      slot.excused = true;
      delay(slot, backoffMs(slot), nowNs);
    }
  }

  /**
   * Counts the slot's last failure where it counts, and settles the slot if it was one too many.
   */
  private boolean countsOut(Slot slot) {
    Outcome.Later failure = slot.lastFailure;
    if (failure == null || slot.excused) {
      return false;
    }
    if (SILENCE.contains(failure.code()) && mesh.lastHeardNs() - slot.sentNs < 0) {
      return false;
    }
    slot.attempts++;
    if (slot.attempts < stream.retry().maxAttempts()) {
      return false;
    }
    reject(slot, Outcome.Reason.ATTEMPTS_EXHAUSTED, failure);
    return true;
  }

  private static void reject(Slot slot, Outcome.Reason reason, Outcome.Later failure) {
    slot.log.settle(
        slot, new Outcome.Rejected(reason, failure.code(), failure.model(), failure.message()));
  }

  /** Doubles with each try, less up to a fifth, so that failures spread. */
  private long backoffMs(Slot slot) {
    StreamConfig.Retry retry = stream.retry();
    long fullMs = retry.initialMs() << Math.min(slot.tries - 1, 20);
    long cappedMs = Math.min(fullMs, retry.maxMs());
    return cappedMs - jitter.nextLong(cappedMs / 5 + 1);
  }

  private void delay(Slot slot, long forMs, long nowNs) {
    slot.dueNs = nowNs + TimeUnit.MILLISECONDS.toNanos(forMs);
    delayed.add(slot);
  }

  private void probe(long nowNs) {
    if (!probing) {
      probing = true;
      nextProbeNs = nowNs + PROBE_INTERVAL_NS;
      mesh.reachable().thenAccept(reachable -> inbox.add(new Probed(reachable)));
    }
  }

  private void probed(boolean reachable, long nowNs) {
    probing = false;
    if (reachable && away) {
      LOG.log(System.Logger.Level.INFO, "stream {0}: the mesh answers again", stream.name());
      Slot[] waiting = delayed.toArray(Slot[]::new);
      delayed.clear();
      for (Slot slot : waiting) {
        slot.dueNs = nowNs;
        delayed.add(slot);
      }
    } else if (!reachable && !away) {
      LOG.log(
          System.Logger.Level.WARNING,
          "stream {0}: no pod of the mesh answers, reading stops until one does: {1}",
          stream.name(),
          counters.lastError);
    }
    away = !reachable;
    if (away) {
      for (Slot slot : delayed) {
        slot.excused = true;
      }
    }
  }

  @Override
  public void close() {
    dispatcher.close();
  }
}
