package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;
import picocli.CommandLine.Command;

/**
 * Goal: whatever goes wrong, a person reads one line. Method: the command line without a process.
 */
class MainTest {
  private record Called(int status, String out, String err) {}

  private static Called call(String... args) {
    var out = new StringWriter();
    var err = new StringWriter();
    int status =
        Main.commandLine()
            .addSubcommand(new Failing())
            .setOut(new PrintWriter(out))
            .setErr(new PrintWriter(err))
            .execute(args);
    return new Called(status, out.toString(), err.toString());
  }

  @Command(name = "fail")
  static final class Failing implements Callable<Integer> {
    @Override
    public Integer call() {
      throw new CommandException(
          "etcd at 127.0.0.1:1 does not answer",
          "start it or give --etcd",
          new IOException("refused"));
    }
  }

  @Test
  void aCommandAskedForByNameIsTheSameAloneAndAmongAll() {
    var all = Main.commandLine().getSubcommands();
    all.forEach((name, command) -> assertEquals(name, command.getCommandName()));
    for (String name : new String[] {"pod", "bench", "status", "warm"}) {
      var alone = Main.commandLineFor(name, "--help").getSubcommands();
      assertEquals(Set.of(name), alone.keySet());
      assertEquals(
          Objects.requireNonNull(all.get(name)).getUsageMessage(),
          Objects.requireNonNull(alone.get(name)).getUsageMessage());
    }
    assertEquals(all.keySet(), Main.commandLineFor("stauts").getSubcommands().keySet());
    assertEquals(all.keySet(), Main.commandLineFor("completion").getSubcommands().keySet());
    assertEquals(all.keySet(), Main.commandLineFor().getSubcommands().keySet());
  }

  @Test
  void calledAloneItTeaches() {
    var called = call();
    assertEquals(0, called.status());
    for (String word :
        new String[] {"demo --once", "test", "completion", "--verbose", "Examples"}) {
      assertTrue(called.out().contains(word), word + " is not in: " + called.out());
    }
  }

  @Test
  void aFailureIsOneLineAndNoStackTrace() {
    var called = call("fail");
    assertEquals(1, called.status());
    assertEquals(
        "error: etcd at 127.0.0.1:1 does not answer; start it or give --etcd",
        called.err().strip());
  }

  @Test
  void verboseAddsTheStackTraceWhereverItStands() {
    for (var called : new Called[] {call("fail", "--verbose"), call("-v", "fail")}) {
      assertTrue(called.err().contains("at orlop.deploy.MainTest"), called.err());
      assertTrue(called.err().contains("Caused by: java.io.IOException: refused"), called.err());
      assertEquals(1, called.status());
    }
  }

  @Test
  void aWrongArgumentIsNamedAndSomethingCloseIsSuggested() {
    var option = call("completion", "--frob");
    assertEquals(2, option.status());
    assertTrue(option.err().contains("'--frob'"), option.err());
    var command = call("complet");
    assertEquals(2, command.status());
    assertTrue(command.err().contains("completion"), command.err());
  }

  @Test
  void printsItsVersion() {
    var called = call("--version");
    assertEquals(0, called.status());
    assertTrue(called.out().matches("(?s)orlop \\d+\\.\\d+.*"), called.out());
  }

  @Test
  void completionNamesEveryCommand() {
    var called = call("completion");
    assertEquals(0, called.status());
    assertTrue(called.out().contains("complete -F _complete_orlop"), called.out());
    for (String name : Main.commandLine().getSubcommands().keySet()) {
      assertTrue(called.out().contains(name), name);
    }
  }

  @Test
  void anErrorLineTellsTheCausesOnce() {
    var cause = new IOException("connection refused");
    assertEquals(
        "error: cannot read models.yaml: IOException: connection refused",
        ErrorLine.of(
            new IllegalStateException("cannot read models.yaml", new RuntimeException(cause))));
    assertFalse(ErrorLine.of(new IllegalStateException("two\nlines here")).contains("\n"));
  }
}
