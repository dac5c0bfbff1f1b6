package orlop.sim;

import java.util.Set;

/**
 * One simulation; equal options give equal histories.
 *
 * @param seed of all randomness
 * @param pods in the mesh
 * @param models registered at the start, about twice what the pods can hold; at least 3
 * @param minutes of virtual time under faults; seven more follow in which the mesh must settle
 * @param workload what the calls look like
 * @param faults that may happen
 */
public record Options(
    long seed, int pods, int models, int minutes, Pattern workload, Set<Fault> faults) {

  public Options {
    between("pods", pods, 1, 10_000);
    between("models", models, 3, 1_000_000);
    between("minutes", minutes, 1, 10_000);
    faults = Set.copyOf(faults);
  }

  /** With a mixed workload. */
  public Options(long seed, int pods, int models, int minutes, Set<Fault> faults) {
    this(seed, pods, models, minutes, Pattern.MIXED, faults);
  }

  /** The command that runs the same simulation again. */
  public String command() {
    String words = faults.size() == Fault.values().length ? "all" : Fault.words(faults);
    return "./orlop sim --seed %d --pods %d --models %d --minutes %d --workload %s --faults %s"
        .formatted(seed, pods, models, minutes, workload.word(), words);
  }

  private static void between(String key, int value, int least, int most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "simulation: %s is %d, must be %d to %d".formatted(key, value, least, most));
    }
  }
}
