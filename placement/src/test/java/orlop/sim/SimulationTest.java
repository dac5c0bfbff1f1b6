package orlop.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumSet;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Fifty pods, all faults, a few minutes of virtual time: the invariants hold and the mesh settles.
 */
class SimulationTest {
  private static final Set<Fault> ALL = EnumSet.allOf(Fault.class);

  private static Report run(long seed) {
    return Simulation.run(new Options(seed, 50, 1_000, 2, ALL));
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5})
  void keepsItsPromisesUnderAllFaults(long seed) {
    Report report = run(seed);
    long rejected = report.rejects().values().stream().mapToLong(Long::longValue).sum();
    assertEquals(report.calls(), report.served() + rejected, report::toString);
    assertTrue(report.served() > report.calls() * 0.8, report::toString);
    assertTrue(report.evictions() > 50 && report.faults() > 10, report::toString);
  }

  @Tag("slow")
  @ParameterizedTest
  @ValueSource(longs = {6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
  void keepsItsPromisesUnderAllFaultsForMoreSeeds(long seed) {
    keepsItsPromisesUnderAllFaults(seed);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "none", "crash", "zone", "lease", "stall", "slow", "fail", "hang", "unload", "drain",
        "planner"
      })
  void keepsItsPromisesUnderEachFaultAlone(String faults) {
    Simulation.run(new Options(77, 12, 240, 2, Fault.parse(faults)));
  }

  @Test
  void theSameSeedGivesTheSameHistory() {
    Options options = new Options(42, 20, 400, 2, ALL);
    assertEquals(Simulation.run(options), Simulation.run(options));
    Options other = new Options(43, 20, 400, 2, ALL);
    assertNotEquals(Simulation.run(options).hash(), Simulation.run(other).hash());
  }

  @Test
  void aViolationSaysHowToSeeItAgain() {
    Options options = new Options(9, 50, 1_000, 3, Fault.parse("crash,stall"));
    Violation violation = new Violation("pod p broke", options, 12_345);
    assertEquals(
        "pod p broke, 12.345 s into the run%nreproduce: ./orlop sim --seed 9 --pods 50 --models 1000 --minutes 3 --faults crash,stall"
            .formatted(),
        violation.getMessage());
  }

  @Test
  void faultNamesAreReadBackAsWritten() {
    for (Set<Fault> faults : Set.of(Set.<Fault>of(), EnumSet.of(Fault.STALL, Fault.FAIL), ALL)) {
      assertEquals(faults, Fault.parse(Fault.words(faults)));
    }
    assertThrows(IllegalArgumentException.class, () -> Fault.parse("crash,flood"));
  }
}
