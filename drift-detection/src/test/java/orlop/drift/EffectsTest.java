package orlop.drift;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** Effect sizes against reference values computed with scipy 1.17.1 on reproducible sequences. */
class EffectsTest {
  private static final double PHI = (Math.sqrt(5) - 1) / 2;
  private static final double SILVER = Math.sqrt(2) - 1;

  @Test
  void kolmogorovSmirnovMatchesTheReferenceValues() {
    assertEquals(0.18, Effects.ks(weyl(50, PHI, 1), weyl(40, SILVER, 1.5)), 1e-12);
    assertEquals(0.0195, Effects.ks(weyl(2000, PHI, 1), weyl(1500, SILVER, 1.05)), 1e-12);
  }

  @Test
  void kolmogorovSmirnovMovesEqualValuesTogether() {
    assertEquals(0.15, Effects.ks(tenths(weyl(50, PHI, 1)), tenths(weyl(40, SILVER, 1.5))), 1e-12);
    assertEquals(0, Effects.ks(new float[] {3, 3}, new float[] {3, 3, 3}));
    assertEquals(1, Effects.ks(new float[] {3, 3}, new float[] {Float.NaN}));
  }

  @Test
  void populationStabilityIndexMatchesTheReferenceValue() {
    double[] p = {.1, .2, .3, .25, .15};
    double[] q = {.15, .25, .2, .2, .2};
    assertEquals(0.09751822497023466, Effects.psi(p, q), 1e-15);
  }

  @Test
  void psiExceedsItsNullBandOnlyAboutFiveTimesInAHundredWhenNothingChanged() {
    SplittableRandom random = new SplittableRandom(3);
    int above = 0;
    for (int run = 0; run < 2_000; run++) {
      long[] reference = random.doubles(1000).mapToLong(v -> key(v, random)).toArray();
      long[] recent = random.doubles(128).mapToLong(v -> key(v, random)).toArray();
      Effects effects = Effects.of(Baseline.of(reference, 1000), recent);
      above += effects.psi() > effects.psiNull95() ? 1 : 0;
    }
    // 100 expected; the asymptotic law and the half counts move it a little.
    assertTrue(above >= 40 && above <= 170, above + " of 2000");
  }

  @Test
  void comparesWhatIsFiniteAndGivesNoShiftWithoutSpread() {
    long[] reference = new long[100];
    Arrays.setAll(reference, i -> RankKey.of(i, i));
    Baseline baseline = Baseline.of(reference, 100);
    long[] recent = {RankKey.of(149, 1), RankKey.of(Float.NaN, 2), RankKey.of(149, 3)};
    Effects effects = Effects.of(baseline, recent);
    assertEquals((149 - 49.5) / baseline.sd(), effects.shiftSd(), 1e-9);
    assertEquals(1, effects.ks());

    Arrays.setAll(reference, i -> RankKey.of(7, i));
    assertTrue(Double.isNaN(Effects.of(Baseline.of(reference, 100), recent).shiftSd()));
  }

  private static long key(double value, SplittableRandom random) {
    return RankKey.of((float) value, random.nextInt());
  }

  /** The fractional parts of i times a, raised to a power, in ascending order. */
  private static float[] weyl(int n, double a, double power) {
    float[] values = new float[n];
    for (int i = 1; i <= n; i++) {
      values[i - 1] = (float) Math.pow((i * a) % 1, power);
    }
    Arrays.sort(values);
    return values;
  }

  private static float[] tenths(float[] values) {
    float[] tenths = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      tenths[i] = (float) Math.floor(10 * values[i]);
    }
    return tenths;
  }
}
