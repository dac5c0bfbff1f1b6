package orlop.controller;

import io.grpc.Context;
import io.grpc.stub.StreamObserver;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import orlop.api.DemandReport;
import orlop.api.PodControlGrpc;
import orlop.api.WatchDemandRequest;
import orlop.placement.Demand;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/**
 * Listens to every pod's demand stream and adds the reports up. {@link #follow} and {@link
 * #snapshot} are called by the planning thread, reports arrive on gRPC's; entries are forgotten
 * after {@link #FORGET_MS} without a call, so memory follows the models in use.
 */
final class Demands implements AutoCloseable {
  private static final long FORGET_MS = 3_600_000;

  /** Averages over about this long. */
  private static final double WINDOW_MS = 60_000;

  private static final long STEADY_GAP_MS = 60_000;

  private final Map<String, Context.CancellableContext> streams = new ConcurrentHashMap<>();
  private final Map<String, Tally> tallies = new HashMap<>();
  private final Map<String, Busy> busy = new HashMap<>();
  private final PodCalls pods;
  private final long intervalMs;
  private final java.util.function.LongSupplier clockMs;

  Demands(PodCalls pods, long intervalMs, java.util.function.LongSupplier clockMs) {
    this.pods = pods;
    this.intervalMs = intervalMs;
    this.clockMs = clockMs;
  }

  /** Calls of one model over all pods. */
  private static final class Tally {
    double callsPerMinute;
    long updatedMs;
    long steadySinceMs;
    long lastUsedMs;

    /** Waiting of the calls in {@code callsPerMinute}, decaying with them. */
    double waitedMs;

    int beats;
    long beatMs;

    void decay(long nowMs) {
      double left = Math.exp(-(nowMs - updatedMs) / WINDOW_MS);
      callsPerMinute *= left;
      waitedMs *= left;
      updatedMs = nowMs;
    }
  }

  /** How busy one pod is. */
  private static final class Busy {
    double share;
    long updatedMs;
  }

  /** Opens a stream to each pod that has none and closes those of pods that are gone. */
  void follow(MeshView view) {
    for (Pod pod : view.pods()) {
      streams.computeIfAbsent(pod.id(), id -> open(pod));
    }
    streams.forEach(
        (id, context) -> {
          if (view.pod(id) == null && streams.remove(id, context)) {
            context.cancel(null);
          }
        });
    synchronized (this) {
      busy.keySet().removeIf(id -> view.pod(id) == null);
    }
  }

  private Context.CancellableContext open(Pod pod) {
    Context.CancellableContext context = Context.ROOT.withCancellation();
    context.run(
        () ->
            PodControlGrpc.newStub(pods.channel(pod))
                .watchDemand(
                    WatchDemandRequest.newBuilder().setIntervalMs(intervalMs).build(),
                    new Reports(pod.id(), context)));
    return context;
  }

  /** A stream that ended is opened again by the next {@link #follow}. */
  private final class Reports implements StreamObserver<DemandReport> {
    private final String podId;
    private final Context.CancellableContext context;

    Reports(String podId, Context.CancellableContext context) {
      this.podId = podId;
      this.context = context;
    }

    @Override
    public void onNext(DemandReport report) {
      add(report);
    }

    @Override
    public void onError(Throwable t) {
      streams.remove(podId, context);
    }

    @Override
    public void onCompleted() {
      streams.remove(podId, context);
    }
  }

  synchronized void add(DemandReport report) {
    long nowMs = clockMs.getAsLong();
    for (DemandReport.ModelDemand model : report.getModelsList()) {
      Tally tally = tallies.computeIfAbsent(model.getModelId(), id -> new Tally());
      if (tally.steadySinceMs == 0 || nowMs - tally.updatedMs > STEADY_GAP_MS) {
        tally.steadySinceMs = nowMs;
        tally.beats = 0;
      }
      // Pods report one after the other: what they say within one interval is one beat.
      if (tally.beats == 0 || nowMs - tally.beatMs >= intervalMs) {
        tally.beats++;
        tally.beatMs = nowMs;
      }
      tally.decay(nowMs);
      tally.callsPerMinute += model.getCalls() * (60_000 / WINDOW_MS);
      tally.waitedMs += model.getWaitedMicros() / 1e3 * (60_000 / WINDOW_MS);
      tally.lastUsedMs = Math.max(tally.lastUsedMs, model.getLastUsedMs());
    }
    Busy pod = busy.computeIfAbsent(report.getPodId(), id -> new Busy());
    double left = Math.exp(-(nowMs - pod.updatedMs) / WINDOW_MS);
    pod.share = pod.share * left + Math.clamp(report.getBusy(), 0.0, 1.0) * (1 - left);
    pod.updatedMs = nowMs;
  }

  synchronized Demand snapshot() {
    long nowMs = clockMs.getAsLong();
    Map<String, Demand.Use> uses = new HashMap<>();
    tallies.values().removeIf(tally -> nowMs - tally.updatedMs > FORGET_MS);
    tallies.forEach(
        (id, tally) -> {
          long idleMs = nowMs - tally.updatedMs;
          double rate = tally.callsPerMinute * Math.exp(-idleMs / WINDOW_MS);
          long steady = idleMs > STEADY_GAP_MS ? 0 : tally.steadySinceMs;
          double queued = tally.waitedMs / Math.max(1e-9, tally.callsPerMinute);
          int beats = steady == 0 ? 0 : tally.beats;
          uses.put(id, new Demand.Use(rate, steady, tally.lastUsedMs, beats, queued));
        });
    Map<String, Double> shares = new HashMap<>();
    busy.forEach((id, pod) -> shares.put(id, pod.share));
    return new Demand(uses, shares);
  }

  /** Ends all streams; {@link #follow} opens them anew. */
  @Override
  public void close() {
    streams.values().forEach(context -> context.cancel(null));
    streams.clear();
  }
}
