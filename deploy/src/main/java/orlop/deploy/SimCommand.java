package orlop.deploy;

import java.util.concurrent.Callable;
import orlop.sim.Fault;
import orlop.sim.Options;
import orlop.sim.Simulation;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code orlop sim}: the production core in virtual time, with faults and invariants. */
@Command(
    name = "sim",
    mixinStandardHelpOptions = true,
    description = {
      "Run the mesh's decisions in virtual time under faults and check what must always hold.",
      "Equal options give equal histories; a violation prints the command that repeats it."
    },
    footerHeading = "%nExample:%n",
    footer = "  ./orlop sim --seed 7 --pods 200 --models 20000 --minutes 30")
final class SimCommand implements Callable<Integer> {
  @Option(names = "--seed", defaultValue = "1", description = "Default: ${DEFAULT-VALUE}.")
  long seed = 1;

  @Option(names = "--pods", defaultValue = "50", description = "Default: ${DEFAULT-VALUE}.")
  int pods = 50;

  @Option(names = "--models", defaultValue = "2000", description = "Default: ${DEFAULT-VALUE}.")
  int models = 2_000;

  @Option(
      names = "--minutes",
      defaultValue = "10",
      description = "Of virtual time under faults. Default: ${DEFAULT-VALUE}.")
  int minutes = 10;

  @Option(
      names = "--faults",
      defaultValue = "all",
      paramLabel = "NAMES",
      description = "all, none, or names separated by commas. Default: ${DEFAULT-VALUE}.")
  String faults = "all";

  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
  private CommandSpec spec;

  @Override
  public Integer call() {
    var out = spec.commandLine().getOut();
    out.println(Simulation.run(new Options(seed, pods, models, minutes, Fault.parse(faults))));
    out.flush();
    return 0;
  }
}
