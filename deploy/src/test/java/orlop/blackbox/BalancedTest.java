package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;

import inference.GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub;
import java.nio.file.Path;
import mmesh.ModelInfo;
import mmesh.ModelStatusInfo.ModelStatus;
import mmesh.RegisterModelRequest;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Callers that say {@code mm-balanced: true}, since they spread their calls over pods themselves.
 */
@Tag("slow")
final class BalancedTest {
  private static final int EACH = 20;

  @TempDir Path dir;
  private Stage stage;
  private RuntimeProcess[] runtimes;
  private PodUnderTest[] pods;

  @BeforeEach
  void start() throws Exception {
    stage = new Stage(dir);
    runtimes = new RuntimeProcess[] {stage.runtime(), stage.runtime()};
    pods =
        new PodUnderTest[] {stage.pod("balanced", runtimes[0]), stage.pod("balanced", runtimes[1])};
  }

  @AfterEach
  void end() throws Exception {
    stage.close();
  }

  private String call(int pod, String model) {
    GRPCInferenceServiceBlockingStub stub = pods[pod].inference("mm-balanced", "true");
    return stub.modelInfer(PodUnderTest.request(model)).getModelName();
  }

  @Test
  void aColdModelIsLoadedWhereItsCallArrives() {
    for (int i = 0; i < EACH; i++) {
      String model = "cold-" + i;
      var unused = pods[0].register(model, "p", false);
      pods[1].awaitKnown(model);
      assertEquals(model, call(i % 2, model));
      assertEquals(1, runtimes[i % 2].told("load " + model + " "), model);
      assertEquals(0, runtimes[1 - i % 2].told("load " + model + " "), model);
    }
  }

  @Test
  void callsSpreadOverTheCopiesAsTheirCallerSpreadsThem() {
    var unused =
        pods[0]
            .mesh()
            .registerModel(
                RegisterModelRequest.newBuilder()
                    .setModelId("m")
                    .setModelInfo(
                        ModelInfo.newBuilder()
                            .setType("test")
                            .setPath("p")
                            .setKey("{\"orlop\":{\"minCopies\":2}}"))
                    .build());
    for (PodUnderTest pod : pods) {
      Stage.await(
          "both copies to be known",
          () ->
              pod.status("m").getModelCopyInfosList().stream()
                      .filter(copy -> copy.getCopyStatus() == ModelStatus.LOADED)
                      .count()
                  == 2);
    }
    for (int i = 0; i < 2 * EACH; i++) {
      assertEquals("m", call(i % 2, "m"));
    }
    assertEquals(EACH, runtimes[0].told("ModelInfer "));
    assertEquals(EACH, runtimes[1].told("ModelInfer "));
  }
}
