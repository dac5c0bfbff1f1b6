package orlop.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import orlop.sim.Traffic.Plan;
import orlop.sim.Traffic.Shape;

class TrafficTest {
  private static long hash(Shape shape, long seed) {
    Traffic traffic = new Traffic(Plan.of(shape, 500, 20, 0.9, seed));
    long hash = 0;
    for (int i = 0; i < 20_000; i++) {
      traffic.next();
      hash = hash * 31 + traffic.timeNs() * 7 + traffic.model();
    }
    return hash;
  }

  @ParameterizedTest
  @EnumSource
  void equalSeedsGiveEqualStreams(Shape shape) {
    assertEquals(hash(shape, 4), hash(shape, 4));
    assertNotEquals(hash(shape, 4), hash(shape, 5));
  }

  @ParameterizedTest
  @EnumSource
  void timeNeverRunsBackwardsAndTheRateIsTheOneAskedFor(Shape shape) {
    Traffic traffic = new Traffic(Plan.of(shape, 500, 20, 0.9, 6));
    long before = 0;
    int calls = 0;
    for (int i = 0; i < 120_000; i++) {
      traffic.next();
      assertTrue(traffic.timeNs() >= before, () -> "at " + traffic.timeNs());
      assertTrue(traffic.model() >= 0 && traffic.model() < traffic.models());
      before = traffic.timeNs();
      calls += traffic.scan() ? 0 : 1;
    }
    double perSecond = calls * 1e9 / before;
    assertTrue(perSecond > 10 && perSecond < 40, () -> perSecond + " calls per second");
  }

  @ParameterizedTest
  @EnumSource(names = {"ROLL_OUT", "CHURN"})
  void whatWentOutOfUseIsNeverCalledAgain(Shape shape) {
    Traffic traffic = new Traffic(Plan.of(shape, 500, 20, 0.9, 7));
    Set<Integer> retired = new HashSet<>();
    for (int i = 0; i < 100_000; i++) {
      traffic.next();
      retired.add(traffic.retired());
      assertTrue(!retired.contains(traffic.model()));
    }
    assertTrue(retired.size() > 50, () -> retired.size() + " retired");
    assertTrue(traffic.models() > 550);
  }

  @Test
  void aScanCallsEveryModelOnceWithinAMinute() {
    Traffic traffic = new Traffic(Plan.of(Shape.SCAN, 300, 20, 0.9, 8));
    int scanned = 0;
    long firstNs = 0;
    while (scanned < 300) {
      traffic.next();
      if (traffic.scan()) {
        assertEquals(scanned++, traffic.model());
        firstNs = firstNs == 0 ? traffic.timeNs() : firstNs;
      }
    }
    assertTrue(firstNs >= 10 * Timeline.MINUTE && firstNs < 11 * Timeline.MINUTE);
    assertTrue(traffic.timeNs() - firstNs <= Timeline.MINUTE);
  }

  @Test
  void sizesSpanThreeDecadesAndLargeModelsTakeLonger() {
    Stock stock = Stock.of(1);
    int small = 0;
    int large = 0;
    for (int i = 0; i < 10_000; i++) {
      Stock.Item item = stock.item(i);
      assertTrue(item.sizeBytes() >= Stock.MB && item.sizeBytes() <= 4_000 * Stock.MB);
      assertTrue(item.loadNs() >= 150 * Timeline.MS + item.sizeBytes() / 2);
      small += item.sizeBytes() < 6 * Stock.MB ? 1 : 0;
      large += item.sizeBytes() > 600 * Stock.MB ? 1 : 0;
      assertEquals(item, stock.item(i));
    }
    assertTrue(small > 200 && large > 200, small + " small, " + large + " large");
  }
}
