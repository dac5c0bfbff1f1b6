package orlop.pod;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.II_Result;
import org.openjdk.jcstress.infra.results.IZ_Result;
import org.openjdk.jcstress.infra.results.ZZI_Result;
import org.openjdk.jcstress.infra.results.ZZ_Result;

/**
 * What must never be seen of a {@link Slot} by two threads that race; run by {@link SlotRacesTest}.
 */
public final class SlotStress {
  private static final long LONG_MS = 30_000;

  private SlotStress() {}

  private static boolean empty(Slot<?> slot, long timeoutMs) {
    try {
      return slot.awaitEmpty(timeoutMs);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A slot whose model can be closed, by a plain write that pins must keep apart from reads. */
  private static final class Closing {
    final Slot<String> slot = new Slot<>("model");
    int closed;

    /** 0 refused, 1 used while open, 2 used after it was closed. */
    int use() {
      if (!slot.pin(1)) {
        return 0;
      }
      int seen = closed == 0 ? 1 : 2;
      slot.unpin();
      return seen;
    }

    boolean unload(long timeoutMs) {
      slot.shut();
      if (empty(slot, timeoutMs)) {
        closed = 1;
        return true;
      }
      return false;
    }
  }

  /** Nobody who pinned sees the model closed; who unloads sees it empty, now or later. */
  @JCStressTest
  @Outcome(
      id = {"0, true", "1, true", "1, false"},
      expect = Expect.ACCEPTABLE)
  @Outcome(expect = Expect.FORBIDDEN, desc = "closed under a call, or not empty without one")
  @State
  public static class UseAndUnload {
    private final Closing model = new Closing();

    @Actor
    public void call(IZ_Result result) {
      result.r1 = model.use();
    }

    @Actor
    public void unload(IZ_Result result) {
      result.r2 = model.unload(0);
    }
  }

  /** The same when the other thread waits for the last call. */
  @JCStressTest
  @Outcome(
      id = {"0, 1", "1, 1"},
      expect = Expect.ACCEPTABLE)
  @Outcome(expect = Expect.FORBIDDEN, desc = "closed under a call, or never empty")
  @State
  public static class UseAndWait {
    private final Closing model = new Closing();

    @Actor
    public void call(II_Result result) {
      result.r1 = model.use();
    }

    @Actor
    public void unload(II_Result result) {
      result.r2 = model.unload(LONG_MS) ? 1 : 0;
    }
  }

  /** Of the last to leave and the one who shuts, one says that it is empty. */
  @JCStressTest
  @Outcome(id = "true, true", expect = Expect.ACCEPTABLE)
  @Outcome(expect = Expect.FORBIDDEN, desc = "a slot that nobody uses never becomes empty")
  @State
  public static class LastUnpinAndShut {
    private final Slot<String> slot = new Slot<>("model");

    public LastUnpinAndShut() {
      slot.pin(1);
    }

    @Actor
    public void unpin() {
      slot.unpin();
    }

    @Actor
    public void shut() {
      slot.shut();
    }

    @Arbiter
    public void end(ZZ_Result result) {
      result.r1 = empty(slot, 0);
      result.r2 = slot.isShut() && slot.pins() == 0;
    }
  }

  /** Only pins that succeeded count, and the statistics know each of them. */
  @JCStressTest
  @Outcome(id = "true, true, 2", expect = Expect.ACCEPTABLE)
  @Outcome(expect = Expect.FORBIDDEN, desc = "a pin is lost or counted twice")
  @State
  public static class TwoPins {
    private final Slot<String> slot = new Slot<>("model");

    @Actor
    public void one(ZZI_Result result) {
      result.r1 = slot.pin(7, true);
    }

    @Actor
    public void two(ZZI_Result result) {
      result.r2 = slot.pin(7, true);
    }

    @Arbiter
    public void end(ZZI_Result result) {
      int pins = slot.pins();
      boolean known =
          slot.calls() == pins
              && slot.recentUses(new long[8]) == pins
              && slot.lastUsedNs() == 7
              && slot.lastOnlineUseNs() == 0;
      result.r3 = known ? pins : -1;
    }
  }
}
