package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.List;
import mmesh.ModelStatusInfo.ModelStatus;
import mmesh.UnregisterModelRequest;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** One pod and one runtime: what becomes of a model between its registration and its end. */
@Tag("slow")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class LifecycleTest {
  private Stage stage;
  private RuntimeProcess runtime;
  private PodUnderTest pod;

  @BeforeAll
  void start(@TempDir Path dir) throws Exception {
    stage = new Stage(dir);
    runtime = stage.runtime();
    pod = stage.pod("lifecycle", runtime);
  }

  @AfterAll
  void end() throws Exception {
    stage.close();
  }

  @Test
  void aModelIsRegisteredLoadedCalledAndUnregistered() {
    assertEquals(ModelStatus.NOT_LOADED, pod.register("m", "p?size=5000", false).getStatus());
    assertEquals("m", pod.inference().modelInfer(PodUnderTest.request("m")).getModelName());
    pod.awaitStatus("m", ModelStatus.LOADED);
    List<String> told = runtime.told();
    assertTrue(told.contains("load m test p?size=5000 "), told.toString());
    assertTrue(told.contains("ModelInfer header=m inside=m"), told.toString());
    var unused =
        pod.mesh().unregisterModel(UnregisterModelRequest.newBuilder().setModelId("m").build());
    pod.awaitStatus("m", ModelStatus.NOT_FOUND);
    Stage.await("the runtime to unload it", () -> runtime.told("unload m") == 1);
    StatusRuntimeException gone =
        assertThrows(
            StatusRuntimeException.class,
            () -> pod.inference().modelInfer(PodUnderTest.request("m")));
    assertEquals(Status.Code.NOT_FOUND, gone.getStatus().getCode());
  }
}
