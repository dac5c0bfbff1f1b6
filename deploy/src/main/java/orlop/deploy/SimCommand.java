package orlop.deploy;

import java.util.concurrent.Callable;
import orlop.sim.Fault;
import orlop.sim.Options;
import orlop.sim.Pattern;
import orlop.sim.Reduction;
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
    footer = {
      "  ./orlop sim --seed 7 --pods 200 --models 20000 --minutes 30",
      "  ./orlop sim --workload scan --faults crash,etcd --hours 1"
    })
final class SimCommand implements Callable<Integer> {
  @Option(names = "--seed", defaultValue = "1", description = "Default: ${DEFAULT-VALUE}.")
  long seed = 1;

  @Option(names = "--pods", defaultValue = "50", description = "Default: ${DEFAULT-VALUE}.")
  int pods = 50;

  @Option(names = "--models", defaultValue = "2000", description = "Default: ${DEFAULT-VALUE}.")
  int models = 2_000;

  @Option(names = "--hours", description = "Of virtual time under faults, besides --minutes.")
  int hours;

  @Option(
      names = "--minutes",
      description = "Of virtual time under faults. Default: 10, or 0 with --hours.")
  int minutes;

  @Option(
      names = "--workload",
      defaultValue = "mixed",
      paramLabel = "NAME",
      description =
          "mixed, zipf, azure, diurnal, crowd, scan, rollout or churn. Default: ${DEFAULT-VALUE}.")
  String workload = "mixed";

  @Option(
      names = "--tries",
      defaultValue = "60",
      description =
          "Most smaller simulations to try after a failure, to find the smallest that fails; 0 for"
              + " none. Default: ${DEFAULT-VALUE}.")
  int tries = 60;

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
    int total =
        hours == 0 && minutes == 0 ? 10 : Math.addExact(Math.multiplyExact(hours, 60), minutes);
    Options options =
        new Options(seed, pods, models, total, Pattern.parse(workload), Fault.parse(faults));
    var out = spec.commandLine().getOut();
    long beganNs = System.nanoTime();
    out.print(Reduction.run(options, tries));
    Runtime machine = Runtime.getRuntime();
    out.printf(
        "  %-28s %12.1f%n  %-28s %12d%n",
        "seconds of this machine",
        (System.nanoTime() - beganNs) / 1e9,
        "MB of heap in use",
        (machine.totalMemory() - machine.freeMemory()) >> 20);
    out.flush();
    return 0;
  }
}
