package orlop.sim;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** What the calls of a simulation look like. */
public enum Pattern {
  /** A little of all: Zipf's law, crowds, scans, moving aliases, models that come and go. */
  MIXED(null),
  ZIPF(Traffic.Shape.ZIPF),
  AZURE(Traffic.Shape.AZURE),
  DIURNAL(Traffic.Shape.DIURNAL),
  CROWD(Traffic.Shape.FLASH_CROWD),
  SCAN(Traffic.Shape.SCAN),
  ROLLOUT(Traffic.Shape.ROLL_OUT),
  CHURN(Traffic.Shape.CHURN);

  private final Traffic.@Nullable Shape shape;

  Pattern(Traffic.@Nullable Shape shape) {
    this.shape = shape;
  }

  /** The stream to follow; null for the simulation's own mixture. */
  Traffic.@Nullable Shape shape() {
    return shape;
  }

  /** The name on the command line. */
  public String word() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** The inverse of {@link #word}. */
  public static Pattern parse(String word) {
    for (Pattern pattern : values()) {
      if (pattern.word().equals(word)) {
        return pattern;
      }
    }
    throw new IllegalArgumentException(
        "workload '%s' is unknown, must be one of %s"
            .formatted(
                word,
                Arrays.stream(values()).map(Pattern::word).collect(Collectors.joining(", "))));
  }
}
