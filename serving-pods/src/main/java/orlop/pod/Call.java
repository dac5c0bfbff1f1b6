package orlop.pod;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnsafeByteOperations;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;
import orlop.placement.Action;
import orlop.placement.Attempt;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;
import orlop.placement.Route;
import orlop.runtime.Cancellation;
import orlop.runtime.InferenceException;

/**
 * One call on its way to a pod that holds its model: a loop over at most {@link Attempt#MAX_TRIED}
 * pods that no thread stands still for.
 *
 * <p>The steps run one after the other, each on the thread that brought the news it waited for: an
 * event loop, a virtual thread of the host, a compute thread. Only {@link #cancel} and the time-out
 * come from aside; {@code done} decides who answers.
 */
final class Call {
  /*
   * Which failures send a call to a further pod:
   *   refused       the pod says not-here in its trailers: it did not run the call
   *   no room, draining, or a load that failed for now, in this pod: it did not run either
   *   UNAVAILABLE   without that trailer, from the transport: the pod died or was never reached. It
   *                 may have run the inference; that is repeated all the same, because a V2
   *                 inference is a pure function of model and inputs.
   *   CANCELLED     though nobody here cancelled: the pod ended before it had answered.
   * Everything else is an answer.
   *
   * A forwarded call makes one step only: serve, load, or refuse.
   */
  private static final System.Logger LOG = System.getLogger(Call.class.getName());
  private static final Metadata.Key<String> FORWARDED_BY = Named.ascii(Headers.FORWARDED_BY);
  private static final Metadata.Key<String> REFUSED = Named.ascii(Headers.REFUSED);
  private static final Metadata.Key<String> BALANCED = Named.ascii(Headers.BALANCED);
  private static final String NOT_HERE = "not-here";
  private static final int MAX_MISSED_PINS = 3;

  private final Dispatcher pod;
  private final Op op;
  private final Metadata headers;
  private final String nameInside;
  private final Deadline deadline;
  private final Dispatcher.Reply reply;
  private final boolean forwarded;
  private final long startNs = System.nanoTime();
  private final int messageBytes;
  private final Cancellation cancellation = new Cancellation();
  private final AtomicBoolean done = new AtomicBoolean();

  // Handed on from step to step; each step happens before the next. Freed when done.
  private byte @Nullable [] message;
  private @Nullable Named named;
  private final Set<String> tried = new HashSet<>();
  private @Nullable Status lastRefusal;
  private boolean waited;
  private int missedPins;

  private volatile Forwarder.@Nullable Hop hop;
  private volatile @Nullable Future<?> timeout;

  Call(
      Dispatcher pod,
      Op op,
      byte[] message,
      Metadata headers,
      String nameInside,
      Deadline deadline,
      Dispatcher.Reply reply) {
    this.pod = pod;
    this.op = op;
    this.message = message;
    this.messageBytes = message.length;
    this.headers = headers;
    this.nameInside = nameInside;
    this.deadline = deadline;
    this.reply = reply;
    this.forwarded = headers.containsKey(FORWARDED_BY);
  }

  /** The caller has gone: stops what runs for it. Idempotent; from any thread. */
  void cancel() {
    end(Status.CANCELLED.withDescription("the caller cancelled the call"), false, null);
    cancellation.cancel();
    Forwarder.Hop under = hop;
    if (under != null) {
      under.cancel();
    }
  }

  void overloaded(String why) {
    pod.metrics.refused();
    fail(
        Status.RESOURCE_EXHAUSTED.withDescription(
            "pod '" + pod.config.id() + "' is overloaded: " + why));
  }

  void begin() {
    MeshView view = pod.registry.view();
    Named known = Named.resolve(view, headers, nameInside);
    if (known != null) {
      named = known;
      route(known);
      return;
    }
    String asked = Named.asked(headers, nameInside);
    if (asked.isEmpty()) {
      fail(
          Status.INVALID_ARGUMENT.withDescription(
              "the call names no model: set model_name, or header "
                  + Headers.MODEL_ID
                  + " or "
                  + Headers.VMODEL_ID));
    } else {
      // A forwarded call may have outrun the registry: another pod knows more.
      refuseOrFail(
          Status.NOT_FOUND.withDescription("no model or alias '" + asked + "' is registered"));
    }
  }

