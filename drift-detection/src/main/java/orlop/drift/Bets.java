package orlop.drift;

import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleUnaryOperator;

/**
 * The fixed alternatives that the detector bets on, as tables over {@link Bins}.
 *
 * <p>Each is a law on the scale on which the reference is standard normal; its table holds the
 * law's share of each bin over the reference's share. Which numbers stand here decides how fast a
 * change is found, never how often a false alarm is raised: the detector divides by what it
 * expects.
 */
final class Bets {
  static final int COUNT;

  /** Keeps one unlucky value from ruling a bet out for good. */
  private static final double FLOOR = 1e-3;

  private static final List<Bet> ALL = all();

  /** {@code TABLE[bin * COUNT + bet]}: one value's row is one stretch of memory. */
  private static final double[] TABLE;

  static {
    COUNT = ALL.size();
    TABLE = new double[Bins.COUNT * COUNT];
    for (int k = 0; k < COUNT; k++) {
      double below = 0;
      for (int b = 0; b < Bins.COUNT; b++) {
        double upper = b == Bins.COUNT - 1 ? 1 : ALL.get(k).cdf.applyAsDouble(quantile(b));
        TABLE[b * COUNT + k] = Math.max(FLOOR, (upper - below) / Bins.mass(b));
        below = upper;
      }
    }
  }

  private record Bet(String name, Direction direction, DoubleUnaryOperator cdf) {}

  private Bets() {}

  /** What bet {@code bet} pays for a value in {@code bin}, before normalisation; positive. */
  static double pays(int bet, int bin) {
    return TABLE[bin * COUNT + bet];
  }

  static String name(int bet) {
    return ALL.get(bet).name;
  }

  static Direction direction(int bet) {
    return ALL.get(bet).direction;
  }

  private static List<Bet> all() {
    List<Bet> bets = new ArrayList<>();
    for (double shift : new double[] {0.1, 0.2, 0.4, 0.8, 1.6, 3.2}) {
      bets.add(new Bet("location +" + shift, Direction.UP, x -> normalCdf(x - shift)));
      bets.add(new Bet("location -" + shift, Direction.DOWN, x -> normalCdf(x + shift)));
    }
    for (double scale : new double[] {0.5, 0.75, 1.15, 1.35, 2}) {
      Direction direction = scale > 1 ? Direction.WIDER : Direction.NARROWER;
      bets.add(new Bet("scale x" + scale, direction, x -> normalCdf(x / scale)));
    }
    for (double share : new double[] {0.02, 0.05, 0.15}) {
      bets.add(new Bet("upper tail +" + share, Direction.UP, x -> tail(x, share, 1)));
      bets.add(new Bet("lower tail +" + share, Direction.DOWN, x -> tail(x, share, 0)));
    }
    for (double share : new double[] {0.04, 0.12}) {
      bets.add(new Bet("both tails +" + share, Direction.WIDER, x -> tail(x, share, 0.5)));
    }
    bets.add(
        new Bet(
            "two humps",
            Direction.SHAPE,
            x -> 0.5 * (normalCdf((x - 0.8) / 0.6) + normalCdf((x + 0.8) / 0.6))));
    return List.copyOf(bets);
  }

  /** A share of the values sits three standard deviations out, the rest as before. */
  private static double tail(double x, double share, double upperPart) {
    double out = upperPart * normalCdf((x - 3) / 0.5) + (1 - upperPart) * normalCdf((x + 3) / 0.5);
    return (1 - share) * normalCdf(x) + share * out;
  }

  private static double quantile(int bin) {
    double low = -10;
    double high = 10;
    for (int i = 0; i < 60; i++) {
      double middle = (low + high) / 2;
      if (normalCdf(middle) < Bins.upperMass(bin)) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /** Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7. */
  private static double normalCdf(double x) {
    double z = Math.abs(x) / Math.sqrt(2);
    double t = 1 / (1 + 0.3275911 * z);
    double poly =
        t
            * (0.254829592
                + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    double upper = 0.5 * poly * Math.exp(-z * z);
    return x < 0 ? upper : 1 - upper;
  }
}
