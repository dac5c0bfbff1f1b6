package orlop.bench;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/**
 * {@code orlop bench}: the root of the benchmarks. Each is a command of its own that extends {@link
 * Benchmark} and stands in {@link #commandLine}'s list.
 */
@Command(
    name = "bench",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Measure what the mesh costs and gains.",
      "Each benchmark prints its table; with --json its last line is one JSON object."
    },
    commandListHeading = "%nBenchmarks:%n",
    footer = {
      "  jmh [PATTERN]  Microbenchmarks of splicing, routing, codec and pins (from a checkout;",
      "                 further arguments are JMH's)."
    })
public final class BenchCommand implements Runnable {
  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
  private CommandSpec spec;

  /** The command with all benchmarks. */
  public static CommandLine commandLine() {
    return new CommandLine(new BenchCommand())
        .addSubcommand(new BatchBench())
        .addSubcommand(new ChurnBench())
        .addSubcommand(new DensityBench())
        .addSubcommand(new IsolationBench())
        .addSubcommand(new PlacementBench())
        .addSubcommand(new PlannerBench())
        .addSubcommand(new PolicyBench())
        .addSubcommand(new RecoveryBench())
        .addSubcommand(new RegisterBench())
        .addSubcommand(new RegistryBench())
        .addSubcommand(new RouteBench())
        .addSubcommand(new ServeBench())
        .addSubcommand(new WarmupBench());
  }

  /** Called alone it teaches. */
  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }
}
