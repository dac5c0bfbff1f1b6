package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.Test;

/** The size of batches follows the measured cost: of each kind of model the right one. */
class BatcherTest {
  private static final int MOST_ROWS = 64;
  private static final long LATENCY_NS = 20_000_000;

  /** Runs single-row requests of which there are always more, and returns the last limit. */
  private static int settled(Batcher batcher, int runs, IntToDoubleFunction nsOfRows) {
    for (int i = 0; i < runs; i++) {
      int rows = batcher.limit();
      List<Inference> calls = java.util.Collections.nCopies(rows, null);
      batcher.ran(new Batcher.Batch(calls, rows, true), (long) nsOfRows.applyAsDouble(rows));
    }
    return batcher.limit();
  }

  @Test
  void growsToTheMostWhereWeightsDominate() {
    Batcher batcher = new Batcher(MOST_ROWS, LATENCY_NS);
    assertEquals(MOST_ROWS, settled(batcher, 200, rows -> 4e6 + 1e4 * rows));
  }

  @Test
  void staysSmallWhereEachRowCostsTheSame() {
    Batcher batcher = new Batcher(MOST_ROWS, LATENCY_NS);
    int alone = 0;
    for (int i = 0; i < 2_000; i++) {
      if (settled(batcher, 1, rows -> 1e6 * rows) == 1) {
        alone++;
      }
    }
    assertTrue(alone > 1_800, "alone in " + alone + " of 2000 runs");
  }

  @Test
  void stopsWhereMoreRowsNoLongerPay() {
    // Up to 8 rows cost as much as one, from there on each costs as much as the first eight.
    Batcher batcher = new Batcher(MOST_ROWS, LATENCY_NS);
    int limit = settled(batcher, 400, rows -> rows <= 8 ? 8e5 : 1e5 * rows);
    assertTrue(limit >= 7 && limit < 32, "limit " + limit);
  }

  @Test
  void shrinksWhenARunTakesLongerThanTheTarget() {
    Batcher batcher = new Batcher(MOST_ROWS, LATENCY_NS);
    for (int i = 0; i < 500; i++) {
      int limit = settled(batcher, 1, rows -> 1.9e7 + 1e5 * rows);
      assertTrue(limit <= 12, "limit " + limit + " while 10 rows take all of the target");
    }
  }

  @Test
  void growsAgainWhenRunsGetShorter() {
    Batcher batcher = new Batcher(MOST_ROWS, LATENCY_NS);
    assertTrue(settled(batcher, 100, rows -> 1e8) <= 2);
    assertEquals(MOST_ROWS, settled(batcher, 2_000, rows -> 1e6 + 1e3 * rows));
  }

  @Test
  void neverBatchesWhatMustNotBeBatched() {
    Batcher batcher = new Batcher(0, LATENCY_NS);
    assertEquals(1, settled(batcher, 50, rows -> 1e6));
    Batcher broken = new Batcher(MOST_ROWS, LATENCY_NS);
    settled(broken, 50, rows -> 1e6);
    broken.never();
    assertEquals(1, broken.limit());
  }
}
