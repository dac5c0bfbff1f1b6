package orlop.controller;

import io.grpc.Context;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;
import orlop.api.DemandReport;
import orlop.api.PodControlGrpc;
import orlop.api.WatchDemandRequest;
import orlop.placement.Demand;
import orlop.placement.DemandMeter;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/**
 * Listens to every pod's demand stream and has a {@link DemandMeter} add the reports up. {@link
 * #follow} and {@link #snapshot} are called by the planning thread, reports arrive on gRPC's.
 */
final class Demands implements AutoCloseable {
  private final Map<String, Context.CancellableContext> streams = new ConcurrentHashMap<>();
  private final DemandMeter meter;
  private final PodCalls pods;
  private final long intervalMs;
  private final LongSupplier clockMs;
  private final Runnable podGone;

  /** What is listened to. Guarded by this. */
  private MeshView followed = MeshView.empty();

  /**
   * @param podGone run when nobody listens any more where a pod was
   */
  Demands(PodCalls pods, long intervalMs, long memoryMs, LongSupplier clockMs, Runnable podGone) {
    this.pods = pods;
    this.intervalMs = intervalMs;
    this.meter = new DemandMeter(intervalMs, memoryMs);
    this.clockMs = clockMs;
    this.podGone = podGone;
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
      followed = view;
      meter.retain(view);
    }
  }

  private Context.CancellableContext open(Pod pod) {
    Context.CancellableContext context = Context.ROOT.withCancellation();
    context.run(
        () ->
            PodControlGrpc.newStub(pods.channel(pod))
                .watchDemand(
                    WatchDemandRequest.newBuilder().setIntervalMs(intervalMs).build(),
                    new Reports(pod, context)));
    return context;
  }

  /** A stream that ended is opened again by the next {@link #follow}. */
  private final class Reports implements StreamObserver<DemandReport> {
    private final Pod pod;
    private final Context.CancellableContext context;

    Reports(Pod pod, Context.CancellableContext context) {
      this.pod = pod;
      this.context = context;
    }

    @Override
    public void onNext(DemandReport report) {
      add(report);
    }

    @Override
    public void onError(Throwable t) {
      if (Status.fromThrowable(t).getCode() == Status.Code.UNAVAILABLE) {
        unreachable(pod.id());
        Thread.startVirtualThread(() -> look(pod));
      }
      streams.remove(pod.id(), context);
    }

    @Override
    public void onCompleted() {
      streams.remove(pod.id(), context);
    }
  }

  /**
   * A pod whose machine says that nobody listens there has ended, and need not be waited for; one
   * that does not answer may only be out of our sight. Each pod is looked at until it counts as
   * gone.
   */
  private void look(Pod pod) {
    if (inDoubt(pod) && PodCalls.refused(pod) && isNews(pod)) {
      podGone.run();
    }
  }

  /** Whether it is the mesh's pod of that id, and not known to be gone. */
  private synchronized boolean inDoubt(Pod pod) {
    Pod standing = followed.pod(pod.id());
    return standing != null
        && standing.address().equals(pod.address())
        && !meter.isGone(pod.id(), clockMs.getAsLong());
  }

  private synchronized boolean isNews(Pod pod) {
    return inDoubt(pod) && meter.gone(pod.id(), clockMs.getAsLong());
  }

  synchronized void add(DemandReport report) {
    long nowMs = clockMs.getAsLong();
    for (DemandReport.ModelDemand model : report.getModelsList()) {
      meter.called(
          model.getModelId(),
          model.getCalls(),
          model.getWaitedMicros() / 1e3,
          model.getLastUsedMs(),
          nowMs);
    }
    meter.busy(report.getPodId(), report.getBusy(), nowMs);
  }

  /** For how many milliseconds it counts as ended, as seen from here; negative when it does not. */
  synchronized long goneMs(String podId) {
    return meter.goneMs(podId, clockMs.getAsLong());
  }

  boolean listensTo(String podId) {
    return streams.containsKey(podId);
  }

  private synchronized void unreachable(String podId) {
    meter.unreachable(podId, clockMs.getAsLong());
  }

  synchronized Demand snapshot() {
    return meter.snapshot(clockMs.getAsLong());
  }

  /** Ends all streams; {@link #follow} opens them anew, and hears anew who can be reached. */
  @Override
  public void close() {
    synchronized (this) {
      followed = MeshView.empty();
      meter.reachable();
    }
    streams.values().forEach(context -> context.cancel(null));
    streams.clear();
  }
}
