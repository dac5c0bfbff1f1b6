package orlop.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;

/**
 * A serving pod in a Java machine of its own, started from this one's class path. It ends with this
 * process however that ends: it reads its standard input and stops when nobody holds the other end.
 */
final class PodProcess implements AutoCloseable {
  /** For a life of minutes: the optimising compiler would take half of a small machine. */
  static final List<String> BRIEF = List.of("-XX:TieredStopAtLevel=1", "-Xmx256m");

  /** What the launcher gives, too. */
  private static final List<String> FLAGS =
      List.of(
          "--enable-native-access=ALL-UNNAMED",
          "--sun-misc-unsafe-memory-access=allow",
          "-XX:+UseSerialGC",
          "-XX:+ExitOnOutOfMemoryError");

  private static final int START_TIMEOUT_S = 60;
  private static final int STOP_TIMEOUT_S = 15;

  private final Process process;
  private final Announcement announced;

  /**
   * What a pod prints as the first line of its standard output when it is ready.
   *
   * @param grpc {@code host:port}; likewise the others
   */
  record Announcement(String id, String grpc, String rest, String metrics) {
    String json() {
      return "{\"id\":\"%s\",\"grpc\":\"%s\",\"rest\":\"%s\",\"metrics\":\"%s\"}"
          .formatted(id, grpc, rest, metrics);
    }

    static Announcement parse(String line) throws IOException {
      JsonNode node = new ObjectMapper().readTree(line);
      return new Announcement(
          node.path("id").asText(),
          node.path("grpc").asText(),
          node.path("rest").asText(),
          node.path("metrics").asText());
    }
  }

  private PodProcess(Process process, Announcement announced) {
    this.process = process;
    this.announced = announced;
  }

  /**
   * Returns when the pod is ready.
   *
   * @param dir for its configuration and its log, {@code <name>.yaml} and {@code <name>.log}
   * @param options of its Java machine
   * @throws IOException with the last line of its log when it does not become ready
   */
  static PodProcess start(Path dir, String name, Settings settings, List<String> options)
      throws IOException {
    Path config = Files.writeString(dir.resolve(name + ".yaml"), settings.yaml());
    Path log = dir.resolve(name + ".log");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(FLAGS);
    command.addAll(options);
    command.addAll(
        List.of(Main.class.getName(), "pod", "--config", config.toString(), "--announce"));
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.appendTo(log.toFile()));
    // Not on the command line, where it would hide everything else from a person who looks.
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    Process process = builder.start();
    try {
      return new PodProcess(process, announcement(process));
    } catch (IOException | ExecutionException | TimeoutException e) {
      process.destroyForcibly();
      throw new IOException("pod " + name + " did not start: " + lastLine(log), e);
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while pod " + name + " started", e);
    }
  }

  private static Announcement announcement(Process process)
      throws IOException, InterruptedException, ExecutionException, TimeoutException {
    BufferedReader out =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    CompletableFuture<String> first = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(
            () -> {
              try {
                // The Java machine may have something to say first; all is drained, so that the
                // pod never blocks on a full pipe.
                for (String line = out.readLine(); line != null; line = out.readLine()) {
                  if (line.startsWith("{")) {
                    first.complete(line);
                  }
                }
                first.complete("");
              } catch (IOException e) {
                first.completeExceptionally(e);
              }
            });
    String line = first.get(START_TIMEOUT_S, TimeUnit.SECONDS);
    if (line.isEmpty()) {
      throw new IOException("it ended before it was ready");
    }
    return Announcement.parse(line);
  }

  private static String lastLine(Path log) {
    try (Stream<String> lines = Files.lines(log)) {
      return lines.filter(l -> !l.isBlank()).reduce("", (a, b) -> b);
    } catch (IOException e) {
      return "see " + log;
    }
  }

  Announcement announced() {
    return announced;
  }

  long pid() {
    return process.pid();
  }

  boolean alive() {
    return process.isAlive();
  }

  /** SIGKILL: no hook runs, nothing is told to anybody. Returns when it is gone. */
  void kill() {
    process.destroyForcibly();
    await(STOP_TIMEOUT_S);
  }

  /** Asks it to stop, and kills it when it does not within {@value #STOP_TIMEOUT_S} s. */
  @Override
  public void close() {
    stop(STOP_TIMEOUT_S);
  }

  /** Asks it to stop, and kills it when it does not within the time. */
  void stop(int timeoutS) {
    process.destroy();
    if (!await(timeoutS)) {
      kill();
    }
  }

  private boolean await(int seconds) {
    try {
      return process.waitFor(seconds, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
      return false;
    }
  }
}
