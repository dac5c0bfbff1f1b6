package orlop.sim;

import java.util.Set;

/**
 * One simulation; equal options give equal histories.
 *
 * @param seed of all randomness
 * @param pods in the mesh
 * @param models registered at the start, about twice what the pods can hold
 * @param minutes of virtual time under faults; five more follow in which the mesh must settle
 * @param faults that may happen
 */
public record Options(long seed, int pods, int models, int minutes, Set<Fault> faults) {

  public Options {
    between("pods", pods, 1, 10_000);
    between("models", models, 1, 1_000_000);
    between("minutes", minutes, 1, 10_000);
    faults = Set.copyOf(faults);
  }

  /** The command that runs the same simulation again. */
  public String command() {
    String words = faults.size() == Fault.values().length ? "all" : Fault.words(faults);
    return "./orlop sim --seed %d --pods %d --models %d --minutes %d --faults %s"
        .formatted(seed, pods, models, minutes, words);
  }

  private static void between(String key, int value, int least, int most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "simulation: %s is %d, must be %d to %d".formatted(key, value, least, most));
    }
  }
}
