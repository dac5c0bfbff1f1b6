package orlop.bench;

import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * One benchmark: measures, prints a table for people as it goes, and gives its figures. Fails with
 * exit status 1 where a figure misses its goal.
 */
abstract class Benchmark implements Callable<Integer> {
  @Option(names = "--json", description = "Print the figures as one JSON object at the end.")
  boolean json;

  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
  private CommandSpec spec;

  /**
   * Measures.
   *
   * @param table for people, line by line
   */
  abstract Figures measure(PrintWriter table) throws Exception;

  @Override
  public final Integer call() throws Exception {
    PrintWriter out = spec.commandLine().getOut();
    Figures figures = measure(out);
    out.print(figures.table());
    if (json) {
      out.println(figures.json());
    }
    out.flush();
    return figures.allMet() ? 0 : 1;
  }
}
