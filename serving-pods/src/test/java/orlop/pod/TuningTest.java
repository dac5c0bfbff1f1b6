package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import orlop.payload.PayloadLog;
import orlop.placement.Event;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.registry.LocalRegistry;
import orlop.runtime.RowsRuntime;

/** A model runs as its key says: how often at a time, how many rows together, how warm. */
class TuningTest {
  private static final PodConfig CONFIG =
      PodConfig.builder("pod-0", Memory.ram(1_000_000)).compute(4, 64).build();

  private static Tuning tuning(String key) {
    return Tuning.of(Model.of("m", FakeRuntime.TYPE, "fake:m", key, 1), CONFIG);
  }

  @Test
  void whatTheKeyDoesNotSayOrSaysOutOfRangeIsAsConfigured() {
    Tuning plain = new Tuning(4, 64, 20, 0);
    assertEquals(plain, tuning(""));
    assertEquals(plain, tuning("no JSON that names \"orlop\""));
    assertEquals(
        plain,
        tuning(
            "{\"orlop\":{\"instances\":0,\"batchRows\":4097,\"batchLatencyMs\":0,\"warmUp\":1001}}"));
    assertEquals(
        new Tuning(2, 0, 5, 7),
        tuning("{\"orlop\":{\"instances\":2,\"batchRows\":0,\"batchLatencyMs\":5,\"warmUp\":7}}"));
  }

  // ---- instances

