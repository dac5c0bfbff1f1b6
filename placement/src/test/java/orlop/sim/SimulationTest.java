package orlop.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumSet;
import java.util.Set;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Fifty pods, all faults, a few minutes of virtual time, all workloads in turn: the invariants hold
 * and the mesh settles.
 */
class SimulationTest {
  private static final Set<Fault> ALL = EnumSet.allOf(Fault.class);
  private static final int TRIES = 40;

  private static Pattern workload(long seed) {
    return Pattern.values()[(int) (seed % Pattern.values().length)];
  }

  private static void keepsItsPromises(long seed) {
    Report report = Reduction.run(new Options(seed, 50, 1_000, 2, workload(seed), ALL), TRIES);
    long rejected = report.rejects().values().stream().mapToLong(Long::longValue).sum();
    assertEquals(report.calls(), report.served() + rejected, report::toString);
    assertTrue(report.served() > report.calls() * 0.7, report::toString);
    assertTrue(report.evictions() > 20 && report.faults() > 10, report::toString);
  }

  static LongStream fewSeeds() {
    return LongStream.rangeClosed(1, Pattern.values().length);
  }

  static LongStream moreSeeds() {
    return LongStream.rangeClosed(Pattern.values().length + 1, 50);
  }

  @ParameterizedTest
  @MethodSource("fewSeeds")
  void keepsItsPromisesUnderAllFaultsInEachWorkload(long seed) {
    keepsItsPromises(seed);
  }

  @Tag("slow")
  @ParameterizedTest
  @MethodSource("moreSeeds")
  void keepsItsPromisesUnderAllFaultsForMoreSeeds(long seed) {
    keepsItsPromises(seed);
  }

  @Tag("slow")
  @ParameterizedTest
  @EnumSource
  void keepsItsPromisesUnderEachFaultAlone(Fault fault) {
    Reduction.run(new Options(77, 12, 240, 2, Set.of(fault)), TRIES);
  }

  @Test
  void keepsItsPromisesWithoutFaults() {
    Report report = Reduction.run(new Options(77, 12, 240, 2, Set.of()), TRIES);
    assertEquals(0, report.faults());
    assertTrue(report.served() > report.calls() * 0.95, report::toString);
  }

  @ParameterizedTest
  @EnumSource
  void theSameSeedGivesTheSameHistory(Pattern workload) {
    Options options = new Options(42, 12, 300, 1, workload, ALL);
    assertEquals(Simulation.run(options), Simulation.run(options));
    Options other = new Options(43, 12, 300, 1, workload, ALL);
    assertNotEquals(Simulation.run(options).hash(), Simulation.run(other).hash());
  }

  @Test
  void aViolationSaysHowToSeeItAgain() {
    Options options = new Options(9, 50, 1_000, 3, Pattern.SCAN, Fault.parse("crash,stall"));
    Violation violation = new Violation("pod %s broke", "pod p broke", options, 12_345);
    assertEquals(
        "pod p broke, 12.345 s into the run%nreproduce: ./orlop sim --seed 9 --pods 50 --models 1000 --minutes 3 --workload scan --faults crash,stall"
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

  @ParameterizedTest
  @EnumSource
  void workloadNamesAreReadBackAsWritten(Pattern workload) {
    assertEquals(workload, Pattern.parse(workload.word()));
    assertThrows(IllegalArgumentException.class, () -> Pattern.parse(workload.word() + "s"));
  }
}
