package orlop.drift;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * The detector's two promises, measured on seeded streams: at most the budgeted false alarms for
 * every kind of feature, and a real change found soon, named rightly and in its own feature only.
 */
class DetectorTest {
  private static final int RUNS = 400;

  /** A kind of feature: draws one value while nothing is wrong. */
  private record Kind(String name, ToDoubleFunction<SplittableRandom> draw) {}

  private static final Kind[] KINDS = {
    new Kind("normal", SplittableRandom::nextGaussian),
    new Kind("heavy tails", random -> Math.tan(Math.PI * (random.nextDouble() - 0.5))),
    new Kind("three values", random -> random.nextInt(3)),
    new Kind("a rare flag", random -> random.nextInt(50) == 0 ? 1 : 0),
    new Kind("constant", random -> 7),
    new Kind("a third missing", r -> r.nextInt(3) == 0 ? Double.NaN : r.nextGaussian()),
    new Kind("sometimes infinite", r -> r.nextInt(20) == 0 ? 1 / 0.0 : r.nextDouble()),
  };

  @Test
  @Tag("slow")
  void raisesNoMoreFalseAlarmsThanBudgetedForAnyKindOfFeature() {
    int rows = 4_000;
    // Expected false alarms per run; over 400 runs 40 at most.
    double budgetPerRow = 0.1 / rows;
    for (Kind kind : KINDS) {
      for (int reference : new int[] {50, 200, 1000}) {
        int alarms = 0;
        for (int run = 0; run < RUNS; run++) {
          SplittableRandom random = new SplittableRandom(31L * run + reference);
          alarms += falseAlarms(kind, reference, rows, budgetPerRow, random) > 0 ? 1 : 0;
        }
        // Runs are independent and each alarms with probability 0.1 at most, so the number of
        // alarming runs is below Binomial(400, 0.1): mean 40, standard deviation 6; 64 is four
        // away.
        assertTrue(
            alarms <= 64, kind.name + ", reference of " + reference + ": " + alarms + " of 400");
      }
    }
  }

  @Test
  void spendsAFairPartOfItsBudgetAndNoMoreThanAllOfIt() {
    int alarms = 0;
    for (int run = 0; run < RUNS; run++) {
      SplittableRandom random = new SplittableRandom(77L * run);
      alarms += falseAlarms(KINDS[0], 1000, 4_000, 0.1 / 4_000, random) > 0 ? 1 : 0;
    }
    // Far below the budget the bound would hold for a detector that never speaks.
    assertTrue(alarms >= 10 && alarms <= 64, alarms + " alarms of 40 budgeted");
  }

  @Test
  void everyBetIsFairWhateverTheUrnHasSeen() {
    SplittableRandom random = new SplittableRandom(5);
    for (int reference : new int[] {50, 137, 1000}) {
      Baseline baseline = baseline(KINDS[0], reference, random);
      PolyaDetector detector = new PolyaDetector(baseline);
      double[] urn = Arrays.stream(baseline.gaps()).asDoubleStream().toArray();
      assertEquals(reference + 1, Arrays.stream(urn).sum(), 1e-9);
      for (int t = 0; t < 500; t++) {
        double size = Arrays.stream(urn).sum();
        for (int k = 0; k < Bets.COUNT; k++) {
          double expectation = 0;
          for (int b = 0; b < Bins.COUNT; b++) {
            expectation += urn[b] / size * detector.ratio(k, b);
          }
          assertEquals(1, expectation, 1e-9, Bets.name(k) + " after " + t);
        }
        int bin = t < 250 ? random.nextInt(Bins.COUNT) : 31;
        detector.observe(bin, 1e-12, 0);
        urn[bin]++;
      }
    }
  }

  @Test
  void findsAMeanShiftWithinTheStatedNumberOfRecords() {
    // Medians at a budget of 1e-9 per record and feature, reference of 1000.
    assertDelay("1 sd", random -> random.nextGaussian() + 1, Direction.UP, 62);
    assertDelay("-1 sd", random -> random.nextGaussian() - 1, Direction.DOWN, 62);
    assertDelay("2 sd", random -> random.nextGaussian() + 2, Direction.UP, 20);
    assertDelay("0.5 sd", random -> random.nextGaussian() + 0.5, Direction.UP, 240);
  }

