package orlop.pod;

import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import orlop.api.DemandReport;
import orlop.api.DrainRequest;
import orlop.api.DrainResponse;
import orlop.api.ExplainRequest;
import orlop.api.ExplainResponse;
import orlop.api.LoadRequest;
import orlop.api.LoadResponse;
import orlop.api.PodControlGrpc;
import orlop.api.UnloadRequest;
import orlop.api.UnloadResponse;
import orlop.api.WatchDemandRequest;
import orlop.placement.Action;
import orlop.placement.Attempt;
import orlop.placement.Event;
import orlop.placement.Fault;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.registry.Registry;

/** What the planner and the management API ask of this pod. Calls run on virtual threads. */
final class ControlService extends PodControlGrpc.PodControlImplBase {
  private static final long VIEW_WAIT_MS = 2_000;
  private static final long DEFAULT_INTERVAL_MS = 2_000;
  private static final long LEAST_INTERVAL_MS = 100;
  private static final long MOST_INTERVAL_MS = 60_000;

  private final Dispatcher dispatcher;
  private final Runnable drain;

  ControlService(Dispatcher dispatcher, Runnable drain) {
    this.dispatcher = dispatcher;
    this.drain = drain;
  }

  @Override
  public void load(LoadRequest request, StreamObserver<LoadResponse> answer) {
    String id = request.getModelId();
    Model model = registered(id);
    if (model == null) {
      answer.onError(status(Status.NOT_FOUND, "no model '" + id + "' is registered"));
      return;
    }
    long lastUsedNs =
        request.getLastUsedMs() <= 0 ? ModelHost.NOW : request.getLastUsedMs() * 1_000_000;
    CompletableFuture<Action.Outcome> ended = new CompletableFuture<>();
    if (!dispatcher.host.want(
        model, lastUsedNs, Event.Purpose.ONLINE, request.getWait() ? ended::complete : null)) {
      answer.onError(status(Overload.STATUS, "too many wishes are queued"));
      return;
    }
    if (!request.getWait()) {
      ended.complete(new Action.Outcome.Ready());
    }
    try {
      answer(id, ended.get(dispatcher.config.maxWaitMs(), TimeUnit.MILLISECONDS), answer);
    } catch (TimeoutException e) {
      answer.onError(
          status(
              Status.DEADLINE_EXCEEDED,
              "model '%s' was not loaded in %d ms".formatted(id, dispatcher.config.maxWaitMs())));
    } catch (InterruptedException | java.util.concurrent.ExecutionException e) {
      answer.onError(status(Status.CANCELLED, "the wait for model '" + id + "' was interrupted"));
    }
  }

  private void answer(String id, Action.Outcome outcome, StreamObserver<LoadResponse> answer) {
    switch (outcome) {
      case Action.Outcome.Ready() -> {
        answer.onNext(LoadResponse.getDefaultInstance());
        answer.onCompleted();
      }
      case Action.Outcome.Failed(Fault fault, String reason, long _) ->
          answer.onError(
              status(Statuses.of(fault), "model '" + id + "' failed to load: " + reason));
      case Action.Outcome.NoRoom(String why) ->
          answer.onError(status(Overload.STATUS, "no room for model '" + id + "': " + why));
      case Action.Outcome.Leaving() ->
          answer.onError(
              status(Status.UNAVAILABLE, "model '" + id + "' leaves the pod, and others hold it"));
      case Action.Outcome.Draining() ->
          answer.onError(
              status(Status.UNAVAILABLE, "pod '" + dispatcher.config.id() + "' is draining"));
    }
  }

  /** The model, given a moment to arrive when it was registered just now. */
  private @Nullable Model registered(String id) {
    Model known = dispatcher.registry.view().model(id);
    if (known != null) {
      return known;
    }
    CompletableFuture<Model> seen = new CompletableFuture<>();
    try (Registry.Subscription listening =
        dispatcher.registry.listen(
            view -> {
              Model model = view.model(id);
              if (model != null) {
                seen.complete(model);
              }
            })) {
      return seen.get(VIEW_WAIT_MS, TimeUnit.MILLISECONDS);
    } catch (TimeoutException | InterruptedException | java.util.concurrent.ExecutionException e) {
      return null;
    }
  }

