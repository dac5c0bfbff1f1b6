package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import mmesh.ModelStatusInfo;
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
    runtime = stage.runtime("startMs=1500", "loadTimeoutMs=5000");
    pod = stage.pod("lifecycle", runtime);
  }

  @AfterAll
  void end() throws Exception {
    stage.close();
  }

  private String call(String model) {
    return pod.inference().modelInfer(PodUnderTest.request(model)).getModelName();
  }

  private Status refusal(String model) {
    return assertThrows(StatusRuntimeException.class, () -> call(model)).getStatus();
  }

  private void unregister(String model) {
    var unused =
        pod.mesh().unregisterModel(UnregisterModelRequest.newBuilder().setModelId(model).build());
  }

  @Test
  void aModelIsRegisteredLoadedCalledAndUnregistered() {
    assertEquals(ModelStatus.NOT_LOADED, pod.register("m", "p?size=5000", false).getStatus());
    assertEquals("m", call("m"));
    pod.awaitStatus("m", ModelStatus.LOADED);
    List<String> told = runtime.told();
    assertTrue(told.contains("load m test p?size=5000 "), told.toString());
    assertTrue(told.contains("ModelInfer header=m inside=m"), told.toString());
    unregister("m");
    pod.awaitStatus("m", ModelStatus.NOT_FOUND);
    Stage.await("the runtime to unload it", () -> runtime.told("unload m") == 1);
    assertEquals(Status.Code.NOT_FOUND, refusal("m").getCode());
  }

  @Test
  void theSizeThatALoadDoesNotTellIsAskedFor() throws Exception {
    ModelStatusInfo status = pod.register("sized", "p?size=0&measured=77000", true);
    assertEquals(ModelStatus.LOADED, status.getStatus());
    assertEquals(1, runtime.told("size sized"));
    Stage.await(
        "the measured size in the pod's metrics",
        () -> {
          try {
            return pod.metrics().contains("modelmesh_loaded_model_size_bytes_sum");
          } catch (java.io.IOException e) {
            return false;
          }
        });
    assertTrue(used() >= 77_000, "used bytes: " + used());
  }

  private double used() throws Exception {
    return pod.metrics()
        .lines()
        .filter(line -> line.startsWith("modelmesh_instance_used_bytes"))
        .mapToDouble(line -> Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1)))
        .sum();
  }

  @Test
  void aRuntimesCapacityIsThePods() throws Exception {
    double capacity =
        pod.metrics()
            .lines()
            .filter(line -> line.startsWith("modelmesh_instance_capacity_bytes"))
            .mapToDouble(line -> Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1)))
            .sum();
    assertEquals(64 << 20, capacity);
  }

  @Test
  void aModelThatCannotBeLoadedSaysWhyAndIsUnloaded() {
    var unused = pod.register("bad", "p?fail=INVALID_ARGUMENT", false);
    Status status = refusal("bad");
    assertEquals(Status.Code.FAILED_PRECONDITION, status.getCode(), status.toString());
    assertTrue(String.valueOf(status.getDescription()).contains("told to fail"), status.toString());
    pod.awaitStatus("bad", ModelStatus.LOADING_FAILED);
    assertTrue(pod.status("bad").getErrorsList().toString().contains("told to fail"));
    assertEquals(1, runtime.told("load bad "));
    assertEquals(1, runtime.told("unload bad"));
    // One broken model costs one load, however often it is called.
    for (int i = 0; i < 20; i++) {
      assertEquals(Status.Code.FAILED_PRECONDITION, refusal("bad").getCode());
    }
    assertEquals(1, runtime.told("load bad "));
  }

  @Test
  void aLoadThatTakesTooLongIsCalledOffAndUnloaded() {
    var unused = pod.register("slow", "p?loadMs=60000", false);
    Status status = refusal("slow");
    assertEquals(Status.Code.UNAVAILABLE, status.getCode(), status.toString());
    assertEquals(1, runtime.told("unload slow"));
  }

  @Test
  void whatIsUnregisteredWhileItLoadsIsCalledOff() {
    var unused = pod.register("gone", "p?loadMs=4000", false);
    CompletableFuture<Status> waiting = CompletableFuture.supplyAsync(() -> refusal("gone"));
    Stage.await("the load", () -> runtime.told("load gone") == 1);
    long startNs = System.nanoTime();
    unregister("gone");
    Stage.await("the unload", () -> runtime.told("unload gone") == 1);
    assertTrue(System.nanoTime() - startNs < TimeUnit.MILLISECONDS.toNanos(3_000), "waited");
    Status status = waiting.join();
    assertFalse(status.isOk(), status.toString());
  }

  @Test
  void aModelThatTheRuntimeHasLostIsLoadedAgainUnseen() {
    var unused = pod.register("lost", "p", true);
    int loads = 1;
    for (String quirk : List.of("NOT_FOUND", "triton", "mlserver")) {
      var told = runtime.say("unknown " + quirk);
      told = runtime.say("forget lost");
      assertEquals("lost", call("lost"), quirk);
      assertEquals(++loads, runtime.told("load lost "), quirk);
    }
    var told = runtime.say("unknown NOT_FOUND");
  }

  @Test
  void aPodOrARuntimeThatStartsAnewTrustsNothingThatWasHeld() throws Exception {
    RuntimeProcess kept = stage.runtime();
    PodUnderTest first = stage.pod("purge", kept);
    var unused = first.register("held", "p", true);
    first.kill();
    PodUnderTest second = stage.pod("purge", kept);
    assertEquals(
        "held", second.inference().modelInfer(PodUnderTest.request("held")).getModelName());
    assertEquals(2, kept.told("load held "));
    List<String> told = kept.told();
    assertTrue(told.lastIndexOf("status") > told.indexOf("load held test p "), told.toString());
    restarted(second, kept);
  }

  @Test
  void aLoadThatFailedIsTriedAgainAtOnceByARuntimeThatStartedAnew() throws Exception {
    RuntimeProcess broken = stage.runtime();
    PodUnderTest beside = stage.pod("mended", broken);
    var unused = beside.register("m", "p?fail=INVALID_ARGUMENT", false);
    // The model itself seems to be at fault, so nobody would try it for a quarter of an hour.
    for (int i = 0; i < 5; i++) {
      StatusRuntimeException refused =
          assertThrows(
              StatusRuntimeException.class,
              () -> beside.inference().modelInfer(PodUnderTest.request("m")));
      assertEquals(Status.Code.FAILED_PRECONDITION, refused.getStatus().getCode());
    }
    assertEquals(1, broken.told("load m "));
    broken.restart("mended=true");
    Stage.await(
        "the model to serve",
        () -> {
          try {
            return beside
                .inference()
                .modelInfer(PodUnderTest.request("m"))
                .getModelName()
                .equals("m");
          } catch (StatusRuntimeException e) {
            return false;
          }
        });
    assertEquals(1, broken.told("load m "));
  }

  /** A runtime that starts anew has its models again before their callers notice. */
  private static void restarted(PodUnderTest pod, RuntimeProcess runtime) throws Exception {
    for (String id : List.of("r1", "r2", "r3")) {
      var unused = pod.register(id, "p", true);
    }
    runtime.restart();
    ModelInferRequest request =
        PodUnderTest.request("r1").toBuilder()
            .addRawInputContents(ByteString.copyFrom(new byte[100_000]))
            .build();
    assertEquals(100_000, pod.inference().modelInfer(request).getRawOutputContents(0).size());
    for (String id : List.of("r2", "r3", "r1")) {
      assertEquals(id, pod.inference().modelInfer(PodUnderTest.request(id)).getModelName());
    }
    assertEquals(3, runtime.told("load r"));
  }
}
