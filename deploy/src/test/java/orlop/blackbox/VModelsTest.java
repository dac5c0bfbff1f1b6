package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import mmesh.DeleteVModelRequest;
import mmesh.EnsureLoadedRequest;
import mmesh.GetVModelStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelStatusInfo;
import mmesh.ModelStatusInfo.ModelStatus;
import mmesh.SetVModelRequest;
import mmesh.UnregisterModelRequest;
import mmesh.VModelStatusInfo;
import mmesh.VModelStatusInfo.VModelStatus;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** Aliases and failed loads, as ModelMesh's controller drives them. */
@Tag("slow")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class VModelsTest {
  private static final long EXPIRY_MS = 1_500;

  private Stage stage;
  private RuntimeProcess runtime;
  private PodUnderTest pod;

  @BeforeAll
  void start(@TempDir Path dir) throws Exception {
    stage = new Stage(dir);
    runtime = stage.runtime();
    pod =
        stage.pod(
            "vmodels",
            runtime,
            "MM_DEFAULT_VMODEL_OWNER",
            "ksp",
            "MM_LOAD_FAILURE_EXPIRY_TIME_MS",
            String.valueOf(EXPIRY_MS));
  }

  @AfterAll
  void end() throws Exception {
    stage.close();
  }

  @Test
  void preconditionsAreCheckedBeforeAnythingChanges() {
    assertEquals(Status.Code.NOT_FOUND, code(vmodel("pre", "unregistered")));
    pod.register("pre-1", "p", false);
    assertEquals(Status.Code.NOT_FOUND, code(vmodel("pre", "pre-1").setUpdateOnly(true)));
    assertEquals(VModelStatus.DEFINED, set(vmodel("pre", "pre-1")).getStatus());
    assertEquals(
        Status.Code.FAILED_PRECONDITION,
        code(
            vmodel("pre", "pre-2")
                .setModelInfo(info("p"))
                .setExpectedTargetModelId("something else")));
    assertEquals(ModelStatus.NOT_FOUND, pod.status("pre-2").getStatus());
    StatusRuntimeException used =
        assertThrows(
            StatusRuntimeException.class,
            () ->
                pod.mesh()
                    .unregisterModel(
                        UnregisterModelRequest.newBuilder().setModelId("pre-1").build()));
    assertEquals(Status.Code.FAILED_PRECONDITION, used.getStatus().getCode());
  }

  @Test
  void anOwnersAliasIsItsOwn() {
    set(vmodel("own", "own-1").setModelInfo(info("p")).setOwner("isvc"));
    assertEquals("isvc", set(vmodel("own", "own-1")).getOwner());
    assertEquals(Status.Code.ALREADY_EXISTS, code(vmodel("own", "own-1").setOwner("other")));
    assertEquals(VModelStatus.NOT_FOUND, status("own", "other").getStatus());
    assertEquals("isvc", status("own", "isvc").getOwner());
    delete("own", "other");
    assertEquals("isvc", status("own", "").getOwner());
    delete("own", "isvc");
    assertEquals(VModelStatus.NOT_FOUND, status("own", "").getStatus());
    assertEquals("ksp", set(vmodel("own", "own-1")).getOwner());
  }

  @Test
  void anAliasServesTheOldModelUntilTheNewOneIsLoadedAndThenLetsItGo() {
    set(
        vmodel("move", "move-1")
            .setModelInfo(info("p"))
            .setAutoDeleteTargetModel(true)
            .setLoadNow(true)
            .setSync(true));
    assertEquals("move-1", called("move"));
    VModelStatusInfo moving =
        set(
            vmodel("move", "move-2")
                .setModelInfo(info("p?loadMs=2000"))
                .setAutoDeleteTargetModel(true)
                .setExpectedTargetModelId("move-1"));
    assertEquals(VModelStatus.TRANSITIONING, moving.getStatus());
    assertEquals("move-1", moving.getActiveModelId());
    assertEquals("move-1", called("move"));
    Stage.await("the move", () -> status("move", "").getStatus() == VModelStatus.DEFINED);
    pod.awaitStatus("move-1", ModelStatus.NOT_FOUND);
    Stage.await("the unload", () -> runtime.told("unload move-1") == 1);
    assertEquals("move-2", called("move"));
  }

  @Test
  void aMoveThatFailsKeepsTheOldModelAndGoesOnWhenItLoads() {
    set(vmodel("fail", "fail-1").setModelInfo(info("p")).setLoadNow(true).setSync(true));
    VModelStatusInfo failed =
        set(
            vmodel("fail", "fail-2")
                .setModelInfo(info("p?fail=INTERNAL&failTimes=2"))
                .setSync(true));
    assertEquals(VModelStatus.TRANSITION_FAILED, failed.getStatus());
    assertEquals("fail-1", failed.getActiveModelId());
    assertTrue(failed.getTargetModelStatus().getErrorsCount() > 0, failed.toString());
    assertEquals("fail-1", called("fail"));
    Stage.await(
        "the move after the failure expired",
        () -> status("fail", "").getActiveModelId().equals("fail-2"));
    assertEquals("fail-2", called("fail"));
  }

  @Test
  void forceMovesBeforeTheTargetIsLoaded() {
    set(vmodel("force", "force-1").setModelInfo(info("p")));
    VModelStatusInfo moved =
        set(vmodel("force", "force-2").setModelInfo(info("p?loadMs=500")).setForce(true));
    assertEquals(VModelStatus.DEFINED, moved.getStatus());
    assertEquals("force-2", called("force"));
  }

  @Test
  void aFailedLoadIsNotRepeatedBeforeItExpiresAndIsAfterwards() {
    pod.register("broken", "p?fail=INVALID_ARGUMENT&failTimes=1", false);
    long startNs = System.nanoTime();
    for (int i = 0; i < 3; i++) {
      ModelStatusInfo answer =
          pod.mesh()
              .ensureLoaded(
                  EnsureLoadedRequest.newBuilder().setModelId("broken").setSync(true).build());
      if (TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNs) < EXPIRY_MS / 2) {
        assertEquals(ModelStatus.LOADING_FAILED, answer.getStatus());
        assertTrue(answer.getErrors(0).contains("told to fail"), answer.toString());
        assertEquals(1, runtime.told("load broken "));
      }
    }
    Stage.await(
        "the expiry",
        () -> {
          try {
            var answer = pod.inference().modelInfer(PodUnderTest.request("broken"));
            return answer.getModelName().equals("broken");
          } catch (StatusRuntimeException e) {
            return false;
          }
        });
    assertEquals(2, runtime.told("load broken "));
  }

  private VModelStatusInfo set(SetVModelRequest.Builder request) {
    return pod.mesh().setVModel(request.build());
  }

  private Status.Code code(SetVModelRequest.Builder request) {
    return assertThrows(StatusRuntimeException.class, () -> set(request)).getStatus().getCode();
  }

  private void delete(String name, String owner) {
    var unused =
        pod.mesh()
            .deleteVModel(
                DeleteVModelRequest.newBuilder().setVModelId(name).setOwner(owner).build());
  }

  private VModelStatusInfo status(String name, String owner) {
    return pod.mesh()
        .getVModelStatus(
            GetVModelStatusRequest.newBuilder().setVModelId(name).setOwner(owner).build());
  }

  /** The model that a call through the name reaches, as the runtime heard it. */
  private String called(String name) {
    var unused = runtime.say("clear");
    var answer = pod.inference("mm-vmodel-id", name).modelInfer(PodUnderTest.request(""));
    assertEquals("r", answer.getId());
    String beginning = "ModelInfer header=";
    return runtime.told().stream()
        .filter(line -> line.startsWith(beginning))
        .map(line -> line.substring(line.indexOf("inside=") + "inside=".length()))
        .findFirst()
        .orElse("");
  }

  private static SetVModelRequest.Builder vmodel(String name, String target) {
    return SetVModelRequest.newBuilder().setVModelId(name).setTargetModelId(target);
  }

  private static ModelInfo info(String path) {
    return ModelInfo.newBuilder().setType("test").setPath(path).build();
  }
}
