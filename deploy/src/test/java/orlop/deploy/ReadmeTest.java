package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Goal: whoever types the README's commands gets what it says. Method: its {@code sh} blocks are
 * run by a shell in a folder where {@code ./orlop} is the launcher. What stands after {@code run:
 * dev} runs on in the background, what stands after {@code run} must succeed. The only changes are
 * the ports: 8033 and 8008 become free ones, {@code ./orlop dev} is told so by {@code --set}, and
 * the client commands by {@code --mesh}.
 */
@Tag("slow")
class ReadmeTest {
  private static final Path README = Path.of("..", "README.md");
  private static final Pattern BLOCK =
      Pattern.compile("(?:<!-- (run(?:: dev)?) -->\n)?```sh\n(.*?)```\n", Pattern.DOTALL);
  private static final int TIMEOUT_S = 120;

  @TempDir Path dir;

  private record Block(String mark, String text) {}

  private static List<Block> blocks() throws IOException {
    List<Block> blocks = new ArrayList<>();
    Matcher block = BLOCK.matcher(Files.readString(README));
    while (block.find()) {
      blocks.add(new Block(block.group(1) == null ? "" : block.group(1), block.group(2)));
    }
    return blocks;
  }

  @Test
  void itsTwoCommandsStandAloneAndEveryOtherBlockIsRun() throws IOException {
    List<Block> alone = blocks().stream().filter(b -> b.mark.isEmpty()).toList();
    assertEquals(1, alone.size(), "an sh block without a mark is not run by anything: " + alone);
    assertEquals(
        List.of("./orlop demo --once", "./orlop test --quick"),
        alone.getFirst().text.lines().toList());
    assertEquals(1, blocks().stream().filter(b -> b.mark.equals("run: dev")).count());
    assertTrue(blocks().stream().filter(b -> b.mark.equals("run")).count() >= 3);
    assertTrue(Files.readAllLines(README).size() <= 120, "the README is to stay short");
  }

  @Test
  void everyCommandItShowsDoesWhatItSays() throws Exception {
    Files.createSymbolicLink(dir.resolve("orlop"), Path.of("..", "orlop").toRealPath());
    DemoModels.prepare(dir.resolve(".orlop/demo"), line -> {});
    int grpcPort = freePort();
    int restPort = freePort();
    List<Block> blocks = blocks();
    Block dev = blocks.stream().filter(b -> b.mark.equals("run: dev")).findFirst().orElseThrow();
    String start =
        "exec %s --set pod.grpcPort=%d --set pod.restPort=%d --set pod.probePort=0 --set pod.metricsPort=0"
            .formatted(dev.text.strip(), grpcPort, restPort);
    Process mesh = shell(start, "dev");
    try {
      await(mesh);
      StringBuilder said = new StringBuilder();
      for (Block block : blocks) {
        if (block.mark.equals("run")) {
          said.append(run(ported(block.text, grpcPort, restPort)));
        }
      }
      for (String promised :
          List.of(
              "model iris-all-bag00: NOT_LOADED",
              "output FP32[2, 3]: ",
              "model iris-all-bag00: LOADED",
              "serves iris-2: LOADED",
              "output FP32[1, 3]: ",
              "\"platform\":\"onnxruntime_onnx\"",
              "\"shape\":[1,3],\"data\":[")) {
        assertTrue(said.indexOf(promised) >= 0, promised + " is missing in:\n" + said);
      }
    } finally {
      end(mesh);
    }
  }

  private static String ported(String text, int grpcPort, int restPort) {
    return text.replaceAll(
            "(?m)^(\\./orlop (?:status|infer|register|alias|unregister)) ",
            "$1 --mesh 127.0.0.1:" + grpcPort + " ")
        .replace("8033", Integer.toString(grpcPort))
        .replace("8008", Integer.toString(restPort));
  }

  private Process shell(String script, String name) throws IOException {
    ProcessBuilder builder =
        new ProcessBuilder("sh", "-e", "-c", script)
            .directory(dir.toFile())
            .redirectOutput(dir.resolve(name + ".out").toFile())
            .redirectError(dir.resolve(name + ".err").toFile());
    builder.environment().put("ORLOP_CLASSPATH", System.getProperty("java.class.path"));
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    return builder.start();
  }

  private String said(String name) throws IOException {
    return Files.readString(dir.resolve(name + ".out"))
        + Files.readString(dir.resolve(name + ".err"));
  }

  private String run(String script) throws Exception {
    Process process = shell(script, "run");
    try {
      assertTrue(process.waitFor(TIMEOUT_S, TimeUnit.SECONDS), script + "\n" + said("run"));
      assertEquals(0, process.exitValue(), script + "\n" + said("run"));
      return said("run") + "\n";
    } finally {
      end(process);
    }
  }

  private void await(Process mesh) throws IOException {
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(TIMEOUT_S);
    while (!said("dev").contains("running;")) {
      assertTrue(mesh.isAlive() && System.nanoTime() < deadlineNs, said("dev"));
      LockSupport.parkNanos(50_000_000);
    }
    assertTrue(said("dev").contains("registered 230 models"), said("dev"));
  }

  private static void end(Process process) throws InterruptedException {
    List<ProcessHandle> children = process.descendants().toList();
    process.destroy();
    if (!process.waitFor(60, TimeUnit.SECONDS)) {
      process.destroyForcibly();
    }
    children.forEach(ProcessHandle::destroyForcibly);
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }
}