  /** One turn of the loop. */
  private void route(Named to) {
    if (done.get()) {
      return;
    }
    if (deadline.isExpired()) {
      fail(Status.DEADLINE_EXCEEDED.withDescription("the deadline passed before the call ran"));
      return;
    }
    Model model = to.model();
    if (tried.isEmpty() && forwarded && pod.host.isLoaded(model.id())) {
      // The pod itself is the judge of what it holds; the view may be behind.
      here(to, false);
      return;
    }
    MeshView view = pod.suspects.without(pod.registry.view());
    Attempt attempt = attempt(model);
    Route route = pod.router.route(view, attempt);
    switch (route) {
      case Route.Here() -> here(to, false);
      case Route.There(Pod target) -> thereOrHere(to, target, -1);
      case Route.Load(Pod target) ->
          thereOrHere(to, target, pod.host.board().send(pod.router, view, model, target, attempt));
      case Route.Reject(Route.Cause cause, String detail) -> reject(to, cause, detail);
    }
  }

  private Attempt attempt(Model model) {
    return new Attempt(
        model.id(),
        pod.config.id(),
        forwarded,
        tried,
        "true".equalsIgnoreCase(headers.get(BALANCED)),
        ThreadLocalRandom.current().nextLong(),
        pod.clock.nowMs(),
        pod.host.board().hints(),
        forwarded ? HintBoard.promisedMs(headers) : -1);
  }

  /**
   * @param loadAfterMs wait before the load that is asked for there; negative when none is
   */
  private void thereOrHere(Named to, Pod target, long loadAfterMs) {
    boolean self = target.id().equals(pod.config.id());
    boolean already =
        loadAfterMs >= 0 && !tried.contains(pod.config.id()) && pod.host.isLoaded(to.model().id());
    if (self || already) {
      here(to, false);
    } else {
      there(to, target, loadAfterMs);
    }
  }

  // ---- in this pod

  /**
   * Runs the call in this pod, after a load if need be.
   *
   * @param resumed whether it comes from a wait for a load, on a virtual thread that may block
   */
  private void here(Named to, boolean resumed) {
    Slot<Held> slot = pod.host.pin(to.model().id());
    if (slot != null) {
      if (!waited && !forwarded) {
        pod.metrics.hitLocally();
      }
      run(to, slot, resumed);
      return;
    }
    if (missedPins++ >= MAX_MISSED_PINS) {
      refused(
          Status.UNAVAILABLE.withDescription(
              "model '%s' was evicted from pod '%s' %d times before the call could use it"
                  .formatted(to.model().id(), pod.config.id(), MAX_MISSED_PINS)));
      return;
    }
    if (!waited) {
      waited = true;
      pod.metrics.missed();
      timeOut(to);
    }
    ModelHost.Waiter waiter = ModelHost.Waiter.until(done::get, o -> loadEnded(to, o));
    if (!pod.host.want(to.model(), ModelHost.NOW, waiter)) {
      overloaded("too many calls wait for models to be loaded");
    }
  }

