package orlop.deploy;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code orlop test}: stands here for help and completion. The launcher answers it before Java
 * starts, because it rebuilds the classes that this process would run from.
 */
@Command(
    name = "test",
    description = "Build with every check and run the tests.",
    mixinStandardHelpOptions = true)
final class TestCommand implements Callable<Integer> {
  @Option(names = "--quick", description = "Leave out the tests that take more than a few seconds.")
  boolean quick;

  @Override
  public Integer call() {
    throw new CommandException(
        "test was not started through the launcher",
        "run ./orlop test" + (quick ? " --quick" : ""));
  }
}
