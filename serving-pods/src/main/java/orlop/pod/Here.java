package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Action;
import orlop.placement.Event;
import orlop.placement.Fault;
import orlop.runtime.LoadedModel;
import orlop.runtime.SidecarModel;

/**
 * A call's dealings with the copy in this pod: the wait for its load, the pin on it, and the run.
 * Owned by the call's event loop; only an inference leaves it, for a compute thread, and comes
 * back.
 */
final class Here {
  private static final int MAX_MISSED_PINS = 3;

  private final Call call;
  private final Dispatcher pod;
  private final Caller caller;
  private final boolean batch;
  private boolean waited;

  /** The model that it waits for, and with how many bytes; null when it does not wait. */
  private @Nullable String parkedFor;

  private long parkedBytes;
  private boolean needsMessage;
  private int missedPins;
  private @Nullable Slot<Held> pinned;
  private @Nullable Beside beside;

  Here(Call call, Caller caller) {
    this.call = call;
    this.pod = call.pod;
    this.caller = caller;
    this.batch = "batch".equalsIgnoreCase(call.headers.get(Wire.PURPOSE));
  }

  /** Whether it waits for a load, or has done so. */
  boolean waited() {
    return waited;
  }

  /** Runs the call in this pod, after a load if need be. */
  void run(Named to) {
    run(to, false);
  }

  /**
   * @param resumed whether it waited for the load and holds one of the places of {@link Resume}
   */
  private void run(Named to, boolean resumed) {
    unpark();
    Slot<Held> slot = pod.host.pin(to.model().id(), batch);
    if (slot != null) {
      if (!waited && !call.forwarded && !needsMessage) {
        pod.metrics.hitLocally();
      }
      run(to, slot, resumed);
      return;
    }
    if (resumed) {
      pod.resume.leave();
    }
    if (missedPins++ >= MAX_MISSED_PINS) {
      call.refused(
          Status.UNAVAILABLE.withDescription(
              "model '%s' was evicted from pod '%s' %d times before the call could use it"
                  .formatted(to.model().id(), pod.config.id(), MAX_MISSED_PINS)));
      return;
    }
    if (!waited) {
      waited = true;
      pod.metrics.missed(to);
    }
    if (!park(to.model().id())) {
      return;
    }
    ModelHost.Waiter waiter =
        ModelHost.Waiter.until(call::done, o -> call.onLoop(() -> loadEnded(to, o)));
    if (!pod.host.want(
        to.model(), ModelHost.NOW, batch ? Event.Purpose.BATCH : Event.Purpose.ONLINE, waiter)) {
      call.overloaded("too many calls wait for models to be loaded");
    }
  }

  /** Takes its place among the calls that wait for the model; when there is none it ends. */
  private boolean park(String modelId) {
    long bytes = caller.requestBytes();
    String full = pod.parked.enter(modelId, bytes);
    if (full != null) {
      call.overloaded(full);
      return false;
    }
    parkedFor = modelId;
    parkedBytes = bytes;
    return true;
  }

  private void unpark() {
    String modelId = parkedFor;
    if (modelId != null) {
      parkedFor = null;
      pod.parked.leave(modelId, parkedBytes);
    }
  }

  private void loadEnded(Named to, Action.Outcome outcome) {
    if (call.done()) {
      return;
    }
    pod.metrics.waitedForLoad(System.nanoTime() - call.startNs());
    Status why = Statuses.of(outcome, to.model().id(), pod.config.id());
    if (why == null) {
      pod.resume.enter(() -> call.onLoop(() -> call.loop.resume(() -> resume(to))));
      return;
    }
    unpark();
    if (outcome instanceof Action.Outcome.Failed failed && failed.fault() == Fault.PERMANENT) {
      call.fail(why);
    } else {
      call.refused(why);
    }
  }

  private void resume(Named to) {
    if (call.done()) {
      pod.resume.leave();
    } else {
      run(to, true);
    }
  }

  /** All of the request has arrived. */
  void whole(Named to) {
    if (needsMessage) {
      run(to);
    }
  }

