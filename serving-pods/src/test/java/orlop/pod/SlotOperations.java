package orlop.pod;

import org.jetbrains.lincheck.datastructures.ModelCheckingOptions;
import org.jetbrains.lincheck.datastructures.Operation;
import org.jetbrains.lincheck.datastructures.Param;
import org.jetbrains.lincheck.datastructures.StressOptions;
import org.jetbrains.lincheck.datastructures.ThreadIdGen;

/**
 * The operations of a {@link Slot} as Lincheck tries them, where each thread ends only pins of its
 * own; run by {@link SlotRacesTest}.
 */
public class SlotOperations {
  private final Slot<String> slot = new Slot<>("model");
  private final int[] mine = new int[16];

  @Operation
  public boolean pin(@Param(gen = ThreadIdGen.class) int thread) {
    boolean in = slot.pin(1);
    mine[thread] += in ? 1 : 0;
    return in;
  }

  @Operation
  public boolean unpin(@Param(gen = ThreadIdGen.class) int thread) {
    if (mine[thread] == 0) {
      return false;
    }
    mine[thread]--;
    slot.unpin();
    return true;
  }

  @Operation
  public void shut() {
    slot.shut();
  }

  @Operation
  public boolean isShut() {
    return slot.isShut();
  }

  @Operation
  public int pins() {
    return slot.pins();
  }

  /** {@code interleavings} or {@code stress}; fails where one is not linearizable. */
  public static void main(String[] args) {
    if (args[0].equals("interleavings")) {
      new ModelCheckingOptions()
          .iterations(20)
          .invocationsPerIteration(1_000)
          .threads(3)
          .actorsPerThread(3)
          .check(SlotOperations.class);
    } else {
      new StressOptions()
          .iterations(20)
          .invocationsPerIteration(2_000)
          .threads(3)
          .actorsPerThread(3)
          .check(SlotOperations.class);
    }
    System.out.println("linearizable");
  }
}
