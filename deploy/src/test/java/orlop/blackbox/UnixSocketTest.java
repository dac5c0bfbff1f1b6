package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A runtime that listens on a socket in the file system, and is slow to say that it is ready. */
@Tag("slow")
final class UnixSocketTest {
  @Test
  void modelsAreLoadedAndCalledOverASocketInTheFileSystem(@TempDir Path dir) throws Exception {
    // A socket's path may have no more than 107 bytes.
    Path sockets = Files.createTempDirectory(Path.of("/tmp"), "s");
    try (Stage stage = new Stage(dir)) {
      Path socket = sockets.resolve("grpc.sock");
      Map<String, String> environment = stage.environment("unix");
      environment.put("INTERNAL_GRPC_SOCKET_PATH", socket.toString());
      PodUnderTest pod = stage.start(environment);
      // The pod is there first, and waits.
      Stage.await("the waiting pod to be alive", () -> pod.probe("/live") == 200);
      assertEquals(503, pod.probe("/ready"));
      RuntimeProcess runtime = stage.runtime("socket=" + socket, "startMs=2000");
      var ready = pod.awaitReady();
      var unused = pod.register("m", "p", true);
      ModelInferRequest request =
          PodUnderTest.request("m").toBuilder()
              .addRawInputContents(ByteString.copyFrom(new byte[3_000_000]))
              .build();
      assertEquals(3_000_000, pod.inference().modelInfer(request).getRawOutputContents(0).size());
      List<String> told = runtime.told();
      assertTrue(told.contains("load m test p "), told.toString());
      runtime.restart();
      assertEquals("m", pod.inference().modelInfer(PodUnderTest.request("m")).getModelName());
      runtime.kill();
      environment = stage.environment("unix");
      environment.put("INTERNAL_GRPC_SOCKET_PATH", sockets.resolve("mgmt").toString());
      environment.put("INTERNAL_SERVING_GRPC_SOCKET_PATH", sockets.resolve("serving").toString());
      RuntimeProcess serving = stage.runtime("socket=" + sockets.resolve("serving"));
      RuntimeProcess management = stage.runtime("socket=" + sockets.resolve("mgmt"));
      PodUnderTest split = stage.start(environment).awaitReady();
      unused = split.register("n", "p", true);
      assertEquals(1, management.told("load n "));
      // The serving end was not told of the load, which shows that it is the one who is called: the
      // copy is loaded once more, and then its answer is believed.
      for (int call = 2; call <= 3; call++) {
        StatusRuntimeException missing =
            assertThrows(
                StatusRuntimeException.class,
                () -> split.inference().modelInfer(PodUnderTest.request("n")));
        assertEquals(Status.Code.NOT_FOUND, missing.getStatus().getCode());
        assertEquals(call, serving.told("ModelInfer header=n inside=n"));
        assertEquals(2, management.told("load n "));
      }
      assertEquals(0, management.told("ModelInfer"));
    } finally {
      try (var files = Files.list(sockets)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(sockets);
    }
  }
}
