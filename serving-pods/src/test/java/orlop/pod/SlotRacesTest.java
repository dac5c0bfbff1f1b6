package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Pins, shutting and counts of a {@link Slot} under racing threads: Lincheck compares with one
 * thread after another, in bounded interleavings and by stress; jcstress looks for what no order of
 * memory may show. Each in a process of its own: Lincheck rewrites all classes that are loaded.
 */
@Tag("slow")
class SlotRacesTest {
  private static final int TIMEOUT_S = 240;

  @TempDir Path dir;

  @Test
  void pinsAreLinearizableInEveryInterleavingLookedAt() throws Exception {
    String said = run(SlotOperations.class.getName(), "interleavings");
    assertTrue(said.contains("linearizable"), said);
  }

  @Test
  void pinsAreLinearizableUnderStress() throws Exception {
    String said = run(SlotOperations.class.getName(), "stress");
    assertTrue(said.contains("linearizable"), said);
  }

  @Test
  void noOrderOfMemoryShowsAClosedModelOrLosesAPin() throws Exception {
    String said =
        run(
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
            dir.resolve("report").toString());
    for (String test : List.of("UseAndUnload", "UseAndWait", "LastUnpinAndShut", "TwoPins")) {
      assertTrue(said.contains("SlotStress." + test), test + " did not run: " + said);
    }
  }

  /** Runs a main class of this class path, which must end well; returns what it said. */
  private String run(String main, String... args) throws Exception {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "-XX:+EnableDynamicAgentLoading", "-cp", System.getProperty("java.class.path"), main));
    command.addAll(List.of(args));
    Path log = dir.resolve("said.log");
    Process process =
        new ProcessBuilder(command)
            .directory(dir.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    try {
      boolean ended = process.waitFor(TIMEOUT_S, TimeUnit.SECONDS);
      String said = Files.readString(log);
      assertTrue(ended, main + " does not end: " + said);
      assertEquals(0, process.exitValue(), said);
      return said;
    } finally {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }
}
