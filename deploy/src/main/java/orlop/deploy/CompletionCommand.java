package orlop.deploy;

import java.util.concurrent.Callable;
import picocli.AutoComplete;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/**
 * {@code orlop completion}: prints the script that teaches bash or zsh the commands and options.
 */
@Command(
    name = "completion",
    description = "Print the completion script for bash and zsh.",
    footerHeading = "%nExamples:%n",
    footer = {
      "  source <(./orlop completion)                        for this shell",
      "  ./orlop completion > ~/.local/share/bash-completion/completions/orlop   for all"
    },
    mixinStandardHelpOptions = true)
final class CompletionCommand implements Callable<Integer> {
  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before call()
  private CommandSpec spec;

  @Override
  public Integer call() {
    var out = spec.commandLine().getOut();
    out.print(AutoComplete.bash("orlop", spec.root().commandLine()));
    out.flush();
    return 0;
  }
}