  @Test
  void findsAChangeOfSpreadOrTail() {
    assertDelay("sd x1.5", random -> 1.5 * random.nextGaussian(), Direction.WIDER, 160);
    assertDelay("sd x0.5", random -> 0.5 * random.nextGaussian(), Direction.NARROWER, 140);
    assertDelay(
        "5% at 3 sd",
        r -> r.nextInt(20) == 0 ? 3 + 0.3 * r.nextGaussian() : r.nextGaussian(), Direction.UP, 700);
    assertDelay(
        "missing", r -> r.nextInt(4) == 0 ? Double.NaN : r.nextGaussian(), Direction.MISSING, 110);
  }

  @Test
  void seesANewValueOfAConstantFeature() {
    SplittableRandom random = new SplittableRandom(9);
    FeatureMonitor monitor = learned(KINDS[4], 1000, 1000);
    assertEquals(0, feed(monitor, 2_000, r -> 7, 1e-9, random));
    Alarm alarm = firstAlarm(monitor, 1_000, r -> 8, 1e-9, random);
    assertNotNull(alarm);
    assertEquals(Direction.UP, alarm.direction());
    assertTrue(Double.isNaN(alarm.effects().shiftSd()), "a constant has no spread to measure by");
    assertTrue(alarm.rowsSinceChange() <= 40, alarm.toString());
  }

  @Test
  void reportsHowLargeTheChangeIsAndWhenItBegan() {
    SplittableRandom random = new SplittableRandom(4);
    FeatureMonitor monitor = learned(KINDS[0], 1000, 1000);
    assertEquals(0, feed(monitor, 3_000, SplittableRandom::nextGaussian, 1e-9, random));
    Alarm alarm = firstAlarm(monitor, 500, r -> r.nextGaussian() + 1, 1e-9, random);
    assertNotNull(alarm);
    assertEquals(1, alarm.effects().shiftSd(), 0.5);
    assertTrue(alarm.effects().ks() > 0.25, alarm.toString());
    assertTrue(alarm.effects().psi() > alarm.effects().psiNull95(), alarm.toString());
    assertTrue(alarm.evidenceLog10() > 6, alarm.toString());
    long delay = alarm.rowsSinceBaseline() - 3_000;
    assertEquals(delay, alarm.rowsSinceChange(), 0.5 * delay, alarm.toString());
    assertEquals(alarm.rowsSinceBaseline() - alarm.rowsSinceChange() + 1, alarm.changeMs() - 1000);
  }

  @Test
  void speaksOnceLatchesAndThenLearnsTheNewNormal() {
    SplittableRandom random = new SplittableRandom(6);
    DetectorSettings settings = new DetectorSettings(200, 300, 10);
    FeatureMonitor monitor = new FeatureMonitor();
    int alarms = 0;
    for (int i = 0; i < 10_000; i++) {
      double value = random.nextGaussian() + (i < 1_000 ? 0 : 2);
      alarms += observe(monitor, value, i, settings, 1e-9, random) == null ? 0 : 1;
      if (alarms == 1 && monitor.phase() == FeatureMonitor.Phase.LATCHED && i == 1_200) {
        assertTrue(monitor.status(new FeatureKey("x", 0)).furtherLog10() > 5);
      }
    }
    assertEquals(1, alarms);
    assertEquals(FeatureMonitor.Phase.WATCHING, monitor.phase());
    // And a change of the new normal is news again.
    int again = 0;
    for (int i = 10_000; i < 10_200; i++) {
      again += observe(monitor, random.nextGaussian(), i, settings, 1e-9, random) == null ? 0 : 1;
    }
    assertEquals(1, again);
  }

  @Test
  void comesBackFromItsBytesExactlyAsItWas() {
    SplittableRandom random = new SplittableRandom(8);
    DetectorSettings settings = new DetectorSettings(200, 300, 10);
    FeatureMonitor monitor = new FeatureMonitor();
    for (int i = 0; i < 3_000; i++) {
      double value = random.nextGaussian() + (i < 1_000 ? 0 : 1.5);
      observe(monitor, value, i, settings, 1e-9, random);
      if (i % 37 == 0) {
        byte[] bytes = monitor.toBytes();
        FeatureMonitor copy = FeatureMonitor.fromBytes(bytes);
        assertArrayEquals(bytes, copy.toBytes());
        assertEquals(i, copy.lastOffset());
        FeatureKey key = new FeatureKey("x", 0);
        assertEquals(monitor.status(key), copy.status(key));
        monitor = copy;
      }
    }
    assertEquals(FeatureMonitor.Phase.WATCHING, monitor.phase());
  }

