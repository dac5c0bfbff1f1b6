package orlop.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A part of a benchmark in a Java machine of its own, started from this one's class path. It ends
 * with this process however that ends, because it then loses its standard input.
 */
final class BenchProcess implements AutoCloseable {
  private static final String MARK = "announced ";

  private final Process process;
  private final BufferedReader out;
  private final String announced;

  /** In the child: the answer to a question. */
  interface Answers {
    String answer(String question) throws Exception;
  }

  private BenchProcess(Process process, BufferedReader out, String announced) {
    this.process = process;
    this.out = out;
    this.announced = announced;
  }

  /** Returns when it has announced itself. */
  static BenchProcess start(Class<?> main, List<String> jvmOptions, String... args)
      throws IOException {
    return start(List.of(), main, jvmOptions, args);
  }

  /**
   * As the other, for a process that stands for machines elsewhere: it leaves the processors to the
   * others where they want them.
   */
  static BenchProcess startNice(Class<?> main, List<String> jvmOptions, String... args)
      throws IOException {
    return start(List.of("nice", "-n", "10"), main, jvmOptions, args);
  }

  private static BenchProcess start(
      List<String> before, Class<?> main, List<String> jvmOptions, String... args)
      throws IOException {
    List<String> command = new ArrayList<>(before);
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-XX:+UseSerialGC"));
    command.addAll(jvmOptions);
    command.add(main.getName());
    command.addAll(List.of(args));
    Path log = Files.createTempFile("orlop-bench-" + main.getSimpleName() + "-", ".log");
    log.toFile().deleteOnExit();
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.to(log.toFile()));
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    Process process = builder.start();
    BufferedReader out =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    String ready = said(out);
    if (ready != null) {
      return new BenchProcess(process, out, ready);
    }
    process.destroyForcibly();
    throw new IOException(
        main.getName()
            + " ended before it was ready: "
            + Files.readString(log).lines().findFirst());
  }

  /** What the child announces next; null when it has ended. */
  private static @Nullable String said(BufferedReader out) throws IOException {
    for (String line = out.readLine(); line != null; line = out.readLine()) {
      if (line.startsWith(MARK)) {
        return line.substring(MARK.length());
      }
    }
    return null;
  }

  /** Asks a child that {@link #answer}s; one question at a time. */
  String ask(String question) throws IOException {
    process.getOutputStream().write((question + "\n").getBytes(StandardCharsets.UTF_8));
    process.getOutputStream().flush();
    String answer = said(out);
    if (answer == null) {
      throw new IOException("the process ended before it answered '" + question + "'");
    }
    return answer;
  }

  String announced() {
    return announced;
  }

  /** Microseconds of processor time it has used so far, to the nearest ten thousand. */
  long cpuMicros() {
    return process.info().totalCpuDuration().map(d -> d.toNanos() / 1_000).orElse(0L);
  }

  /** SIGKILL: nothing is told to anybody. Returns when it is gone. */
  void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** SIGTERM and nothing else: its standard input stays open. Returns at once. */
  void terminate() {
    process.toHandle().destroy();
  }

  /** Whether it has ended, waited for at most so long. */
  boolean ended(long timeoutMs) throws InterruptedException {
    return process.waitFor(timeoutMs, TimeUnit.MILLISECONDS);
  }

  /** Resident size, in bytes, as Linux counts it. */
  long rssBytes() throws IOException {
    Path status = Path.of("/proc", Long.toString(process.pid()), "status");
    for (String line : Files.readAllLines(status)) {
      if (line.startsWith("VmRSS:")) {
        return 1_024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
      }
    }
    throw new IOException(status + " has no VmRSS; expected a Linux machine");
  }

  /** In the child: tells the parent that it is ready. */
  static void announce(String text) {
    System.out.println(MARK + text);
    System.out.flush();
  }

  /** In the child: answers, line by line, until the parent has gone or wants it to end. */
  static void answer(Answers answers) throws Exception {
    BufferedReader questions =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = questions.readLine(); line != null; line = questions.readLine()) {
      announce(answers.answer(line));
    }
  }

  /** In the child: returns when the parent has gone or wants it to end. */
  static void awaitEnd() throws IOException {
    while (System.in.read() >= 0) {
      // Nothing is ever said.
    }
  }

  @Override
  public void close() {
    try {
      process.getOutputStream().close();
      if (!process.waitFor(5, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      process.destroyForcibly();
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
