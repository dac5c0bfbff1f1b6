package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What goes wrong is one clear line that names the value and the remedy, never a stack trace. */
@Tag("slow")
final class FailureLinesTest {
  private static final int TIMEOUT_S = 90;

  @TempDir Path dir;

  @Test
  void aWrongKeyNamesFileKeyAndTheNearestOne() throws Exception {
    Files.writeString(dir.resolve("mesh.yaml"), "pod:\n  grpcPrt: 8033\n");
    assertOneLine(
        Orlop.run(dir, TIMEOUT_S, "pod", "--config", "mesh.yaml"),
        "mesh.yaml",
        "pod.grpcPrt",
        "grpcPort");
  }

  @Test
  void aValueOutOfBoundsNamesKeyValueAndBounds() throws Exception {
    assertOneLine(
        Orlop.run(dir, TIMEOUT_S, "pod", "--set", "pod.grpcPort=99999"),
        "grpcPort",
        "99999",
        "65535");
  }

  @Test
  void anUnreachableEtcdNamesItsEndpoint() throws Exception {
    String endpoint = "127.0.0.1:" + closedPort();
    assertOneLine(
        Orlop.run(
            dir,
            TIMEOUT_S,
            "pod",
            "--set",
            "registry.kind=etcd",
            "--set",
            "registry.endpoints=['http://" + endpoint + "']"),
        endpoint,
        "etcd");
  }

  @Test
  void anUnreachableBrokerNamesItsAddress() throws Exception {
    String broker = "127.0.0.1:" + closedPort();
    assertOneLine(
        Orlop.run(
            dir,
            TIMEOUT_S,
            "drift",
            "--set",
            "kafka.bootstrapServers='" + broker + "'",
            "--set",
            "drift.startTimeoutMs=2000"),
        broker,
        "bootstrapServers");
  }

  @Test
  void aMeshThatIsNotThereNamesItsAddressAndHowToStartOne() throws Exception {
    String address = "127.0.0.1:" + closedPort();
    assertOneLine(
        Orlop.run(dir, TIMEOUT_S, "status", "m", "--mesh", address), address, "./orlop dev");
  }

  @Test
  void anUnreadableModelAndAnUnreachableStoreAreNamedToTheCaller() throws Exception {
    Files.writeString(dir.resolve("broken.onnx"), "this is no model");
    try (Orlop dev =
        Orlop.start(
            dir,
            "dev",
            "--set",
            "pod.grpcPort=0",
            "--set",
            "pod.restPort=0",
            "--set",
            "pod.probePort=0",
            "--set",
            "pod.metricsPort=0",
            "--set",
            "puller.attempts=1",
            "--set",
            "puller.storages={default_s3: {type: s3, parameters: {endpoint_url: 'http://127.0.0.1:%d', region: x, access_key_id: a, secret_access_key: b}}}"
                .formatted(closedPort()))) {
      String mesh = address(dev);
      assertOneLine(
          Orlop.run(
              dir,
              TIMEOUT_S,
              "register",
              "broken",
              "--path",
              "file:" + dir.resolve("broken.onnx"),
              "--load",
              "--mesh",
              mesh),
          "broken",
          "is not an ONNX model");
      assertOneLine(
          Orlop.run(
              dir, TIMEOUT_S, "register", "far", "--path", "s3://b/m", "--load", "--mesh", mesh),
          "far",
          "s3://b/m",
          "127.0.0.1");
      assertOneLine(
          Orlop.run(dir, TIMEOUT_S, "infer", "nobody", "1,2", "--mesh", mesh),
          "nobody",
          "NOT_FOUND");
    }
  }

  private static String address(Orlop dev) throws Exception {
    long deadlineNs = System.nanoTime() + 60_000_000_000L;
    while (!dev.out().contains("running;")) {
      assertTrue(dev.alive() && System.nanoTime() < deadlineNs, dev.out() + dev.err());
      LockSupport.parkNanos(50_000_000);
    }
    String text = dev.out();
    int at = text.indexOf("gRPC ") + "gRPC ".length();
    return text.substring(at, text.indexOf(' ', at));
  }

  private static void assertOneLine(Orlop run, String... parts) throws Exception {
    assertNotEquals(0, run.status(), run.out());
    String err = run.err();
    assertFalse(err.contains("\tat "), err);
    long errors = err.lines().filter(line -> line.startsWith("error: ")).count();
    assertEquals(1, errors, err);
    for (String part : parts) {
      assertTrue(err.contains(part), "'" + part + "' is missing in: " + err);
    }
  }

  private static int closedPort() throws Exception {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }
}
