package orlop.deploy;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.function.Supplier;
import orlop.bench.BenchCommand;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/**
 * The root of the command line.
 *
 * <p>A command is a class that implements {@code Callable<Integer>}, carries {@code @Command} and
 * stands in {@link #COMMANDS}. What it returns is the exit status. To fail it throws {@link
 * CommandException}; any other exception is a bug or a foreign error and is shown the same way: one
 * line, and the stack trace only with {@code --verbose}.
 *
 * <p>Exit status: 0 done, 1 failed, 2 called wrongly. On Ctrl-C the Java machine runs the shutdown
 * hooks, see {@link Teardown}.
 */
@Command(
    name = "orlop",
    description = {
      "Many models, few pods: a mesh that serves more models than its memory holds.",
      "It loads a model when a call asks for it and evicts what is worth least."
    },
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    sortOptions = false,
    synopsisHeading = "%nUsage: ",
    commandListHeading = "%nCommands:%n",
    optionListHeading = "%nOptions:%n",
    footerHeading = "%nExamples:%n",
    footer = {
      "  ./orlop demo --once        watch the whole system work on real data, then end",
      "  ./orlop test --quick       build with every check and run the quick tests",
      "  ./orlop help COMMAND       what a command does and which options it takes",
      "  source <(./orlop completion)   let the shell complete commands and options"
    })
final class Main implements Runnable {
  @Option(
      names = {"-v", "--verbose"},
      scope = ScopeType.INHERIT,
      description = "Log what happens, and show stack traces of errors.")
  boolean verbose;

  @Spec
  @SuppressWarnings("NullAway.Init") // set by picocli before anything is called
  private CommandSpec spec;

  /** The root called alone teaches. */
  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  /** Name to command, in the order of the help. */
  private static final Map<String, Supplier<Object>> COMMANDS = commands();

  private static Map<String, Supplier<Object>> commands() {
    Map<String, Supplier<Object>> commands = new LinkedHashMap<>();
    commands.put("demo", DemoCommand::new);
    commands.put("dev", DevCommand::new);
    commands.put("register", ClientCommands.Register::new);
    commands.put("unregister", ClientCommands.Unregister::new);
    commands.put("alias", ClientCommands.AliasCommand::new);
    commands.put("status", ClientCommands.StatusCommand::new);
    commands.put("infer", ClientCommands.Infer::new);
    commands.put("pod", RoleCommands.PodCommand::new);
    commands.put("controller", RoleCommands.ControllerCommand::new);
    commands.put("bridge", RoleCommands.BridgeCommand::new);
    commands.put("drift", RoleCommands.DriftCommand::new);
    commands.put("import", ImportCommand::new);
    commands.put("sim", SimCommand::new);
    commands.put("bench", BenchCommand::commandLine);
    commands.put("test", TestCommand::new);
    commands.put("warm", WarmCommand::new);
    return commands;
  }

  /**
   * The command line with all commands; a fresh one for each call, as picocli's keep parse state.
   */
  static CommandLine commandLine() {
    var line = new CommandLine(new Main());
    COMMANDS.forEach((name, command) -> line.addSubcommand(name, command.get()));
    line.addSubcommand(new CompletionCommand()).addSubcommand(new CommandLine.HelpCommand());
    return answering(line);
  }

  /**
   * A command line that understands these words: when they begin with a command's name, with that
   * command alone, since reading the descriptions of all takes a third of a second.
   */
  static CommandLine commandLineFor(String... args) {
    Supplier<Object> only = args.length == 0 ? null : COMMANDS.get(args[0]);
    return only == null
        ? commandLine()
        : answering(new CommandLine(new Main()).addSubcommand(args[0], only.get()));
  }

  private static CommandLine answering(CommandLine line) {
    line.setParameterExceptionHandler(Main::refuse);
    line.setExecutionExceptionHandler(
        (error, command, parsed) -> {
          var err = command.getErr();
          err.println(ErrorLine.of(error));
          if (isVerbose(parsed)) {
            error.printStackTrace(err);
          }
          err.flush();
          return CommandLine.ExitCode.SOFTWARE;
        });
    return line;
  }

  /** {@code --verbose} is one value for the whole line, wherever on it the flag stands. */
  private static boolean isVerbose(CommandLine.ParseResult parsed) {
    return parsed.commandSpec().root().userObject() instanceof Main main && main.verbose;
  }

  private static int refuse(ParameterException error, String[] args) {
    var command = error.getCommandLine();
    var err = command.getErr();
    err.println("error: " + ErrorLine.flat(error.getMessage()));
    if (!CommandLine.UnmatchedArgumentException.printSuggestions(error, err)) {
      err.println("try: ./orlop " + helpPath(command.getCommandSpec().qualifiedName()) + "--help");
    }
    err.flush();
    return CommandLine.ExitCode.USAGE;
  }

  private static String helpPath(String qualifiedName) {
    int space = qualifiedName.indexOf(' ');
    return space < 0 ? "" : qualifiedName.substring(space + 1) + " ";
  }

  public static void main(String[] args) {
    Logging.start(Arrays.asList(args).contains("--verbose") || Arrays.asList(args).contains("-v"));
    System.exit(commandLineFor(args).execute(args));
  }

  /** The version that Maven wrote into {@code version.properties}. */
  static final class Version implements IVersionProvider {
    static String number() {
      var properties = new Properties();
      try (InputStream in = Main.class.getResourceAsStream("version.properties")) {
        if (in != null) {
          properties.load(in);
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      return properties.getProperty("version", "unknown");
    }

    @Override
    public String[] getVersion() {
      return new String[] {
        "orlop " + number(),
        "Java "
            + Runtime.version()
            + ", "
            + System.getProperty("os.name")
            + " "
            + System.getProperty("os.arch")
      };
    }
  }
}
