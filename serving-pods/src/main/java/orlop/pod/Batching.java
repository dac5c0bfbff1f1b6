package orlop.pod;

/**
 * How far requests of one model may run together.
 *
 * @param enabled whether they may at all; default true
 * @param mostRows rows in one run at most, 2 to 4,096; default 64
 * @param latencyMs no run of several requests shall take longer, 1 to 10,000; default 20
 */
public record Batching(boolean enabled, int mostRows, int latencyMs) {
  public Batching {
    within("mostRows", mostRows, 2, 4_096);
    within("latencyMs", latencyMs, 1, 10_000);
  }

  /** The defaults. */
  public static Batching defaults() {
    return new Batching(true, 64, 20);
  }

  private static void within(String key, int value, int least, int most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "pod batch." + key + " is " + value + ", allowed is " + least + " to " + most);
    }
  }
}
