package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.DemandReport;
import orlop.api.DrainRequest;
import orlop.api.ExplainRequest;
import orlop.api.LoadRequest;
import orlop.api.PodControlGrpc;
import orlop.api.UnloadRequest;
import orlop.api.WatchDemandRequest;
import orlop.runtime.ModelLoadException;

/** What the planner can ask of a pod. */
@Tag("slow")
class ControlTest {

  private static PodControlGrpc.PodControlBlockingStub control(TestMesh mesh, int pod) {
    return PodControlGrpc.newBlockingStub(mesh.channel(mesh.pod(pod)))
        .withDeadlineAfter(60, TimeUnit.SECONDS);
  }

  private static LoadRequest load(String model) {
    return LoadRequest.newBuilder().setModelId(model).setWait(true).build();
  }

  @Test
  void loadsAndUnloadsOnRequest() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      control(mesh, 1).load(load("m"));
      assertEquals(1, mesh.runtimes.get(1).loaded.get());
      control(mesh, 1).load(load("m"));
      assertEquals(1, mesh.loads());
      control(mesh, 1).unload(UnloadRequest.newBuilder().setModelId("m").build());
      TestMesh.await("the unload", () -> mesh.runtimes.get(1).loaded.get() == 0);
      assertEquals(0, mesh.pod(1).stats().evictions());
      control(mesh, 1).unload(UnloadRequest.newBuilder().setModelId("m").build());
    }
  }

  @Test
  void saysWhyACopyIsWhereItIsAndWhereTheNextWouldGo() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      control(mesh, 1).load(load("m"));
      ExplainRequest request = ExplainRequest.newBuilder().setName("m").build();
      TestMesh.await(
          "both lines",
          () -> {
            List<String> lines = control(mesh, 0).explain(request).getLinesList();
            return lines.size() == 2
                && lines.getFirst().startsWith("pod " + mesh.pod(1).id() + ": loaded for")
                && lines.getLast().startsWith("next: pod " + mesh.pod(0).id() + ", ");
          });
      assertEquals(
          Status.Code.NOT_FOUND,
          TestMesh.failure(() -> control(mesh, 0).explain(request.toBuilder().setName("x").build()))
              .getCode());
    }
  }

  @Test
  void saysWhyALoadIsRefused() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      assertEquals(
          Status.Code.NOT_FOUND,
          TestMesh.failure(() -> control(mesh, 0).load(load("nope"))).getCode());
      mesh.register("big");
      mesh.store.sizes.put("big", 5_000_000L);
      assertEquals(
          Status.Code.RESOURCE_EXHAUSTED,
          TestMesh.failure(() -> control(mesh, 0).load(load("big"))).getCode());
      mesh.register("bad");
      mesh.runtimes
          .getFirst()
          .loadFailures
          .put("bad", new ModelLoadException(ModelLoadException.Reason.BAD_MODEL, "torn", null));
      Status bad = TestMesh.failure(() -> control(mesh, 0).load(load("bad")));
      assertEquals(Status.Code.FAILED_PRECONDITION, bad.getCode());
      assertTrue(String.valueOf(bad.getDescription()).contains("torn"));
      mesh.register("late");
      control(mesh, 0).drain(DrainRequest.getDefaultInstance());
      Status late = TestMesh.failure(() -> control(mesh, 0).load(load("late")));
      assertEquals(Status.Code.UNAVAILABLE, late.getCode());
      assertTrue(String.valueOf(late.getDescription()).contains("draining"));
    }
  }

  @Test
  void reportsWhatWasCalledSinceTheLastReport() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.register("n");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      control(mesh, 0).load(load("n"));
      Iterator<DemandReport> reports =
          control(mesh, 0).watchDemand(WatchDemandRequest.newBuilder().setIntervalMs(100).build());
      DemandReport first = reports.next();
      assertEquals("pod-0", first.getPodId());
      assertEquals(1, first.getModelsCount());
      assertEquals("m", first.getModels(0).getModelId());
      assertEquals(2, first.getModels(0).getCalls());
      assertTrue(first.getModels(0).getLastUsedMs() > 1_600_000_000_000L);
      assertEquals(0, reports.next().getModelsCount());
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("n"));
      long calls = 0;
      while (calls == 0) {
        DemandReport report = reports.next();
        calls = report.getModelsList().stream().mapToLong(DemandReport.ModelDemand::getCalls).sum();
      }
      assertEquals(1, calls);
      Status status =
          TestMesh.failure(
              () ->
                  control(mesh, 0)
                      .watchDemand(WatchDemandRequest.newBuilder().setIntervalMs(1).build())
                      .next());
      assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode());
    }
  }
}