  private static ListenableFuture<ModelInferResponse> begin(TestMesh mesh, String model) {
    return GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)))
        .withDeadlineAfter(60, TimeUnit.SECONDS)
        .modelInfer(TestMesh.request(model));
  }

  @Test
  void aModelRunsNoMoreOftenAtATimeThanItsInstancesAndTheOtherThreadsStayFree() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.registerWithKey("one", "{\"orlop\": {\"instances\": 1}}");
      mesh.register("other");
      CountDownLatch gate = new CountDownLatch(1);
      AtomicInteger running = new AtomicInteger();
      AtomicInteger most = new AtomicInteger();
      mesh.runtimes
          .getFirst()
          .functions
          .put(
              "one",
              request -> {
                most.accumulateAndGet(running.incrementAndGet(), Math::max);
                try {
                  assertTrue(gate.await(60, TimeUnit.SECONDS));
                } catch (InterruptedException e) {
                  throw new IllegalStateException(e);
                }
                running.decrementAndGet();
                return ModelInferResponse.getDefaultInstance();
              });
      List<ListenableFuture<ModelInferResponse>> calls = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        calls.add(begin(mesh, "one"));
      }
      TestMesh.await(
          "one run and a line", () -> running.get() == 1 && mesh.pod(0).queuedInferences() == 3);
      // With a run on each of the four threads it would have to wait.
      assertEquals("other", begin(mesh, "other").get().getModelName());
      assertEquals(3, mesh.pod(0).queuedInferences());
      gate.countDown();
      for (var call : calls) {
        assertEquals("one", call.get().getModelName());
      }
      assertEquals(1, most.get());
    }
  }

  // ---- warm-up

  private static final String WARM = "{\"orlop\": {\"warmUp\": 3}}";

  private static TensorMetadata tensor(String name, String datatype, long... shape) {
    TensorMetadata.Builder tensor = TensorMetadata.newBuilder().setName(name).setDatatype(datatype);
    for (long size : shape) {
      tensor.addShape(size);
    }
    return tensor.build();
  }

  /** What reaches a model of such inputs that is asked once, and fails on zeros if told to. */
  private static List<ModelInferRequest> heard(boolean failsOnZeros, TensorMetadata... inputs)
      throws Exception {
    List<ModelInferRequest> heard = new CopyOnWriteArrayList<>();
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.registerWithKey("m", WARM);
      FakeRuntime runtime = mesh.runtimes.getFirst();
      runtime.metadata.put(
          "m", ModelMetadataResponse.newBuilder().addAllInputs(List.of(inputs)).build());
      runtime.functions.put(
          "m",
          request -> {
            heard.add(request);
            if (failsOnZeros && request.getRawInputContentsCount() > 0) {
              throw new IllegalStateException("not on zeros");
            }
            return ModelInferResponse.getDefaultInstance();
          });
      assertEquals("m", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")).getModelName());
    }
    assertEquals(TestMesh.request("m"), heard.removeLast(), "the caller's comes last");
    return heard;
  }

  @Test
  void aModelRunsOnZerosAsOftenAsItsKeySaysBeforeItsFirstCaller() throws Exception {
    List<ModelInferRequest> zeros =
        heard(
            false,
            tensor("a", "FP32", -1, 4),
            tensor("b", "INT64", 2),
            tensor("c", "BYTES", -1),
            tensor("d", "BOOL"));
    assertEquals(3, zeros.size());
    ModelInferRequest first = zeros.getFirst();
    assertEquals(List.of(1L, 4L), first.getInputs(0).getShapeList());
    assertEquals("INT64", first.getInputs(1).getDatatype());
    assertEquals(
        List.of(16, 16, 4, 1),
        first.getRawInputContentsList().stream().map(ByteString::size).toList());
    assertTrue(
        first.getRawInputContentsList().stream()
            .allMatch(raw -> raw.equals(ByteString.copyFrom(new byte[raw.size()]))));
  }

  @Test
  void aModelThatCannotRunOnZerosIsServedAllTheSame() throws Exception {
    assertEquals(1, heard(true, tensor("a", "FP32", -1, 4)).size());
  }

  @Test
  void aModelWhoseRowIsHugeIsNotWarmedUp() throws Exception {
    assertEquals(List.of(), heard(false, tensor("a", "FP32", 1 << 13, 1 << 13)));
    assertEquals(List.of(), heard(false, tensor("a", "FP32", Long.MAX_VALUE, 2)));
  }

  // ---- rows

  /** A pod with one thread, and a model of which several rows are known to take five seconds. */
  private static final class Slow implements AutoCloseable {
    final RowsRuntime rows = new RowsRuntime();
    final LocalRegistry registry = new LocalRegistry();
    final ServingPod pod;
    final ManagedChannel channel;

    Slow() throws Exception {
      pod =
          ServingPod.start(
              PodConfig.builder("pod-0", Memory.ram(1_000_000))
                  .host("127.0.0.1")
                  .ports(0, 0, 0, 0)
                  .compute(1, 64)
                  .build(),
              registry,
              new FakeStore(),
              List.of(rows),
              PayloadLog.disabled(),
              List.of());
      channel = NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort()).usePlaintext().build();
      String key = "{\"orlop\": {\"batchRows\": 8, \"batchLatencyMs\": 10000}}";
      Model model = registry.createModel(Model.of("m", RowsRuntime.TYPE, "fake:m", key, 1));
      assertTrue(pod.host().want(model, 1, Event.Purpose.ONLINE, null));
      TestMesh.await("the model", () -> pod.host().isLoaded("m"));
      Slot<Held> slot = Objects.requireNonNull(pod.host().slots().get("m"));
      Batcher batcher = slot.held().lane().batcher;
      for (int i = 0; i < 200; i++) {
        int together = batcher.limit();
        List<Inference> calls = Collections.nCopies(together, null);
        batcher.ran(new Batcher.Batch(calls, together, true), 5_000_000_000L);
      }
      assertEquals(8, batcher.limit());
    }

    private ListenableFuture<ModelInferResponse> begin(String id, int deadlineMs) {
      return GRPCInferenceServiceGrpc.newFutureStub(channel)
          .withDeadlineAfter(deadlineMs, TimeUnit.MILLISECONDS)
          .modelInfer(
              ModelInferRequest.newBuilder()
                  .setModelName("m")
                  .setId(id)
                  .addInputs(
                      InferInputTensor.newBuilder().setName("x").setDatatype("FP32").addShape(1))
                  .addRawInputContents(ByteString.copyFrom(new byte[4]))
                  .build());
    }

    /** The runs of four that waited for the thread, when the third has so much time. */
    List<List<String>> runs(int deadlineMs) throws Exception {
      rows.runs.clear();
      rows.gate = new CountDownLatch(1);
      List<ListenableFuture<ModelInferResponse>> calls = new ArrayList<>();
      calls.add(begin("first", 60_000));
      TestMesh.await("the thread to be busy", () -> rows.runs.size() == 1);
      for (String id : List.of("a", "b", "c", "d")) {
        int waiting = calls.size();
        calls.add(begin(id, id.equals("c") ? deadlineMs : 60_000));
        TestMesh.await("it to wait", () -> pod.queuedInferences() == waiting);
      }
      rows.gate.countDown();
      for (var call : calls) {
        assertEquals("m", call.get().getModelName());
      }
      return List.copyOf(rows.runs);
    }

    @Override
    public void close() throws Exception {
      channel.shutdownNow();
      pod.close();
      registry.close();
    }
  }

  private static List<List<String>> batches(List<List<String>> runs) {
    return runs.stream().filter(run -> run.size() > 1).toList();
  }

  @Test
  void aBatchLeavesOutWhoWouldMissItsDeadlineInIt() throws Exception {
    try (Slow slow = new Slow()) {
      assertEquals(List.of(List.of("a", "b", "c", "d")), batches(slow.runs(60_000)));
      List<List<String>> runs = slow.runs(3_000);
      assertEquals(List.of(List.of("a", "b")), batches(runs));
      assertEquals(List.of(List.of("c"), List.of("d")), runs.subList(runs.size() - 2, runs.size()));
    }
  }
}
