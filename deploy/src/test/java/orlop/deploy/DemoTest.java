package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The main job, run as a newcomer runs it: real processes, real stores, real models. */
@Tag("slow")
final class DemoTest {
  @TempDir Path dir;

  @Test
  void keepsEveryPromiseOfItsStoryAndLeavesNothingBehind() throws Exception {
    Set<ProcessHandle> seen = new HashSet<>();
    try (Orlop demo = Orlop.start(dir, "demo", "--once", "--json", "--dir", "demo")) {
      long deadlineNs = System.nanoTime() + 600_000_000_000L;
      while (demo.alive() && System.nanoTime() < deadlineNs) {
        seen.addAll(demo.descendants());
        LockSupport.parkNanos(200_000_000);
      }
      assertFalse(demo.alive(), () -> "still running");
      String text = demo.out() + demo.err();
      assertEquals(0, demo.status(), text);
      JsonNode figures = new ObjectMapper().readTree(demo.out().lines().toList().getLast());
      assertTrue(figures.path("models").asInt() >= 200, text);
      assertEquals(0.0, figures.path("accuracyDelta").asDouble(-1), text);
      assertEquals(figures.path("kafkaIn").asInt(-1), figures.path("kafkaOut").asInt(-2), text);
      assertEquals(0, figures.path("kafkaDuplicates").asInt(-1), text);
      assertEquals(0, figures.path("kafkaDeadLetters").asInt(-1), text);
      assertTrue(figures.path("killRecoverySeconds").asDouble(99) <= 15, text);
      assertEquals(0, figures.path("driftFalseAlarms").asInt(-1), text);
      assertTrue(figures.path("driftDelayRecords").asInt(-1) > 0, text);
      assertTrue(figures.path("evictions").asInt() > 0, text);
    }
    assertTrue(seen.size() >= 4, "expected etcd and three pods, saw " + seen.size());
    assertGone(seen);
    assertEquals(List.of(), runFolders());
  }

  @ParameterizedTest
  @ValueSource(strings = {"training", "1. Start", "3. Score", "5. Drift"})
  void leavesNothingBehindWhenInterruptedInStep(String step) throws Exception {
    Set<ProcessHandle> seen = new HashSet<>();
    try (Orlop demo = Orlop.start(dir, "demo", "--calls", "500", "--dir", "demo")) {
      long deadlineNs = System.nanoTime() + 400_000_000_000L;
      while (!demo.out().contains(step) && demo.alive() && System.nanoTime() < deadlineNs) {
        LockSupport.parkNanos(50_000_000);
      }
      assertTrue(demo.out().contains(step), demo.out() + demo.err());
      seen.addAll(demo.descendants());
      demo.interrupt();
      demo.join(60);
      assertFalse(demo.err().contains("\tat "), demo.err());
    }
    assertGone(seen);
    assertEquals(List.of(), runFolders());
  }

  private static void assertGone(Set<ProcessHandle> processes) {
    long deadlineNs = System.nanoTime() + 30_000_000_000L;
    while (processes.stream().anyMatch(ProcessHandle::isAlive) && System.nanoTime() < deadlineNs) {
      LockSupport.parkNanos(50_000_000);
    }
    assertEquals(
        List.of(),
        processes.stream().filter(ProcessHandle::isAlive).map(p -> p.info().toString()).toList());
  }

  private List<Path> runFolders() throws Exception {
    try (Stream<Path> all = Files.list(dir.resolve("demo"))) {
      return all.filter(p -> String.valueOf(p.getFileName()).startsWith("run-")).toList();
    }
  }
}
