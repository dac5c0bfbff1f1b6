package orlop.pod;

import io.grpc.Status;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import orlop.runtime.SidecarMethods;
import orlop.runtime.SidecarModel;

/**
 * A call's dealings with the runtime beside this pod: its turn, what may be called there, and what
 * happens when the runtime has lost the model. Owned by the call's event loop.
 */
final class Beside {
  /** How often one call makes the runtime load what it should hold already. */
  private static final int MAX_RELOADS = 1;

  private final Call call;
  private final Here here;
  private int reloads;
  private @Nullable Turns line;

  /** What stands in line for it; null when its turn has come, or there is no line. */
  private @Nullable Runnable turn;

  Beside(Call call, Here here) {
    this.call = call;
    this.here = here;
  }

  /**
   * Sends the call there, in its turn.
   *
   * @param slot pinned, until the call unpins it
   */
  void begin(Named to, Slot<Held> slot, SidecarModel remote) {
    Turns turns = slot.held().turns();
    if (turns == null) {
      pass(to, remote);
      return;
    }
    Turn step = new Turn(to, remote, turns);
    line = turns;
    turn = step;
    if (!turns.enter(step)) {
      line = null;
      turn = null;
      here.busy(
          "model '%s' is busy in pod '%s': %s"
              .formatted(to.asked(), call.pod.config.id(), turns.full()));
    }
  }

  private final class Turn implements Runnable {
    private final Named to;
    private final SidecarModel remote;
    private final Turns turns;
    private final long queuedNs = System.nanoTime();

    Turn(Named to, SidecarModel remote, Turns turns) {
      this.to = to;
      this.remote = remote;
      this.turns = turns;
    }

    @Override
    public void run() {
      call.onLoop(this::come);
    }

    private void come() {
      if (turn == this) {
        turn = null;
        call.pod.metrics.queued(System.nanoTime() - queuedNs);
        pass(to, remote);
      } else {
        // The call has gone meanwhile.
        turns.leave();
      }
    }
  }

  private void pass(Named to, SidecarModel remote) {
    Op op = call.op;
    SidecarMethods methods = remote.methods();
    if (!methods.allows(op.method)) {
      call.fail(
          Status.UNIMPLEMENTED.withDescription(
              "the runtime of model '%s' does not let %s be called"
                  .formatted(to.asked(), op.method)));
      return;
    }
    List<Integer> said = methods.idPath(op.method);
    int[] path = said == null ? op.namePath : said.stream().mapToInt(Integer::intValue).toArray();
    call.pass(new Caller.Hop(call.pod.runtime(remote.address()), to, -1, path));
  }

  /**
   * The runtime answers. When it says that it does not hold the model, the copy is given up and the
   * call waits for a new one.
   *
   * @param again makes the request ready to be sent once more; false when it cannot be
   * @return whether the call goes on, or has ended
   */
  boolean missing(Named to, Slot<Held> slot, Status status, BooleanSupplier again) {
    String id = to.model().id();
    if (!(slot.held().loaded() instanceof SidecarModel remote)
        || remote.believed()
        || !Statuses.saysMissing(status, id)) {
      return false;
    }
    if (reloads == MAX_RELOADS) {
      remote.believe();
      return false;
    }
    if (again.getAsBoolean()) {
      var unused = lost(to, slot);
    } else {
      call.pod.host.lost(id, slot);
      call.fail(
          Status.UNAVAILABLE.withDescription(
              "the runtime has lost model '%s', and the request is too large to be sent again"
                  .formatted(to.asked())));
    }
    return true;
  }

  /**
   * The runtime has lost the model: the copy is given up and the call waits for a new one.
   *
   * @return false when it has waited for one already
   */
  boolean lost(Named to, Slot<Held> slot) {
    call.pod.host.lost(to.model().id(), slot);
    if (reloads == MAX_RELOADS) {
      return false;
    }
    reloads++;
    call.comeBack(to);
    return true;
  }

  /** Makes room for the next call of the copy. Idempotent. */
  void leave() {
    Turns was = line;
    Runnable waiting = turn;
    line = null;
    turn = null;
    if (was != null) {
      if (waiting == null) {
        was.leave();
      } else {
        // Where its turn has come meanwhile, it will find that it has gone.
        var unused = was.forget(waiting);
      }
    }
  }
}
