package orlop.drift;

import java.nio.ByteBuffer;

/**
 * A sequential change detector for one feature: a bank of bets on the bin of the next value, each
 * divided by what an urn of everything seen so far expects, summed over all possible times of
 * change.
 *
 * <p>Guarantee. While reference and stream are exchangeable, the expected number of alarms is at
 * most the sum of the {@code budget} arguments, for any reference size and any number of looks;
 * DESIGN.md has the proof. Not thread-safe. O(bets) per value, constant memory.
 *
 * <p>Source of the parts: Polya's urn; Shiryaev-Roberts e-detectors (Shin, Ramdas, Rinaldo).
 */
final class PolyaDetector {
  /*
   * For bet k with payments f_k(b), an urn that gives bin b the probability u(b)/n, and
   * G_k = sum of f_k(b) u(b):
   *   L_k = f_k(b) n / G_k            has expectation one, given the past
   *   M_k = (M_k + budget / K) L_k    sums over the times at which a change may have begun
   * and the alarm is raised when the sum of all M_k reaches one.
   * P_k is the largest single product L_k ... L_k that ends now; where it began is the estimate
   * of the time of change.
   */
  private final double[] wealth = new double[Bets.COUNT];
  private final double[] expected = new double[Bets.COUNT];
  private final double[] best = new double[Bets.COUNT];
  private final long[] bestFromRow = new long[Bets.COUNT];
  private final long[] bestFromMs = new long[Bets.COUNT];
  private double urnSize;
  private long rows;

  /** A detector that has seen the baseline and nothing else. */
  PolyaDetector(Baseline baseline) {
    urnSize = baseline.rows() + 1;
    for (int b = 0; b < Bins.COUNT; b++) {
      for (int k = 0; k < Bets.COUNT; k++) {
        expected[k] += baseline.gaps()[b] * Bets.pays(k, b);
      }
    }
  }

  /**
   * Takes the next value.
   *
   * @param bin its bin
   * @param budget expected false alarms that this value may add; chosen without looking at it
   * @param timeMs when it was captured
   * @return whether the alarm is raised; this detector is then spent, and a new one needs a new
   *     baseline, because the alarm has made the old one a chosen one
   */
  boolean observe(int bin, double budget, long timeMs) {
    rows++;
    double sum = 0;
    double injected = budget / Bets.COUNT;
    for (int k = 0; k < Bets.COUNT; k++) {
      double pays = Bets.pays(k, bin);
      double ratio = pays * urnSize / expected[k];
      wealth[k] = (wealth[k] + injected) * ratio;
      sum += wealth[k];
      if (best[k] <= 1) {
        best[k] = 1;
        bestFromRow[k] = rows;
        bestFromMs[k] = timeMs;
      }
      best[k] *= ratio;
      expected[k] += pays;
    }
    urnSize++;
    return sum >= 1;
  }

  /** The factor by which bet {@code bet} would grow on a value in {@code bin}. */
  double ratio(int bet, int bin) {
    return Bets.pays(bet, bin) * urnSize / expected[bet];
  }

  /** Values seen since the baseline. */
  long rows() {
    return rows;
  }

  /** The bet that has gained most. */
  int winner() {
    int winner = 0;
    for (int k = 1; k < Bets.COUNT; k++) {
      if (wealth[k] > wealth[winner]) {
        winner = k;
      }
    }
    return winner;
  }

  /** Values since the winner's gain began. */
  long rowsSinceChange() {
    return rows - bestFromRow[winner()] + 1;
  }

  /** Capture time of the value with which the winner's gain began. */
  long changeMs() {
    return bestFromMs[winner()];
  }

  /** log10 of the winner's gain since then; 0 when nothing has been gained. */
  double evidenceLog10() {
    return Math.log10(Math.max(1, best[winner()]));
  }

  static int bytes() {
    return 16 + 40 * Bets.COUNT;
  }

  void write(ByteBuffer out) {
    out.putDouble(urnSize).putLong(rows);
    for (int k = 0; k < Bets.COUNT; k++) {
      out.putDouble(wealth[k]).putDouble(expected[k]).putDouble(best[k]);
      out.putLong(bestFromRow[k]).putLong(bestFromMs[k]);
    }
  }

  static PolyaDetector read(Baseline baseline, ByteBuffer in) {
    PolyaDetector detector = new PolyaDetector(baseline);
    detector.urnSize = in.getDouble();
    detector.rows = in.getLong();
    for (int k = 0; k < Bets.COUNT; k++) {
      detector.wealth[k] = in.getDouble();
      detector.expected[k] = in.getDouble();
      detector.best[k] = in.getDouble();
      detector.bestFromRow[k] = in.getLong();
      detector.bestFromMs[k] = in.getLong();
    }
    return detector;
  }
}
