package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import orlop.pod.ModelStats.BatchTimes;
import orlop.pod.ModelStats.Figures;
import orlop.pod.ModelStats.Times;
import orlop.runtime.InferenceException;

class ModelStatsTest {
  private static TensorMetadata tensor(long... shape) {
    TensorMetadata.Builder tensor = TensorMetadata.newBuilder().setName("x").setDatatype("FP32");
    for (long dimension : shape) {
      tensor.addShape(dimension);
    }
    return tensor.build();
  }

  @Test
  void aSharedExecutionCountsOnceAndItsTimeForEachRequest() {
    ModelStats stats = new ModelStats();
    stats.executed(3, 8, 10, 20, 30, 5_000);
    for (int i = 0; i < 3; i++) {
      stats.succeeded(7, 100);
    }
    stats.executed(1, 1, 1, 2, 3, 6_000);
    stats.failed(40);
    stats.cancelled(50);
    Figures figures = stats.figures();
    assertEquals(9, figures.inferences());
    assertEquals(2, figures.executions());
    assertEquals(6_000, figures.lastInferenceMs());
    assertEquals(new Times(3, 300), figures.success());
    assertEquals(new Times(3, 21), figures.queue());
    assertEquals(new Times(4, 31), figures.input());
    assertEquals(new Times(4, 62), figures.infer());
    assertEquals(new Times(4, 93), figures.output());
    assertEquals(new Times(1, 40), figures.fail());
    assertEquals(new Times(1, 50), figures.cancel());
    assertEquals(
        List.of(
            new BatchTimes(8, new Times(1, 10), new Times(1, 20), new Times(1, 30)),
            new BatchTimes(1, new Times(1, 1), new Times(1, 2), new Times(1, 3))),
        figures.batches());
  }

  @Test
  void losesNothingUnderConcurrentUseAndTellsSoManyBatchSizesApart() throws Exception {
    ModelStats stats = new ModelStats();
    List<Thread> threads = new ArrayList<>();
    for (int t = 0; t < 4; t++) {
      threads.add(
          Thread.ofPlatform()
              .start(
                  () -> {
                    for (int i = 0; i < 20_000; i++) {
                      stats.executed(1, i % 200, 1, 1, 1, i);
                      stats.succeeded(1, 1);
                    }
                  }));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    Figures figures = stats.figures();
    assertEquals(80_000, figures.executions());
    assertEquals(new Times(80_000, 80_000), figures.success());
    assertEquals(ModelStats.MAX_BATCH_SIZES, figures.batches().size());
    for (BatchTimes batch : figures.batches()) {
      assertEquals(400, batch.infer().count(), "executions of batch size " + batch.size());
    }
  }

  @Test
  void countsWhatRanFailedAndWasCancelledAndKeepsItWhenTheModelIsLoadedAgain() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.register("never");
      mesh.runtimes
          .getFirst()
          .metadata
          .put(
              "m",
              ModelMetadataResponse.newBuilder()
                  .addInputs(tensor(-1))
                  .addOutputs(tensor(-1))
                  .build());
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      mesh.runtimes
          .getFirst()
          .inferenceFailures
          .put("m", new InferenceException(InferenceException.Code.INVALID_ARGUMENT, "no"));
      Status refused =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.INVALID_ARGUMENT, refused.getCode());
      ModelHost host = mesh.pod(0).host();
      ModelStats stats = host.stats("m");
      assertNotNull(stats);
      Figures figures = stats.figures();
      assertEquals(4, figures.inferences(), "two requests of two rows");
      assertEquals(2, figures.executions());
      assertEquals(2, figures.success().count());
      assertTrue(figures.success().ns() >= figures.queue().ns() + figures.infer().ns());
      assertEquals(1, figures.fail().count());
      assertTrue(figures.lastInferenceMs() > 1_000_000_000_000L);
      assertTrue(host.letGo("m"));
      TestMesh.await("the unload", () -> !host.isLoaded("m"));
      assertSame(stats, host.stats("m"));
      mesh.runtimes.getFirst().inferenceFailures.clear();
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      assertEquals(3, stats.figures().success().count());
      assertNull(host.stats("never"));
    }
  }
}
