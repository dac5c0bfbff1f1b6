package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import java.lang.System.Logger.Level;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Attempt;
import orlop.placement.Copy;
import orlop.placement.Fault;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Pod;
import orlop.placement.Route;
import orlop.runtime.Cancellation;

/**
 * One call on its way to a pod that holds its model: a loop over at most {@link Attempt#MAX_TRIED}
 * pods that no thread stands still for.
 *
 * <p>Owned by the event loop of the one who calls. Only an inference leaves it, for a compute
 * thread, and comes back.
 */
final class Call extends Deadlines.Entry {
  /*
   * Which failures send a call to a further pod, as long as nothing of the answer has been passed
   * on and the request can be sent again:
   *   refused       the pod says not-here in its trailers: it did not run the call
   *   no room, draining, or a load that failed for now, in this pod: it did not run either
   *   still waiting for a compute thread when the pod ends: of forwarded calls only
   *   unprocessed   never reached the pod, or it says so by GOAWAY or REFUSED_STREAM
   *   lost          the connection broke, or the pod gave the call up. It may have run the
   *                 inference; that is repeated all the same, because a V2 inference is a pure
   *                 function of model and inputs. Calls of unknown methods are not repeated.
   * Everything else is an answer.
   *
   * A forwarded call makes one step only: serve, load, or refuse.
   */
  private static final System.Logger LOG = System.getLogger(Call.class.getName());

  /** Of its own, so that it is seen where other news are not. */
  private static final System.Logger CALLS = System.getLogger("orlop.calls");

  /** Copies that may be too busy for a call before it is told so. */
  private static final int MAX_BUSY_COPIES = 2;

  final Dispatcher pod;
  final Loop loop;
  final Op op;
  final long deadlineNs;
  final RequestHeaders headers;
  private final Caller caller;
  private final Named.Asked asked;
  final boolean forwarded;
  private final Here here;
  private final long startNs = System.nanoTime();
  final Cancellation cancellation = new Cancellation();

  private String nameInside = "";
  private @Nullable Named named;
  private Set<String> tried = Set.of();
  private @Nullable Status lastRefusal;
  private int busyCopies;

  /** When it was sent on, by {@link System#nanoTime}; 0 while it waits for that. */
  private long passedNs;

  /** Of an answer made in this pod; negative while there is none. */
  private int answerBytes = -1;

  private Caller.@Nullable Hop under;

  /** Also read by compute threads. */
  private volatile boolean done;

  /**
   * @param deadlineNs by {@link System#nanoTime}
   */
  Call(Dispatcher pod, Loop loop, Op op, RequestHeaders headers, long deadlineNs, Caller caller) {
    this.pod = pod;
    this.loop = loop;
    this.op = op;
    this.headers = headers;
    this.deadlineNs = deadlineNs;
    this.caller = caller;
    this.asked = Named.Asked.in(headers);
    this.forwarded = headers.get(Wire.FORWARDED_BY) != null;
    this.here = new Here(this, caller);
  }

  /** Takes its place among the calls in flight; when there is none it ends at once. */
  boolean enter() {
    int calls = pod.enter();
    if (calls > pod.config.maxInFlight()) {
      overloaded(calls - 1 + " calls are in flight, maxInFlight is " + pod.config.maxInFlight());
      return false;
    }
    loop.deadlines.add(this, deadlineNs);
    return true;
  }

  /** Whether headers alone say which model is meant. */
  boolean namedByHeaders() {
    return asked.byHeaders();
  }

  boolean done() {
    return done;
  }

  /**
   * Whether the pod that sent it here is to hear what is queued here by now: when that has just
   * changed, or was not as that pod thought.
   */
  boolean tellsLoad(boolean refused) {
    return forwarded && (refused || here.waited());
  }

  /** Nanoseconds that are left to it. */
  long leftNs() {
    return deadlineNs - System.nanoTime();
  }

  long startNs() {
    return startNs;
  }

  /** The caller has gone: stops what runs for it. Idempotent; from any thread. */
  void cancel() {
    onLoop(
        () -> {
          end(Status.CANCELLED.withDescription("the caller cancelled the call"), false, true);
          cancellation.cancel();
        });
  }

  @Override
  void expired() {
    Named to = named;
    fail(
        Status.DEADLINE_EXCEEDED.withDescription(
            here.waited() && to != null && under == null
                ? "model '" + to.model().id() + "' was not loaded before the deadline"
                : "the deadline passed before there was an answer"));
    cancellation.cancel();
  }

