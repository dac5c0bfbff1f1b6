package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A real {@code ./orlop} over the classes under test, in a folder of its own. */
final class Orlop implements AutoCloseable {
  private final Process process;
  private final Path out;
  private final Path err;

  private Orlop(Process process, Path out, Path err) {
    this.process = process;
    this.out = out;
    this.err = err;
  }

  /** Starts it in {@code dir}, where it also keeps its files. */
  static Orlop start(Path dir, String... args) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of("..", "orlop").toAbsolutePath().normalize().toString());
    command.addAll(List.of(args));
    Path out = Files.createTempFile(dir, "out", ".txt");
    Path err = Files.createTempFile(dir, "err", ".txt");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(dir.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile());
    builder.environment().put("ORLOP_CLASSPATH", System.getProperty("java.class.path"));
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    return new Orlop(builder.start(), out, err);
  }

  /** Runs it to its end. */
  static Orlop run(Path dir, int timeoutSeconds, String... args) throws Exception {
    Orlop orlop = start(dir, args);
    orlop.join(timeoutSeconds);
    return orlop;
  }

  void join(int timeoutSeconds) throws Exception {
    if (!process.waitFor(timeoutSeconds, TimeUnit.SECONDS)) {
      close();
      throw new AssertionError(
          "still running after " + timeoutSeconds + " s\n" + out() + "\n" + err());
    }
  }

  int status() {
    return process.exitValue();
  }

  String out() throws IOException {
    return Files.readString(out);
  }

  String err() throws IOException {
    return Files.readString(err);
  }

  long pid() {
    return process.pid();
  }

  boolean alive() {
    return process.isAlive();
  }

  /** The processes that it has started and those have started. */
  List<ProcessHandle> descendants() {
    return process.descendants().toList();
  }

  /**
   * What Ctrl-C sends; or SIGTERM where this test runs in the background of a shell, which makes
   * all that it starts ignore Ctrl-C. Both end the process by way of its shutdown hooks.
   */
  void interrupt() throws Exception {
    String signal = ignoresInterrupts() ? "-TERM" : "-INT";
    assertTrue(
        new ProcessBuilder("kill", signal, Long.toString(process.pid())).start().waitFor() == 0);
  }

  private boolean ignoresInterrupts() throws IOException {
    Path status = Path.of("/proc", Long.toString(process.pid()), "status");
    if (!Files.exists(status)) {
      return false;
    }
    return Files.readAllLines(status).stream()
        .filter(line -> line.startsWith("SigIgn:"))
        .anyMatch(line -> (Long.parseUnsignedLong(line.substring(7).strip(), 16) & 2) != 0);
  }

  @Override
  public void close() {
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
  }
}
