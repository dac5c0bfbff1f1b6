package orlop.sim;

import java.util.EnumSet;
import java.util.function.LongFunction;

/** Runs small simulations inside the class loader of one mutant. */
final class MutantRun implements LongFunction<String> {
  private static final int PODS = 12;
  private static final int MODELS = 300;
  private static final int TRIES = 25;

  private static Options options(long seed) {
    Pattern[] all = Pattern.values();
    return new Options(
        seed, PODS, MODELS, 1, all[(int) (seed % all.length)], EnumSet.allOf(Fault.class));
  }

  /** What went wrong with this seed; empty when nothing did. A negative seed is reduced, too. */
  @Override
  public String apply(long seed) {
    try {
      if (seed < 0) {
        Reduction.run(options(-seed), TRIES);
      } else {
        Simulation.run(options(seed));
      }
      return "";
    } catch (Violation violation) {
      return String.valueOf(violation.getMessage());
    } catch (IllegalArgumentException | IllegalStateException broken) {
      return "the core itself noticed: " + broken.getMessage();
    }
  }
}
