package orlop.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import orlop.placement.Eviction;
import orlop.sim.PlacementTrial.Herd;
import orlop.sim.PlacementTrial.Result;
import orlop.sim.PlacementTrial.Rules;
import orlop.sim.PlacementTrial.Setup;

/** The trials of placement: repeatable, and won. */
class PlacementTrialTest {
  private static Setup setup(Rules rules, int pods, int models, double callsPerSecond, long seed) {
    return new Setup(
        rules,
        pods,
        models,
        8_000_000_000L,
        4,
        callsPerSecond,
        0.9,
        500,
        5,
        20,
        seed,
        Eviction.LRU);
  }

  @Test
  void theSameSetupGivesTheSameResult() {
    Setup setup = setup(Rules.ORLOP, 20, 2_000, 80, 5);
    assertEquals(PlacementTrial.run(setup), PlacementTrial.run(setup));
  }

  @Test
  void callsWaitAThirdOfWhatTheyWaitUnderTheIncumbentsRules() {
    Result ours = PlacementTrial.run(setup(Rules.ORLOP, 50, 10_000, 250, 1));
    Result theirs = PlacementTrial.run(setup(Rules.INCUMBENT, 50, 10_000, 250, 1));
    assertTrue(theirs.meanWaitMs() > 3 * ours.meanWaitMs(), ours + " against " + theirs);
    assertEquals(0, ours.failed());
  }

  @Test
  void coldModelsCalledAtOnceDoNotHerdThoughNoPodHearsOfAnother() {
    double share = 0;
    double makespan = 0;
    for (int seed = 1; seed <= 20; seed++) {
      Herd herd = PlacementTrial.herd(setup(Rules.ORLOP, 5, 50, 1, seed), true);
      share += herd.maxOverMean() / 20;
      makespan += herd.makespanOverIdeal() / 20;
    }
    assertTrue(share < 1.3, "loads of the busiest pod ÷ mean: " + share);
    assertTrue(makespan < 1.3, "until all are loaded ÷ ideal: " + makespan);
  }
}
