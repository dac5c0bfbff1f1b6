package orlop.sim;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Makes a failing simulation small: whoever looks for the cause wants few pods, few models, one
 * fault. Greedy, in the manner of delta debugging (Zeller and Hildebrandt 2002): takes the first
 * simpler simulation that breaks the same promise, until none does or the tries are used up.
 */
public final class Reduction {
  private Reduction() {}

  /**
   * Runs a simulation; when it fails, the violation thrown is that of the smallest one found.
   *
   * @param tries most further simulations, none of them larger than the first
   * @throws Violation when the mesh breaks a promise
   */
  public static Report run(Options options, int tries) {
    try {
      return Simulation.run(options);
    } catch (Violation violation) {
      throw reduce(options, violation, tries);
    }
  }

  private static Violation reduce(Options options, Violation first, int tries) {
    Options smallest = options;
    Violation violation = first;
    Set<Options> seen = new HashSet<>();
    int left = tries;
    for (boolean smaller = true; smaller; ) {
      smaller = false;
      for (Options candidate : simpler(smallest)) {
        if (left == 0) {
          break;
        }
        if (!seen.add(candidate)) {
          continue;
        }
        left--;
        Violation other = violationOf(candidate);
        if (other != null && other.promise().equals(first.promise())) {
          smallest = candidate;
          violation = other;
          smaller = true;
          break;
        }
      }
    }
    return smallest.equals(options) ? violation : new Violation(violation, options.command());
  }

  private static @Nullable Violation violationOf(Options options) {
    try {
      Simulation.run(options);
      return null;
    } catch (Violation violation) {
      return violation;
    }
  }

  /** The steepest first. */
  private static List<Options> simpler(Options now) {
    List<Options> all = new ArrayList<>();
    if (now.faults().size() > 1) {
      add(all, now, now.pods(), now.models(), now.minutes(), now.workload(), Set.of());
    }
    for (int part : new int[] {4, 2}) {
      int pods = Math.max(1, now.pods() / part);
      int models = Math.max(3, now.models() / part);
      add(all, now, pods, models, now.minutes(), now.workload(), now.faults());
      add(all, now, now.pods(), models, now.minutes(), now.workload(), now.faults());
      int minutes = Math.max(1, now.minutes() / part);
      add(all, now, now.pods(), now.models(), minutes, now.workload(), now.faults());
    }
    add(all, now, now.pods(), now.models(), now.minutes(), Pattern.ZIPF, now.faults());
    now.faults().stream()
        .sorted()
        .forEach(
            fault -> {
              Set<Fault> fewer = new HashSet<>(now.faults());
              fewer.remove(fault);
              add(all, now, now.pods(), now.models(), now.minutes(), now.workload(), fewer);
            });
    int fewerPods = Math.max(1, now.pods() - 1);
    add(all, now, fewerPods, now.models(), now.minutes(), now.workload(), now.faults());
    return all;
  }

  private static void add(
      List<Options> all,
      Options now,
      int pods,
      int models,
      int minutes,
      Pattern workload,
      Set<Fault> faults) {
    Options next = new Options(now.seed(), pods, models, minutes, workload, faults);
    if (!next.equals(now)) {
      all.add(next);
    }
  }
}