  @Override
  public void unload(UnloadRequest request, StreamObserver<UnloadResponse> answer) {
    if (!dispatcher.host.letGo(request.getModelId())) {
      answer.onError(status(Overload.STATUS, "too many wishes are queued"));
      return;
    }
    answer.onNext(UnloadResponse.getDefaultInstance());
    answer.onCompleted();
  }

  @Override
  public void explain(ExplainRequest request, StreamObserver<ExplainResponse> answer) {
    MeshView view = dispatcher.registry.view();
    Model model = view.resolve(request.getName());
    if (model == null) {
      answer.onError(
          status(Status.NOT_FOUND, "no model or alias '" + request.getName() + "' is registered"));
      return;
    }
    Attempt attempt =
        new Attempt(
            model.id(),
            dispatcher.config.id(),
            false,
            Set.of(),
            false,
            0,
            dispatcher.clock.nowMs(),
            dispatcher.host.board().hints(),
            -1);
    answer.onNext(
        ExplainResponse.newBuilder()
            .setModelId(model.id())
            .addAllLines(new Placer().explain(view, model, attempt))
            .build());
    answer.onCompleted();
  }

  @Override
  public void drain(DrainRequest request, StreamObserver<DrainResponse> answer) {
    drain.run();
    answer.onNext(DrainResponse.getDefaultInstance());
    answer.onCompleted();
  }

  @Override
  public void watchDemand(WatchDemandRequest request, StreamObserver<DemandReport> answer) {
    long intervalMs = request.getIntervalMs() == 0 ? DEFAULT_INTERVAL_MS : request.getIntervalMs();
    if (intervalMs < LEAST_INTERVAL_MS || intervalMs > MOST_INTERVAL_MS) {
      answer.onError(
          status(
              Status.INVALID_ARGUMENT,
              "interval_ms is %d, allowed is 0 or %d to %d"
                  .formatted(intervalMs, LEAST_INTERVAL_MS, MOST_INTERVAL_MS)));
      return;
    }
    ServerCallStreamObserver<DemandReport> stream = (ServerCallStreamObserver<DemandReport>) answer;
    Watcher watcher = new Watcher(stream, intervalMs);
    Future<?> ticking =
        dispatcher.timer.scheduleAtFixedRate(watcher, 0, intervalMs, TimeUnit.MILLISECONDS);
    stream.setOnCancelHandler(() -> ticking.cancel(false));
  }

  /** What was reported of one slot, all in all. */
  private record Said(long calls, long waitedNs) {
    static final Said NOTHING = new Said(0, 0);
  }

  /** One stream's memory of what it has reported. Owned by the timer thread. */
  private final class Watcher implements Runnable {
    private final ServerCallStreamObserver<DemandReport> stream;
    private final long intervalMs;
    private Map<Slot<Held>, Said> reported = new HashMap<>();

    Watcher(ServerCallStreamObserver<DemandReport> stream, long intervalMs) {
      this.stream = stream;
      this.intervalMs = intervalMs;
    }

    @Override
    public void run() {
      // A slow reader gets fewer reports, each of them complete.
      if (stream.isCancelled() || !stream.isReady()) {
        return;
      }
      DemandReport.Builder report =
          DemandReport.newBuilder()
              .setPodId(dispatcher.config.id())
              .setIntervalMs(intervalMs)
              .setBusy(dispatcher.busy());
      Map<Slot<Held>, Said> next = new HashMap<>();
      dispatcher.host.each(
          (id, slot) -> {
            Said now = new Said(slot.calls(), slot.waitedNs());
            Said before = reported.getOrDefault(slot, Said.NOTHING);
            long news = now.calls - before.calls;
            next.put(slot, now);
            if (news > 0) {
              report.addModels(
                  DemandReport.ModelDemand.newBuilder()
                      .setModelId(id)
                      .setCalls(news)
                      .setWaitedMicros((now.waitedNs - before.waitedNs) / 1_000)
                      .setLastUsedMs(slot.lastUsedNs() / 1_000_000));
            }
          });
      reported = next;
      stream.onNext(report.build());
    }
  }

  private static RuntimeException status(Status code, String text) {
    return code.withDescription(text).asRuntimeException();
  }
}