  void overloaded(String why) {
    pod.metrics.refused();
    fail(Overload.STATUS.withDescription("pod '" + pod.config.id() + "' is overloaded: " + why));
  }

  /** The bytes that calls in flight may hold are used up. */
  void holdsTooMuch() {
    overloaded(pod.holdsTooMuch());
  }

  /**
   * Sends it on its way.
   *
   * @param name the model's name inside the message, used when no header names one
   */
  void begin(String name) {
    nameInside = name;
    MeshView view = pod.registry.view();
    Named known = asked.resolve(view, name, op.namesModel);
    if (known != null) {
      named = known;
      route(known);
      return;
    }
    String unknown = asked.name(name);
    if (unknown.isEmpty()) {
      fail(Statuses.NAMELESS);
    } else {
      // A forwarded call may have outrun the registry: another pod knows more.
      end(
          Status.NOT_FOUND.withDescription("no model or alias '" + unknown + "' is registered"),
          forwarded,
          true);
    }
  }

  /** One turn of the loop. */
  private void route(Named to) {
    if (done) {
      return;
    }
    if (leftNs() <= 0) {
      fail(Statuses.LATE);
      return;
    }
    Model model = to.model();
    if (tried.isEmpty() && pod.host.isLoaded(model.id())) {
      // The pod itself is the judge of what it holds; the view may be behind.
      here.run(to);
      return;
    }
    MeshView view = pod.suspects.without(pod.registry.view());
    Attempt attempt = attempt(model);
    Route route = pod.router.route(view, attempt);
    switch (route) {
      case Route.Here() -> here.run(to);
      case Route.There(Pod target) -> thereOrHere(to, target, -1);
      // What is busy somewhere is not missing.
      case Route.Load _ when busyCopies > 0 && lastRefusal != null -> fail(lastRefusal);
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
        "true".equalsIgnoreCase(headers.get(Wire.BALANCED)),
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
      here.run(to);
    } else {
      pod.metrics.hopped(to);
      pass(
          Caller.Hop.toPod(
              new Outlet.Target(target.id(), target.address(), true), to, loadAfterMs));
    }
  }

  void onLoop(Runnable step) {
    if (loop.executor.inEventLoop()) {
      step.run();
      return;
    }
    try {
      loop.executor.execute(step);
    } catch (RejectedExecutionException e) {
      LOG.log(Level.DEBUG, "a call outlived the pod: {0}", String.valueOf(named));
    }
  }

  /** All of the request has arrived. */
  void whole() {
    Named to = named;
    if (to != null && !done) {
      here.whole(to);
    }
  }

  // ---- from a compute thread

  void ran(ByteBuf framed) {
    onLoop(() -> answer(framed));
  }

  void didNotRun(Status status) {
    onLoop(() -> fail(status));
  }

  /** It was not run, and this pod is no place any more to look for another one from. */
  void podEnds() {
    Status why =
        Status.UNAVAILABLE.withDescription("pod '" + pod.config.id() + "' is shutting down");
    onLoop(() -> end(why, forwarded, true));
  }

  // ---- elsewhere

  /** A stream that has a place lives as long as its caller likes, who set no deadline. */
  void endless() {
    if (!op.unary && headers.get(Wire.TIMEOUT) == null) {
      loop.deadlines.remove(this);
    }
  }

  void pass(Caller.Hop hop) {
    under = hop;
    passedNs = System.nanoTime();
    endless();
    caller.pass(hop);
  }

  /** The place says that it did not run the call, and why. */
  void refusedThere(Status status) {
    Caller.Hop hop = under;
    if (hop != null && !done) {
      next(hop.target().id(), status);
    }
  }

  /**
   * The runtime beside this pod answers.
   *
   * @return whether the call goes on, or has ended; see {@link Beside#missing}
   */
  boolean missingBeside(Status status, BooleanSupplier again) {
    Named to = named;
    return !done && to != null && here.missing(to, status, again);
  }

  /** To be run in this pod once more. */
  void comeBack(Named to) {
    under = null;
    passedNs = 0;
    here.unpin();
    here.run(to);
  }

