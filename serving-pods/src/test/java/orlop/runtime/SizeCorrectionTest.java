package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** The factor follows what all models take together, within bounds and slack. */
class SizeCorrectionTest {
  private static final long MB = 1 << 20;
  private static final long SLACK = SizeCorrection.SLACK_BYTES;

  private long inUse = 50 * MB;
  private long nowNs;
  private final SizeCorrection sizes = new SizeCorrection(() -> inUse, () -> nowNs);

  /** A second after the last one. */
  private void load(long said, long takes) {
    sizes.begins();
    inUse += takes;
    nowNs += TimeUnit.SECONDS.toNanos(1);
    sizes.loaded(said);
  }

  @Test
  void whatOthersMayTakeIsNotHeldAgainstModels() {
    load(10 * MB, 10 * MB + SLACK);
    assertEquals(1, sizes.factor());
    load(90 * MB, 90 * MB - 2 * SLACK);
    assertEquals(1, sizes.factor());
    assertEquals(7, sizes.told(7));
  }

  @Test
  void modelsCountWhatThoseBeforeThemTookTogether() {
    load(100 * MB, 200 * MB + SLACK);
    assertEquals(2, sizes.factor());
    assertEquals(14 * MB, sizes.told(7 * MB));
    load(100 * MB, 100 * MB);
    assertEquals(1.5, sizes.factor());
    load(200 * MB, 25 * MB - 2 * SLACK);
    assertEquals(0.8125, sizes.factor());
  }

  @Test
  void theFactorHasBounds() {
    load(100 * MB, 1_000 * MB);
    assertEquals(SizeCorrection.MOST, sizes.factor());
    load(5_000 * MB, 0);
    assertEquals(SizeCorrection.LEAST, sizes.factor());
  }

  @Test
  void whatLeftCountsNoMoreAndWithoutModelsItBeginsAnew() {
    load(100 * MB, 200 * MB + SLACK);
    inUse -= 150 * MB + SLACK;
    sizes.left(100 * MB);
    // 50 MB did not come back; they are not the next models' fault.
    load(100 * MB, 100 * MB);
    assertEquals(1, sizes.factor());
  }

  @Test
  void nothingIsMeasuredWhileLoadsAreUnderWayOrAgainWithinASecond() {
    sizes.begins();
    load(100 * MB, 200 * MB + SLACK);
    assertEquals(1, sizes.factor());
    sizes.failed();
    load(0, 0);
    assertEquals(2, sizes.factor());
    sizes.begins();
    inUse += 400 * MB;
    sizes.loaded(0);
    assertEquals(2, sizes.factor());
  }

  @Test
  void theFormulaHoldsWhereTheLibraryDoesNotSay() {
    inUse = -1;
    sizes.begins();
    nowNs += TimeUnit.SECONDS.toNanos(2);
    sizes.loaded(100 * MB);
    assertEquals(1, sizes.factor());
  }
}