  private void run(Named to, Slot<Held> slot, boolean resumed) {
    if (slot.held().loaded() instanceof SidecarModel remote) {
      if (resumed) {
        pod.resume.leave();
      }
      pinned = slot;
      beside().begin(to, slot, remote);
      return;
    }
    Op op = call.op;
    ByteBuf message = op == Op.INFER || op == Op.METADATA ? caller.message() : null;
    if (message != null && op == Op.INFER) {
      String full = Inference.start(call, to, slot, message, resumed);
      if (full != null) {
        call.overloaded(full);
      }
      return;
    }
    try {
      if (op == Op.INFER) {
        needsMessage = true;
      } else if (op == Op.METADATA) {
        needsMessage = message == null;
        if (message != null) {
          metadata(to, slot.held().loaded(), message);
        }
      } else if (op == Op.STREAM) {
        call.endless();
        caller.passToOwn(to);
      } else {
        call.fail(
            Status.UNIMPLEMENTED.withDescription(
                "model '%s' runs in pod '%s' itself, which does not serve this method"
                    .formatted(to.asked(), pod.config.id())));
      }
    } finally {
      slot.unpin();
      if (resumed) {
        pod.resume.leave();
      }
    }
  }

  private void metadata(Named to, LoadedModel model, ByteBuf message) {
    try {
      ModelMetadataRequest request = ModelMetadataRequest.parseFrom(ByteBufUtil.getBytes(message));
      Status refused = to.refuseVersion(request.getVersion());
      if (refused != null) {
        call.fail(refused);
        return;
      }
      ModelMetadataResponse.Builder told = model.metadata().toBuilder().setName(to.asked());
      call.answer(Answers.framed(told.clearVersions().addVersions(Named.VERSION).build()));
    } catch (InvalidProtocolBufferException e) {
      call.fail(
          Status.INVALID_ARGUMENT.withDescription(
              "the request is not a well-formed ModelMetadataRequest: " + e.getMessage()));
    } finally {
      message.release();
    }
  }

  // ---- by the runtime beside this pod

  private Beside beside() {
    Beside known = beside;
    if (known == null) {
      known = new Beside(call, this);
      beside = known;
    }
    return known;
  }

  /** The copy has as many calls as it may. */
  void busy(String why) {
    unpin();
    pod.metrics.refused();
    call.refused(Overload.STATUS.withDescription(why));
  }

  /**
   * The runtime answers.
   *
   * @return whether the call goes on, or has ended; see {@link Beside#missing}
   */
  boolean missing(Named to, Status status, BooleanSupplier again) {
    Slot<Held> slot = pinned;
    return slot != null && beside().missing(to, slot, status, again);
  }

  /** The runtime gave no answer, and is to be asked once more if it may be. */
  void lost(Named to, Status why) {
    Slot<Held> slot = pinned;
    if (slot == null || !beside().lost(to, slot)) {
      unpin();
      call.refused(why);
    }
  }

  // ---- the end

  /**
   * A runtime beside the pod is seen from outside only: all of its time is the model's.
   *
   * @param passedNs when it got the call; 0: it did not, since the call ended in line before it
   */
  void count(@Nullable Named to, Status status, long passedNs) {
    Slot<Held> slot = pinned;
    if (slot == null || to == null) {
      return;
    }
    long nowNs = System.nanoTime();
    if (passedNs != 0) {
      pod.metrics.ran(to, call.op, status.getCode(), nowNs - passedNs);
    }
    if (call.op != Op.INFER) {
      return;
    }
    ModelStats stats = slot.held().stats();
    switch (status.getCode()) {
      case OK -> {
        stats.executed(1, 1, 0, nowNs - passedNs, 0, pod.clock.nowMs());
        stats.succeeded(0, nowNs - call.startNs());
      }
      case CANCELLED, DEADLINE_EXCEEDED -> stats.cancelled(nowNs - call.startNs());
      default -> stats.failed(nowNs - call.startNs());
    }
  }

  /** Gives up its pin on the copy, or its place among those that wait for one. Idempotent. */
  void unpin() {
    unpark();
    if (beside != null) {
      beside.leave();
    }
    Slot<Held> slot = pinned;
    if (slot != null) {
      pinned = null;
      slot.unpin();
    }
  }
}
