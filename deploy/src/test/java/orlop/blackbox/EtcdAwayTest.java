package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import mmesh.ModelStatusInfo;
import mmesh.ModelStatusInfo.ModelStatus;
import mmesh.UnregisterModelRequest;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.api.TcpProxy;

/** Two pods beside runtimes, while etcd is away from both or from one of them. */
@Tag("slow")
final class EtcdAwayTest {
  private static final String KEYS = "mm/orlop/away/";

  @TempDir Path dir;
  private Stage stage;
  private RuntimeProcess nearRuntime;
  private RuntimeProcess farRuntime;
  private TcpProxy cable;
  private PodUnderTest near;
  private PodUnderTest far;

  @BeforeEach
  void start() throws Exception {
    stage = new Stage(dir);
    nearRuntime = stage.runtime();
    farRuntime = stage.runtime();
    cable = stage.cable();
    near = stage.pod("away", nearRuntime);
    far = stage.pod("away", farRuntime, "KV_STORE", "etcd:" + cable.endpoint());
  }

  @AfterEach
  void end() throws Exception {
    stage.close();
  }

  private static String call(PodUnderTest pod, String model) {
    return pod.inference().modelInfer(PodUnderTest.request(model)).getModelName();
  }

  private static Status.Code refusal(PodUnderTest pod, String model) {
    return assertThrows(StatusRuntimeException.class, () -> call(pod, model)).getStatus().getCode();
  }

  private void register(String... models) {
    for (String model : models) {
      var unused = near.register(model, "p", false);
      far.awaitKnown(model);
    }
  }

  private void unregister(String model) {
    var unused =
        near.mesh().unregisterModel(UnregisterModelRequest.newBuilder().setModelId(model).build());
  }

  private Set<String> keys(String table) {
    try {
      return new TreeSet<>(stage.keys(KEYS + table));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What its runtime was told to load and not to unload. */
  private static long held(RuntimeProcess runtime) {
    return runtime.told("load ") - runtime.told("unload ");
  }

  @Test
  void aKnownModelIsLoadedWithoutEtcdAndNothingStandsTwiceWhenItIsBack() throws Exception {
    register("warm", "cold");
    assertEquals("warm", call(near, "warm"));
    stage.etcd().kill();
    assertEquals("cold", call(near, "cold"));
    assertEquals("cold", call(far, "cold"));
    assertEquals("warm", call(far, "warm"));
    StatusRuntimeException refused =
        assertThrows(StatusRuntimeException.class, () -> near.register("new", "p", false));
    assertEquals(Status.Code.UNAVAILABLE, refused.getStatus().getCode());
    stage.etcd().restart();
    Stage.await(
        "registering to work again",
        () -> {
          try {
            return near.register("new", "p", false).getStatus() == ModelStatus.NOT_LOADED;
          } catch (StatusRuntimeException e) {
            return false;
          }
        });
    far.awaitStatus("cold", ModelStatus.LOADED);
    assertEquals(ModelStatus.LOADED, near.register("cold", "p", false).getStatus());
    assertEquals(Set.of("cold", "new", "warm"), keys("models/"));
    Stage.await("both pods to stand in etcd", () -> keys("pods/").size() == 2);
    Stage.await(
        "the copies in etcd to be those in the runtimes",
        () -> keys("copies/").size() == held(nearRuntime) + held(farRuntime));
    assertEquals(1, nearRuntime.told("load warm ") + farRuntime.told("load warm "));
    assertTrue(nearRuntime.told("load cold ") <= 1 && farRuntime.told("load cold ") <= 1);
  }

  @Test
  void aPodThatIsCutOffServesWhatItHasAndComesBack() throws Exception {
    register("kept", "dropped");
    for (String model : List.of("kept", "dropped")) {
      // A balanced caller's call is loaded where it arrives.
      var answer = far.inference("mm-balanced", "true").modelInfer(PodUnderTest.request(model));
      assertEquals(model, answer.getModelName());
      assertEquals(1, farRuntime.told("load " + model + " "));
      near.awaitStatus(model, ModelStatus.LOADED);
    }
    String farId = near.status("kept").getModelCopyInfos(0).getLocation();
    cable.cut();
    assertEquals("kept", call(far, "kept"));
    Stage.await("its keys to end with its lease", () -> keys("pods/").size() == 1);
    // The others go on without it, and it without them.
    assertEquals("kept", call(near, "kept"));
    assertEquals(1, nearRuntime.told("load kept "));
    unregister("dropped");
    assertEquals(ModelStatus.NOT_LOADED, near.register("meanwhile", "p", false).getStatus());
    assertEquals("meanwhile", call(near, "meanwhile"));
    assertEquals("kept", call(far, "kept"));
    assertEquals("dropped", call(far, "dropped"));
    assertEquals(0, farRuntime.told("unload "), "a pod that hears nothing lets nothing go");
    cable.mend();
    Stage.await("it to be seen again", () -> keys("pods/").size() == 2);
    Stage.await("what was unregistered to leave it", () -> farRuntime.told("unload dropped") == 1);
    assertEquals(Status.Code.NOT_FOUND, refusal(far, "dropped"));
    far.awaitKnown("meanwhile");
    assertEquals("meanwhile", call(far, "meanwhile"));
    assertEquals(0, farRuntime.told("load meanwhile "), "it is loaded beside the other");
    Stage.await("both copies to be told of, or one to have gone", () -> agreed("kept", farId));
    assertEquals("kept", call(far, "kept"));
    assertEquals(1, nearRuntime.told("load kept "));
    assertEquals(1, farRuntime.told("load kept "));
  }

  /** Whether the pods tell of the copies that the runtimes hold. */
  private boolean agreed(String model, String farId) {
    ModelStatusInfo status = near.status(model);
    boolean seen =
        status.getModelCopyInfosList().stream().anyMatch(c -> c.getLocation().equals(farId));
    return status.getStatus() == ModelStatus.LOADED
        && seen == (farRuntime.told("unload " + model) == 0)
        && status.getModelCopyInfosCount()
            == 2 - farRuntime.told("unload " + model) - nearRuntime.told("unload " + model);
  }
}
