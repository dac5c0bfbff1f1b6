package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import mmesh.GetStatusRequest;
import mmesh.GetVModelStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.registry.EtcdProcess;

/**
 * {@code deploy/bin/orlop-pod} as a harness of ModelMesh starts it: environment only, then gRPC.
 */
@Tag("slow")
final class OrlopPodTest {
  private static final int READY_SECONDS = 120;

  @TempDir Path dir;

  @Test
  void servesWhatItsEnvironmentSaysAndEndsOnSigterm() throws Exception {
    try (EtcdProcess etcd = EtcdProcess.start(dir.resolve("etcd"))) {
      int port = freePort();
      Process pod =
          start(
              Map.of(
                  "KV_STORE",
                  "etcd:" + etcd.endpoint(),
                  "MM_KVSTORE_PREFIX",
                  "mm",
                  "MM_SERVICE_NAME",
                  "test",
                  "MM_SVC_GRPC_PORT",
                  String.valueOf(port),
                  "MAX_GC_PAUSE",
                  "50",
                  "MM_PROBE_PORT",
                  String.valueOf(freePort()),
                  "MM_METRICS",
                  "prometheus:port=" + freePort() + ";scheme=http",
                  "MM_AUTO_REGISTER_MODELS",
                  "[{\"modelId\":\"static\",\"modelInfo\":{\"type\":\"onnx\",\"path\":\"p\"},"
                      + "\"vModelId\":\"alias\"}]",
                  "SHUTDOWN_TIMEOUT_MS",
                  "1000"));
      try (MeshClient mesh = new MeshClient("127.0.0.1:" + port, 30)) {
        awaitRegistered(pod, mesh, "static");
        assertEquals(
            "static",
            mesh.management()
                .getVModelStatus(GetVModelStatusRequest.newBuilder().setVModelId("alias").build())
                .getActiveModelId());
        var unused =
            mesh.management()
                .registerModel(
                    RegisterModelRequest.newBuilder()
                        .setModelId("m")
                        .setModelInfo(ModelInfo.newBuilder().setType("onnx").setPath("p"))
                        .build());
        assertEquals(ModelStatusInfo.ModelStatus.NOT_LOADED, status(mesh, "m"));
        String err = Files.readString(dir.resolve("err"));
        assertTrue(err.contains("MAX_GC_PAUSE=50 changes nothing here"), err);
        pod.destroy();
        assertTrue(pod.waitFor(READY_SECONDS, TimeUnit.SECONDS), "still runs after SIGTERM");
      } finally {
        pod.destroyForcibly();
      }
    }
  }

  @Test
  void endsWithOneLineWhenThereIsNoEtcd() throws Exception {
    Process pod = start(Map.of("KV_STORE", "etcd:http://127.0.0.1:" + freePort()));
    try {
      assertTrue(pod.waitFor(READY_SECONDS, TimeUnit.SECONDS), "still runs without etcd");
      assertEquals(1, pod.exitValue());
      assertTrue(Files.readString(dir.resolve("err")).contains("error: no etcd at"));
    } finally {
      pod.destroyForcibly();
    }
  }

  @Test
  void endsWithOneLineWhenTheRuntimeBesideItIsNotThere() throws Exception {
    try (EtcdProcess etcd = EtcdProcess.start(dir.resolve("etcd"))) {
      int nobody = freePort();
      Process pod =
          start(
              Map.of(
                  "KV_STORE",
                  "etcd:" + etcd.endpoint(),
                  "INTERNAL_GRPC_PORT",
                  String.valueOf(nobody)),
              "--set",
              "sidecar.readyTimeoutMs=500");
      try {
        assertTrue(pod.waitFor(READY_SECONDS, TimeUnit.SECONDS), "still runs without a runtime");
        assertEquals(1, pod.exitValue());
        String err = Files.readString(dir.resolve("err"));
        assertTrue(
            err.contains(
                "error: the runtime at 127.0.0.1:" + nobody + " was not ready within 500 ms"),
            err);
      } finally {
        pod.destroyForcibly();
      }
    }
  }

  private Process start(Map<String, String> environment, String... more) throws IOException {
    Path script = Path.of("bin", "orlop-pod").toAbsolutePath();
    List<String> command =
        new ArrayList<>(
            List.of(
                script.toString(),
                "--set",
                "pod.restPort=0",
                "--set",
                "puller.cacheDirectory=" + dir.resolve("cache")));
    command.addAll(List.of(more));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(dir.toFile())
            .redirectOutput(dir.resolve("out").toFile())
            .redirectError(dir.resolve("err").toFile());
    builder.environment().keySet().removeIf(name -> name.startsWith("MM_"));
    builder.environment().put("ORLOP_CLASSPATH", System.getProperty("java.class.path"));
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    builder.environment().putAll(environment);
    return builder.start();
  }

  private void awaitRegistered(Process pod, MeshClient mesh, String model) throws IOException {
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(READY_SECONDS);
    while (true) {
      try {
        if (status(mesh, model) != ModelStatusInfo.ModelStatus.NOT_FOUND) {
          return;
        }
      } catch (StatusRuntimeException e) {
        // It does not listen yet.
      }
      assertTrue(
          pod.isAlive() && System.nanoTime() - deadlineNs < 0,
          "not ready: " + Files.readString(dir.resolve("err")));
      LockSupport.parkNanos(50_000_000);
    }
  }

  private static ModelStatusInfo.ModelStatus status(MeshClient mesh, String model) {
    return mesh.management()
        .getModelStatus(GetStatusRequest.newBuilder().setModelId(model).build())
        .getStatus();
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }
}