  @Test
  void keysOrderAsTheirValuesAndThenAsTheirTieBreakers() {
    float[] ascending = {
      Float.NEGATIVE_INFINITY,
      -2.5f,
      -Float.MIN_VALUE,
      0,
      1e-30f,
      3,
      Float.POSITIVE_INFINITY,
      Float.NaN
    };
    for (int i = 0; i < ascending.length; i++) {
      assertEquals(ascending[i], RankKey.value(RankKey.of(ascending[i], 17)));
      assertTrue(RankKey.of(ascending[i], 1) < RankKey.of(ascending[i], -1), "ties are unsigned");
      if (i > 0) {
        assertTrue(RankKey.of(ascending[i - 1], -1) < RankKey.of(ascending[i], 0));
      }
    }
    assertEquals(RankKey.of(0f, 3), RankKey.of(-0f, 3));
  }

  private static void assertDelay(
      String what, ToDoubleFunction<SplittableRandom> after, Direction direction, int most) {
    int runs = 101;
    long[] delays = new long[runs];
    int rightlyNamed = 0;
    for (int run = 0; run < runs; run++) {
      SplittableRandom random = new SplittableRandom(1000L + run);
      FeatureMonitor monitor = learned(KINDS[0], 1000, 1000L + run);
      assertEquals(0, feed(monitor, 2_000, SplittableRandom::nextGaussian, 1e-9, random));
      Alarm alarm = firstAlarm(monitor, 20_000, after, 1e-9, random);
      assertNotNull(alarm, what + " was never found");
      delays[run] = alarm.rowsSinceBaseline() - 2_000;
      rightlyNamed += alarm.direction() == direction ? 1 : 0;
    }
    Arrays.sort(delays);
    long median = delays[runs / 2];
    assertTrue(median <= most, what + ": median delay " + median + ", promised " + most);
    assertTrue(rightlyNamed >= 0.9 * runs, what + ": named rightly " + rightlyNamed + " of 101");
  }

  private static int falseAlarms(
      Kind kind, int reference, int rows, double budgetPerRow, SplittableRandom random) {
    Baseline baseline = baseline(kind, reference, random);
    PolyaDetector detector = new PolyaDetector(baseline);
    for (int i = 0; i < rows; i++) {
      int bin = baseline.bin(key(kind.draw.applyAsDouble(random), random));
      if (detector.observe(bin, budgetPerRow, 0)) {
        return 1;
      }
    }
    return 0;
  }

  private static Baseline baseline(Kind kind, int rows, SplittableRandom random) {
    long[] keys = new long[rows];
    for (int i = 0; i < rows; i++) {
      keys[i] = key(kind.draw.applyAsDouble(random), random);
    }
    return Baseline.of(keys, rows);
  }

  private static FeatureMonitor learned(Kind kind, int rows, long seed) {
    return new FeatureMonitor(baseline(kind, rows, new SplittableRandom(~seed)));
  }

  private static int feed(
      FeatureMonitor monitor,
      int rows,
      ToDoubleFunction<SplittableRandom> draw,
      double budget,
      SplittableRandom random) {
    DetectorSettings settings = new DetectorSettings(1000, 10_000, 10);
    int alarms = 0;
    for (int i = 0; i < rows; i++) {
      double value = draw.applyAsDouble(random);
      alarms += observe(monitor, value, i, settings, budget, random) == null ? 0 : 1;
    }
    return alarms;
  }

  private static @Nullable Alarm firstAlarm(
      FeatureMonitor monitor,
      int most,
      ToDoubleFunction<SplittableRandom> draw,
      double budget,
      SplittableRandom random) {
    DetectorSettings settings = new DetectorSettings(1000, 10_000, 10);
    for (int i = 0; i < most; i++) {
      double value = draw.applyAsDouble(random);
      long offset = monitor.lastOffset() + 1;
      Alarm alarm = observe(monitor, value, offset, settings, budget, random);
      if (alarm != null) {
        return alarm;
      }
    }
    return null;
  }

  private static @Nullable Alarm observe(
      FeatureMonitor monitor,
      double value,
      long offset,
      DetectorSettings settings,
      double budget,
      SplittableRandom random) {
    return monitor.observe(key(value, random), budget, offset, 1001 + offset, settings);
  }

  private static long key(double value, SplittableRandom random) {
    return RankKey.of((float) value, random.nextInt());
  }
}