  private void timeOut(Named to) {
    long leftNs = Math.max(0, deadline.timeRemaining(TimeUnit.NANOSECONDS));
    try {
      timeout =
          pod.timer.schedule(
              () -> {
                fail(
                    Status.DEADLINE_EXCEEDED.withDescription(
                        "model '" + to.model().id() + "' was not loaded before the deadline"));
                cancellation.cancel();
              },
              leftNs,
              TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException e) {
      fail(Status.UNAVAILABLE.withDescription("pod '" + pod.config.id() + "' is shutting down"));
    }
  }

  private void loadEnded(Named to, Action.Outcome outcome) {
    if (done.get()) {
      return;
    }
    String id = to.model().id();
    switch (outcome) {
      case Action.Outcome.Ready() -> here(to, true);
      case Action.Outcome.Failed(String reason, long retryAtMs) -> {
        String text =
            "model '%s' failed to load in pod '%s': %s".formatted(id, pod.config.id(), reason);
        if (retryAtMs == Long.MAX_VALUE) {
          fail(Status.FAILED_PRECONDITION.withDescription(text));
        } else {
          refused(Status.UNAVAILABLE.withDescription(text));
        }
      }
      case Action.Outcome.NoRoom(String why) ->
          refused(
              Status.RESOURCE_EXHAUSTED.withDescription(
                  "no room for model '%s' in pod '%s': %s".formatted(id, pod.config.id(), why)));
      case Action.Outcome.Draining() ->
          refused(
              Status.UNAVAILABLE.withDescription(
                  "pod '%s' is draining and does not load model '%s'"
                      .formatted(pod.config.id(), id)));
    }
  }

  /** This pod cannot: a forwarded call goes back, another one goes on. */
  private void refused(Status why) {
    if (forwarded) {
      refuseOrFail(why);
      return;
    }
    next(pod.config.id(), why);
  }

  private void next(String podId, Status why) {
    tried.add(podId);
    lastRefusal = why;
    Named to = named;
    if (to != null && !done.get()) {
      pod.metrics.retried();
      route(to);
    }
  }

  private void run(Named to, Slot<Held> slot, boolean resumed) {
    if (op == Op.METADATA) {
      try {
        answer(
            slot.held().loaded().metadata().toBuilder().setName(to.asked()).build().toByteArray());
      } finally {
        slot.unpin();
      }
      return;
    }
    if (resumed && !pod.enterResumed(deadline)) {
      slot.unpin();
      fail(
          Status.DEADLINE_EXCEEDED.withDescription(
              "model '" + to.model().id() + "' was loaded, and too many calls waited for it"));
      return;
    }
    try {
      pod.compute.execute(
          () -> {
            if (resumed) {
              pod.leaveResumed();
            }
            try {
              infer(to, slot.held());
            } catch (RuntimeException | Error e) {
              // Whatever it is, the caller must hear of it and its place be free again.
              fail(
                  Status.INTERNAL.withDescription(
                      "model '%s' failed in pod '%s': %s"
                          .formatted(to.model().id(), pod.config.id(), e)));
              throw e;
            } finally {
              slot.unpin();
            }
          });
    } catch (RejectedExecutionException e) {
      slot.unpin();
      if (resumed) {
        pod.leaveResumed();
      }
      overloaded(
          "%d inferences wait for a compute thread, computeQueue is %d"
              .formatted(pod.compute.getQueue().size(), pod.config.computeQueue()));
    }
  }

  private void infer(Named to, Held held) {
    byte[] encoded = message;
    if (encoded == null || done.get()) {
      return;
    }
    if (deadline.isExpired()) {
      fail(Status.DEADLINE_EXCEEDED.withDescription("the deadline passed before the call ran"));
      return;
    }
    ModelInferRequest request;
    try {
      CodedInputStream in = UnsafeByteOperations.unsafeWrap(encoded).newCodedInput();
      in.enableAliasing(true);
      request = ModelInferRequest.parseFrom(in);
    } catch (IOException e) {
      fail(
          Status.INVALID_ARGUMENT.withDescription(
              "the request is not a well-formed ModelInferRequest: " + e.getMessage()));
      return;
    }
    String id = pod.payloads.correlationId(request.getId(), headers);
    pod.payloads.request(id, to, encoded, headers);
    long runNs = System.nanoTime();
    try {
      ModelInferResponse response = held.loaded().infer(request, cancellation);
      byte[] answer =
          response.getModelName().equals(to.asked())
              ? response.toByteArray()
              : response.toBuilder().setModelName(to.asked()).build().toByteArray();
      pod.metrics.ran(System.nanoTime() - runNs);
      pod.payloads.response(id, to, answer, headers);
      answer(answer);
    } catch (InferenceException e) {
      inferenceFailed(to, id, Statuses.of(e), e);
    } catch (RuntimeException e) {
      inferenceFailed(
          to,
          id,
          Status.INTERNAL.withDescription(
              "model '%s' failed in pod '%s': %s".formatted(to.model().id(), pod.config.id(), e)),
          e);
    }
  }

  private void inferenceFailed(Named to, String id, Status status, Exception cause) {
    if (status.getCode() == Status.Code.INTERNAL) {
      LOG.log(Level.WARNING, "{0}: {1}", status.getDescription(), cause);
    }
    pod.payloads.failure(id, to, status, headers);
    fail(status);
  }

  // ---- in another pod

  private void there(Named to, Pod target, long loadAfterMs) {
    byte[] bytes = message;
    if (bytes == null || done.get()) {
      return;
    }
    pod.metrics.hopped();
    Forwarder.Hop under =
        pod.forwarder.send(
            target,
            op,
            bytes,
            HintBoard.promise(to.forwardedBy(pod.config.id(), headers), loadAfterMs),
            deadline,
            (status, trailers, answer) -> hopEnded(target, status, trailers, answer));
    hop = under;
    if (done.get()) {
      under.cancel();
    }
  }

  private void hopEnded(Pod target, Status status, Metadata trailers, byte @Nullable [] answer) {
    pod.host.board().hear(target.id(), trailers, pod.clock.nowMs());
    if (done.get()) {
      return;
    }
    if (status.isOk() && answer != null) {
      answer(answer);
    } else if (NOT_HERE.equals(trailers.get(REFUSED))) {
      next(target.id(), status);
    } else if (status.getCode() == Status.Code.UNAVAILABLE) {
      pod.suspects.suspect(target.id());
      lost(target, "cannot be reached", status);
    } else if (status.getCode() == Status.Code.CANCELLED) {
      // Also how a pod's clock that runs ahead ends a call, so it is not held against the pod.
      lost(target, "gave the call up", status);
    } else if (status.isOk()) {
      fail(Status.INTERNAL.withDescription("pod '" + target.id() + "' answered without a message"));
    } else {
      fail(Status.fromCode(status.getCode()).withDescription(status.getDescription()));
    }
  }

  private void lost(Pod target, String how, Status status) {
    String text =
        "pod '%s' at %s %s: %s"
            .formatted(target.id(), target.address(), how, status.getDescription());
    LOG.log(Level.INFO, text);
    next(target.id(), Status.UNAVAILABLE.withDescription(text));
  }

  // ---- the end

  private void reject(Named to, Route.Cause cause, String detail) {
    Status last = lastRefusal;
    boolean forGood =
        cause == Route.Cause.LOAD_FAILED
            && Readiness.failedForGood(pod.registry.view(), to.model().id());
    if (last != null && !forwarded && !forGood) {
      // What the last pod said tells more than that there is no further one.
      fail(last.augmentDescription("(" + tried.size() + " pods tried; " + detail + ")"));
      return;
    }
    String text = "model '" + to.asked() + "': " + detail;
    switch (cause) {
      case UNKNOWN_MODEL -> refuseOrFail(Status.NOT_FOUND.withDescription(text));
      case NOT_HERE, EXHAUSTED -> refuseOrFail(Status.UNAVAILABLE.withDescription(text));
      case NO_ROOM -> refuseOrFail(Status.RESOURCE_EXHAUSTED.withDescription(text));
      case LOAD_FAILED ->
          refuseOrFail(
              (forGood ? Status.FAILED_PRECONDITION : Status.UNAVAILABLE).withDescription(text));
    }
  }

  /** For a call that this pod did not run: its sender may try another pod. */
  private void refuseOrFail(Status status) {
    end(status, forwarded, null);
  }

  private void fail(Status status) {
    end(status, false, null);
  }

  private void answer(byte[] answer) {
    end(Status.OK, false, answer);
  }

  private void end(Status status, boolean refused, byte @Nullable [] answer) {
    if (!done.compareAndSet(false, true)) {
      return;
    }
    message = null;
    Future<?> pending = timeout;
    if (pending != null) {
      pending.cancel(false);
    }
    pod.ended(messageBytes);
    pod.metrics.called(op.label, status.getCode(), System.nanoTime() - startNs);
    Metadata trailers = new Metadata();
    if (refused) {
      trailers.put(REFUSED, NOT_HERE);
    }
    if (forwarded && (refused || waited)) {
      pod.host.board().tell(trailers);
    }
    reply.ended(status, trailers, answer);
  }
}
