package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnknownFieldSet;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.grpc.CallOptions;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import mmesh.ModelStatusInfo.ModelStatus;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;

/** Three pods, each beside a runtime of its own, as one mesh. */
@Tag("slow")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
final class ThreeInstancesTest {
  private static final int MODELS = 30;
  private static final int CALLS = 6_000;

  /** Models that may stand in two pods. */
  private static final int MOST_TWICE = 3;

  private static final int IN_FLIGHT = 32;

  private Stage stage;
  private final List<RuntimeProcess> runtimes = new ArrayList<>();
  private final List<PodUnderTest> pods = new ArrayList<>();

  @BeforeAll
  void start(@TempDir Path dir) throws Exception {
    stage = new Stage(dir);
    for (int i = 0; i < 3; i++) {
      runtimes.add(stage.runtime("limit=true"));
      Map<String, String> environment = stage.environment("three");
      environment.put("INTERNAL_GRPC_PORT", String.valueOf(runtimes.get(i).port()));
      environment.put("MM_MAX_INFLIGHT_PER_MODEL_COPY", "2");
      pods.add(stage.start(environment));
    }
    for (PodUnderTest pod : pods) {
      var unused = pod.awaitReady();
    }
  }

  @AfterAll
  void end() throws Exception {
    stage.close();
  }

  /** Runs the calls, {@value #IN_FLIGHT} at a time, and gives how often each status came. */
  private static Map<Status.Code, Integer> run(List<Callable<Status>> calls) throws Exception {
    Map<Status.Code, Integer> counts = new TreeMap<>();
    try (ExecutorService pool = Executors.newFixedThreadPool(IN_FLIGHT)) {
      for (Future<Status> one : pool.invokeAll(calls)) {
        counts.merge(one.get().getCode(), 1, Integer::sum);
      }
    }
    return counts;
  }

  /**
   * First, since loads that were measured before draw the next ones to the pods that were faster.
   */
  @Test
  @Order(1)
  void sixThousandCallsByAnyPodFindTheirModels() throws Exception {
    for (int m = 0; m < MODELS; m++) {
      var unused = pods.get(m % 3).register("model-" + m, "p?concurrency=0", false);
    }
    for (int m = 0; m < MODELS; m++) {
      String id = "model-" + m;
      pods.forEach(pod -> pod.awaitKnown(id));
    }
    List<GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub> stubs =
        pods.stream().map(pod -> pod.inference()).toList();
    List<Callable<Status>> calls = new ArrayList<>();
    for (int i = 0; i < CALLS; i++) {
      int n = i;
      calls.add(
          () -> {
            String id = "model-" + n * 7 % MODELS;
            try {
              ModelInferResponse answer =
                  stubs
                      .get(n % 3)
                      .withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS)
                      .modelInfer(PodUnderTest.request(id).toBuilder().setId("" + n).build());
              assertEquals(id, answer.getModelName());
              assertEquals("" + n, answer.getId());
              return Status.OK;
            } catch (StatusRuntimeException e) {
              return e.getStatus();
            }
          });
    }
    assertEquals(Map.of(Status.Code.OK, CALLS), run(calls));
    long loads = 0;
    int used = 0;
    for (RuntimeProcess runtime : runtimes) {
      List<String> mine =
          runtime.told().stream().filter(line -> line.startsWith("load model-")).toList();
      assertEquals(mine.size(), Set.copyOf(mine).size(), "one runtime loaded a model twice");
      loads += mine.size();
      used += mine.isEmpty() ? 0 : 1;
    }
    assertEquals(3, used, "pods that got a model");
    // A call that a pod with a long queue sends back goes to another one, while the next call of
    // the same model, which expected that queue, is taken.
    assertTrue(loads <= MODELS + MOST_TWICE, loads + " loads of " + MODELS + " models");
  }

  @Test
  void twoMegabytesPassBothWaysByAnyPod() throws Exception {
    var unused = pods.getFirst().register("large", "p?concurrency=0", true);
    byte[] payload = new byte[2_000_000];
    new java.util.Random(5).nextBytes(payload);
    ModelInferRequest request =
        PodUnderTest.request("large").toBuilder()
            .addRawInputContents(ByteString.copyFrom(payload))
            .build();
    for (int i = 0; i < 60; i++) {
      ModelInferResponse answer = pods.get(i % 3).inference().modelInfer(request);
      assertEquals(request.getRawInputContents(0), answer.getRawOutputContents(0));
    }
    StatusRuntimeException tooLarge =
        org.junit.jupiter.api.Assertions.assertThrows(
            StatusRuntimeException.class,
            () -> {
              var none =
                  pods.getFirst()
                      .inference()
                      .modelInfer(
                          request.toBuilder()
                              .addRawInputContents(ByteString.copyFrom(new byte[16 << 20]))
                              .build());
            });
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, tooLarge.getStatus().getCode());
  }

  /**
   * One call at a time for each copy and one in line; the third is refused, as no other copy is
   * there.
   */
  @Test
  void aCopyRunsAsManyCallsAsItsRuntimeSaysAndNoMore() throws Exception {
    var unused = pods.getFirst().register("narrow", "p?concurrency=1&runMs=2000", true);
    pods.forEach(pod -> pod.awaitStatus("narrow", ModelStatus.LOADED));
    List<Callable<Status>> calls = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      PodUnderTest to = pods.get(i % 3);
      calls.add(
          () -> {
            try {
              UnknownFieldSet answer =
                  ClientCalls.blockingUnaryCall(
                      to.channel("mm-model-id", "narrow"),
                      RuntimeGuess.ONE,
                      CallOptions.DEFAULT.withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS),
                      RuntimeGuess.request("x", ""));
              assertEquals(List.of("narrow:x"), RuntimeGuess.said(answer));
              return Status.OK;
            } catch (StatusRuntimeException e) {
              return e.getStatus();
            }
          });
    }
    Map<Status.Code, Integer> counts = run(calls);
    for (RuntimeProcess runtime : runtimes) {
      assertEquals(0, runtime.told("runs narrow 2"), "two calls ran at once");
    }
    assertEquals(2, counts.getOrDefault(Status.Code.OK, 0), counts.toString());
    assertEquals(4, counts.getOrDefault(Status.Code.RESOURCE_EXHAUSTED, 0), counts.toString());
    double waitedMs = 0;
    for (PodUnderTest pod : pods) {
      waitedMs +=
          pod.metrics()
              .lines()
              .filter(line -> line.startsWith("modelmesh_req_queue_delay_milliseconds_sum "))
              .mapToDouble(line -> Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1)))
              .sum();
    }
    assertTrue(waitedMs > 1_000, "the one in line waited " + waitedMs + " ms");
  }
}
