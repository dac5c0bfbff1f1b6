package orlop.bridge;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A bridge in a JVM of its own, to be killed: arguments are broker, mesh, stream name, instance.
 */
final class ChildBridge {
  private ChildBridge() {}

  @SuppressWarnings("unused")
  public static void main(String[] arguments) throws Exception {
    String stream = arguments[2];
    StreamConfig config = config(stream);
    MeshClient mesh = MeshClient.connect(List.of(arguments[1]));
    try (BridgeServer bridge =
        BridgeServer.start(
            new BridgeConfig(
                arguments[0], "", arguments[3], List.of(arguments[1]), 5_000, Map.of()),
            config,
            mesh)) {
      // Ends with its parent, whose pipe then closes, or by force.
      while (System.in.read() >= 0) {
        continue;
      }
    } finally {
      mesh.close();
    }
  }

  static StreamConfig config(String name) {
    return new StreamConfig(
        name,
        name + ".in",
        name + ".out",
        name + ".dead",
        "",
        "doubler",
        "",
        "",
        "",
        "",
        64,
        0,
        0,
        50,
        new StreamConfig.Window(0, 0),
        new StreamConfig.Retry(0, 20, 200, 0));
  }

  static Process start(String broker, String mesh, String stream, String instance) {
    try {
      return new ProcessBuilder(
              System.getProperty("java.home") + "/bin/java",
              "-Xmx256m",
              "-XX:+UseSerialGC",
              "-XX:TieredStopAtLevel=1",
              "-cp",
              System.getProperty("java.class.path"),
              ChildBridge.class.getName(),
              broker,
              mesh,
              stream,
              instance)
          .redirectOutput(ProcessBuilder.Redirect.INHERIT)
          .redirectError(ProcessBuilder.Redirect.INHERIT)
          .start();
    } catch (java.io.IOException e) {
      throw new IllegalStateException("no child JVM", e);
    }
  }

  static void kill(@Nullable Process process) {
    if (process != null) {
      process.destroyForcibly();
      process.onExit().join();
    }
  }
}
