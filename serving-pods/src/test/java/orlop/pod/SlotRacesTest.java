package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jetbrains.lincheck.datastructures.ModelCheckingOptions;
import org.jetbrains.lincheck.datastructures.Operation;
import org.jetbrains.lincheck.datastructures.Param;
import org.jetbrains.lincheck.datastructures.StressOptions;
import org.jetbrains.lincheck.datastructures.ThreadIdGen;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Pins, shutting and counts of a {@link Slot} under racing threads: Lincheck compares with one
 * thread after another, in bounded interleavings and by stress; jcstress looks for what no order of
 * memory may show.
 */
@Tag("slow")
class SlotRacesTest {
  private static final int JCSTRESS_TIMEOUT_S = 180;

  /** The slot's operations, of which each thread ends only pins of its own. */
  public static class Operations {
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
  }

  @Test
  void pinsAreLinearizableInEveryInterleavingLookedAt() {
    new ModelCheckingOptions()
        .iterations(20)
        .invocationsPerIteration(1_000)
        .threads(3)
        .actorsPerThread(3)
        .check(Operations.class);
  }

  @Test
  void pinsAreLinearizableUnderStress() {
    new StressOptions()
        .iterations(20)
        .invocationsPerIteration(2_000)
        .threads(3)
        .actorsPerThread(3)
        .check(Operations.class);
  }

  @Test
  void noOrderOfMemoryShowsAClosedModelOrLosesAPin(@TempDir Path dir) throws Exception {
    Path log = dir.resolve("jcstress.log");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                "org.openjdk.jcstress.Main",
                "-t",
                "orlop.pod.SlotStress",
                "-sc",
                "false",
                "-f",
                "1",
                "-iters",
                "4",
                "-time",
                "500",
                "-jvmArgs",
                "-XX:+UseSerialGC",
                "-v",
                "-r",
                dir.resolve("report").toString())
            .directory(dir.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    try {
      assertTrue(process.waitFor(JCSTRESS_TIMEOUT_S, TimeUnit.SECONDS), "jcstress does not end");
      List<String> said = Files.readAllLines(log);
      String text = String.join(System.lineSeparator(), said);
      assertEquals(0, process.exitValue(), text);
      for (String test : List.of("UseAndUnload", "UseAndWait", "LastUnpinAndShut", "TwoPins")) {
        boolean ran = said.stream().anyMatch(line -> line.contains("SlotStress." + test));
        assertTrue(ran, test + " did not run: " + text);
      }
    } finally {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }
}