  /**
   * The place gave no answer, and nothing of one has been passed on.
   *
   * @param unprocessed whether it is certain that it did not run the call
   * @param again whether the request can be sent again
   */
  void lostThere(Status status, boolean unprocessed, boolean again) {
    Caller.Hop hop = under;
    if (done) {
      return;
    }
    if (hop == null) {
      // This pod's own server, which a stream leaves to no other.
      fail(Status.UNAVAILABLE.withDescription(status.getDescription()));
      return;
    }
    Outlet.Target target = hop.target();
    Status.Code code = status.getCode();
    boolean gone = code == Status.Code.UNAVAILABLE || code == Status.Code.CANCELLED;
    String text = Statuses.lost(target, status);
    if (code == Status.Code.UNAVAILABLE && target.pod()) {
      pod.suspects.suspect(target.id());
    }
    if (!gone && !unprocessed) {
      fail(status);
    } else if (!again || !unprocessed && !op.pure) {
      fail(Status.UNAVAILABLE.withDescription(text));
    } else {
      LOG.log(Level.INFO, text);
      Status why = Status.UNAVAILABLE.withDescription(text);
      if (target.pod()) {
        next(target.id(), why);
      } else {
        here.lost(hop.named(), why);
      }
    }
  }

  /** The answer has been passed on to its end. */
  void answeredThere(Status status) {
    end(status, false, false);
  }

  /** This pod cannot: a forwarded call goes back, another one goes on. */
  void refused(Status why) {
    if (forwarded) {
      end(why, true, true);
    } else {
      next(pod.config.id(), why);
    }
  }

  private void next(String podId, Status why) {
    Named to = named;
    if (to == null || done) {
      return;
    }
    Set<String> more = new HashSet<>(tried);
    more.add(podId);
    tried = Set.copyOf(more);
    under = null;
    passedNs = 0;
    if (why.getCode() == Status.Code.RESOURCE_EXHAUSTED && isLoadedAt(podId, to)) {
      busyCopies++;
      lastRefusal = why;
    } else if (busyCopies == 0) {
      // That a copy is there and busy tells the client more than what became of others.
      lastRefusal = why;
    }
    if (busyCopies >= MAX_BUSY_COPIES) {
      fail(why);
      return;
    }
    pod.metrics.retried();
    route(to);
  }

  private boolean isLoadedAt(String podId, Named to) {
    for (Copy copy : pod.registry.view().copies(to.model().id())) {
      if (copy.podId().equals(podId) && copy.isLoaded()) {
        return true;
      }
    }
    return false;
  }

  // ---- the end

  private void reject(Named to, Route.Cause cause, String detail) {
    Status last = lastRefusal;
    Fault fault = Placer.faultLately(pod.registry.view(), to.model().id(), pod.clock.nowMs());
    boolean forGood = cause == Route.Cause.LOAD_FAILED && fault == Fault.PERMANENT;
    if (last != null && !forwarded && !forGood) {
      // What the last pod said tells more than that there is no further one.
      fail(last.augmentDescription("(" + tried.size() + " pods tried; " + detail + ")"));
      return;
    }
    Status status = Statuses.of(cause, fault);
    // A call that this pod did not run: its sender may try another pod.
    end(status.withDescription("model '" + to.asked() + "': " + detail), forwarded, true);
  }

  void fail(Status status) {
    end(status, false, true);
  }

  void answer(ByteBuf framed) {
    if (done) {
      framed.release();
      return;
    }
    answerBytes = framed.readableBytes();
    end(Status.OK, false, false);
    caller.answered(framed);
  }

  /**
   * @param tell whether the caller does not know it yet
   */
  private void end(Status status, boolean refused, boolean tell) {
    if (done) {
      return;
    }
    done = true;
    loop.deadlines.remove(this);
    here.count(named, status, passedNs);
    here.unpin();
    pod.leave();
    if (forwarded) {
      pod.metrics.calledThrough(named);
    } else {
      pod.metrics.called(
          named,
          op,
          status.getCode(),
          System.nanoTime() - startNs,
          caller.requestBytes(),
          answerBytes >= 0 ? answerBytes : caller.answerBytes());
    }
    if (pod.logsCalls) {
      log(status);
    }
    if (tell) {
      caller.failed(status, refused);
    }
  }

  private void log(Status status) {
    Named to = named;
    Caller.Hop hop = under;
    StringBuilder line = new StringBuilder(op.label);
    line.append(" model=").append(to == null ? asked.name(nameInside) : to.model().id());
    line.append(to == null || to.alias().isEmpty() ? "" : " vmodel=" + to.alias());
    line.append(" code=").append(status.getCode());
    line.append(" ms=").append((System.nanoTime() - startNs) / 10_000 / 100.0);
    line.append(" at=").append(hop == null ? pod.config.id() : hop.target().id());
    for (String name : pod.config.logHeaders()) {
      String value = headers.get(name);
      line.append(value == null ? "" : " " + name + "=" + value);
    }
    // Names and headers are the caller's: none may end the line and begin one of its own.
    CALLS.log(Level.INFO, line.toString().replaceAll("\\p{Cntrl}", " "));
  }
}
