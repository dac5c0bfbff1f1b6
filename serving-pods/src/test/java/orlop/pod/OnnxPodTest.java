package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.buffer.PoolArenaMetric;
import io.netty.buffer.PooledByteBufAllocator;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.payload.PayloadLog;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.puller.ModelPuller;
import orlop.puller.PullerConfig;
import orlop.registry.LocalRegistry;
import orlop.runtime.OnnxModels;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;

/** Nothing fake: ONNX files, the puller, ONNX Runtime and two pods. */
class OnnxPodTest {
  @TempDir Path dir;

  private static PodConfig config(String id) {
    return PodConfig.builder(id, Memory.ram(256L << 20))
        .host("127.0.0.1")
        .ports(0, 0, 0, 0)
        .drainTimeoutMs(5_000)
        .build();
  }

  private static ModelInferRequest request(String model, float... x) {
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    for (float value : x) {
      contents.addFp32Contents(value);
    }
    return ModelInferRequest.newBuilder()
        .setModelName(model)
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("x")
                .setDatatype("FP32")
                .addShape(1)
                .addShape(x.length)
                .setContents(contents))
        .build();
  }

  @Test
  void servesOnnxModelsOverBothFrontsOfBothPods() throws Exception {
    Path good = Files.write(dir.resolve("linear.onnx"), OnnxModels.linear(0.5f, 1, 2));
    Path bad = Files.write(dir.resolve("bad.onnx"), "no model".getBytes(StandardCharsets.UTF_8));
    PullerConfig pulling = PullerConfig.defaults(dir.resolve("cache"), 64L << 20);
    try (LocalRegistry registry = new LocalRegistry();
        ModelPuller puller = new ModelPuller(pulling);
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod a = start("a", registry, puller, runtime);
        ServingPod b = start("b", registry, puller, runtime)) {
      registry.createModel(Model.of("linear", "onnx", good.toUri().toString(), "", 1));
      registry.createModel(Model.of("bad", "onnx", bad.toUri().toString(), "", 1));
      for (ServingPod pod : List.of(a, b, a)) {
        ManagedChannel channel =
            NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort()).usePlaintext().build();
        try {
          var client =
              GRPCInferenceServiceGrpc.newBlockingStub(channel)
                  .withDeadlineAfter(60, TimeUnit.SECONDS);
          ModelInferResponse answer = client.modelInfer(request("linear", 10, 20));
          assertEquals(List.of(50.5f), answer.getOutputs(0).getContents().getFp32ContentsList());
          assertEquals("linear", answer.getModelName());
          var metadata =
              client.modelMetadata(ModelMetadataRequest.newBuilder().setName("linear").build());
          assertEquals("x", metadata.getInputs(0).getName());
          Status shape = TestMesh.failure(() -> client.modelInfer(request("linear", 1, 2, 3)));
          assertEquals(Status.Code.INVALID_ARGUMENT, shape.getCode());
          Status broken = TestMesh.failure(() -> client.modelInfer(request("bad", 1)));
          assertEquals(Status.Code.FAILED_PRECONDITION, broken.getCode());
          assertTrue(String.valueOf(broken.getDescription()).contains("bad"));
        } finally {
          channel.shutdownNow();
        }
      }
      assertEquals(
          1,
          a.stats().loads()
              + b.stats().loads()
              - a.stats().loadFailures()
              - b.stats().loadFailures());
      assertTrue(a.stats().hops() + b.stats().hops() > 0);
    }
  }

  private static ModelInferRequest rawRequest(String model, int rows, float first) {
    ByteBuffer raw = ByteBuffer.allocate(rows * 2 * 4).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < 2 * rows; i++) {
      raw.putFloat(first + i);
    }
    return ModelInferRequest.newBuilder()
        .setModelName(model)
        .setId("id-" + first)
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("x")
                .setDatatype("FP32")
                .addShape(rows)
                .addShape(2))
        .addRawInputContents(ByteString.copyFrom(raw.flip()))
        .build();
  }

  private static ModelInferRequest wide(int size) {
    return ModelInferRequest.newBuilder()
        .setModelName("heavy")
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("x")
                .setDatatype("FP32")
                .addShape(size)
                .addShape(size))
        .addRawInputContents(ByteString.copyFrom(new byte[size * size * 4]))
        .build();
  }

  private static void requireAnswer(ModelInferResponse answer, int rows, float first) {
    assertEquals("id-" + first, answer.getId());
    assertEquals(List.of((long) rows, 1L), answer.getOutputs(0).getShapeList());
    ByteBuffer y =
        answer.getRawOutputContents(0).asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    for (int row = 0; row < rows; row++) {
      float at = first + 2 * row;
      assertEquals(0.5f + at + 2 * (at + 1), y.getFloat());
    }
    assertFalse(y.hasRemaining());
  }

  /** Calls that begin while the only compute thread is busy; each gets what it alone would get. */
  @Test
  void callsThatGatherRunTogetherAndEachGetsItsOwnRows() throws Exception {
    Path heavy = Files.write(dir.resolve("heavy.onnx"), OnnxModels.slow(256, 60));
    Path linear = Files.write(dir.resolve("linear.onnx"), OnnxModels.linear(0.5f, 1, 2));
    PullerConfig pulling = PullerConfig.defaults(dir.resolve("cache"), 64L << 20);
    try (LocalRegistry registry = new LocalRegistry();
        ModelPuller puller = new ModelPuller(pulling);
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod pod = start("a", registry, puller, runtime)) {
      String oneAtATime = "{\"orlop\": {\"instances\": 1, \"warmUp\": 2}}";
      registry.createModel(Model.of("heavy", "onnx", heavy.toUri().toString(), "", 1));
      registry.createModel(Model.of("linear", "onnx", linear.toUri().toString(), oneAtATime, 1));
      ManagedChannel channel =
          NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort()).usePlaintext().build();
      try {
        var client = GRPCInferenceServiceGrpc.newFutureStub(channel);
        ModelInferRequest wide = wide(256);
        requireAnswer(client.modelInfer(rawRequest("linear", 1, 7)).get(), 1, 7);
        long calls = 1;
        long rows = 1;
        long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        do {
          List<Future<?>> busy = new ArrayList<>();
          for (int i = 0; i < 4; i++) {
            busy.add(client.modelInfer(wide));
          }
          List<Future<ModelInferResponse>> answers = new ArrayList<>();
          for (int i = 0; i < 40; i++) {
            answers.add(client.modelInfer(rawRequest("linear", 1 + i % 3, i)));
          }
          for (int i = 0; i < 40; i++) {
            requireAnswer(answers.get(i).get(60, TimeUnit.SECONDS), 1 + i % 3, i);
            calls++;
            rows += 1 + i % 3;
          }
          for (Future<?> each : busy) {
            each.get(60, TimeUnit.SECONDS);
          }
        } while (executions(pod) == calls && System.nanoTime() < deadlineNs);
        assertTrue(executions(pod) < calls, executions(pod) + " runs for " + calls + " calls");
        assertEquals(rows, figures(pod).inferences());
        assertEquals(calls, figures(pod).success().count());
      } finally {
        channel.shutdownNow();
      }
    }
  }

  /** The softmax over all rows is 1 for a row that is alone, and less for one in company. */
  @Test
  void aModelWhoseRowsTouchOneAnotherAnswersEachCallAsIfItWasAlone() throws Exception {
    Path heavy = Files.write(dir.resolve("heavy.onnx"), OnnxModels.slow(256, 60));
    Path across = Files.write(dir.resolve("across.onnx"), OnnxModels.acrossRows(2));
    PullerConfig pulling = PullerConfig.defaults(dir.resolve("cache"), 64L << 20);
    try (LocalRegistry registry = new LocalRegistry();
        ModelPuller puller = new ModelPuller(pulling);
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod pod = start("a", registry, puller, runtime)) {
      String oneAtATime = "{\"orlop\": {\"instances\": 1, \"warmUp\": 2}}";
      registry.createModel(Model.of("heavy", "onnx", heavy.toUri().toString(), "", 1));
      registry.createModel(Model.of("linear", "onnx", across.toUri().toString(), oneAtATime, 1));
      ManagedChannel channel =
          NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort()).usePlaintext().build();
      try {
        var client = GRPCInferenceServiceGrpc.newFutureStub(channel);
        client.modelInfer(rawRequest("linear", 1, 7)).get();
        long calls = 1;
        int roundsAfter = 0;
        long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (roundsAfter < 3 && System.nanoTime() < deadlineNs) {
          List<Future<?>> busy = new ArrayList<>();
          for (int i = 0; i < 4; i++) {
            busy.add(client.modelInfer(wide(256)));
          }
          List<Future<ModelInferResponse>> answers = new ArrayList<>();
          for (int i = 0; i < 40; i++) {
            answers.add(client.modelInfer(rawRequest("linear", 1, i)));
          }
          for (Future<ModelInferResponse> each : answers) {
            ByteString y = each.get(60, TimeUnit.SECONDS).getRawOutputContents(0);
            ByteBuffer row = y.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
            assertEquals(1f, row.getFloat());
            assertEquals(1f, row.getFloat());
            calls++;
          }
          for (Future<?> each : busy) {
            each.get(60, TimeUnit.SECONDS);
          }
          roundsAfter += executions(pod) < calls ? 1 : 0;
        }
        assertEquals(3, roundsAfter, "no calls ever gathered");
      } finally {
        channel.shutdownNow();
      }
    }
  }

  private static ModelStats.Figures figures(ServingPod pod) {
    return Objects.requireNonNull(pod.host().stats("linear")).figures();
  }

  private static long executions(ServingPod pod) {
    return figures(pod).executions();
  }

  @Test
  void quickModelsRunWithoutWaitingForAComputeThread() throws Exception {
    Path heavy = Files.write(dir.resolve("heavy.onnx"), OnnxModels.slow(512, 2_000));
    Path linear = Files.write(dir.resolve("linear.onnx"), OnnxModels.linear(0.5f, 1, 2));
    PullerConfig pulling = PullerConfig.defaults(dir.resolve("cache"), 64L << 20);
    try (LocalRegistry registry = new LocalRegistry();
        ModelPuller puller = new ModelPuller(pulling);
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod pod = start("a", registry, puller, runtime)) {
      registry.createModel(Model.of("heavy", "onnx", heavy.toUri().toString(), "", 1));
      registry.createModel(Model.of("linear", "onnx", linear.toUri().toString(), "", 1));
      ManagedChannel channel =
          NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort()).usePlaintext().build();
      try {
        var client = GRPCInferenceServiceGrpc.newFutureStub(channel);
        for (int i = 0; i < 30; i++) {
          requireAnswer(client.modelInfer(rawRequest("linear", 1, i)).get(), 1, i);
        }
        ModelInferRequest wide = wide(512);
        List<Future<?>> busy = new ArrayList<>();
        for (int i = 0; i < 64; i++) {
          busy.add(client.modelInfer(wide));
        }
        TestMesh.await("all threads to be busy", () -> pod.queuedInferences() > 0);
        requireAnswer(
            client.modelInfer(rawRequest("linear", 1, 5)).get(60, TimeUnit.SECONDS), 1, 5);
        assertTrue(busy.stream().anyMatch(each -> !each.isDone()), "it waited for all of them");
        busy.forEach(each -> each.cancel(true));
        TestMesh.await("the cancelled runs to stop", () -> pod.queuedInferences() == 0);
      } finally {
        channel.shutdownNow();
      }
    }
  }

  /** Of this model the pod takes memory for the answer before the run, once it knows how much. */
  @Test
  void aRunThatFailsGivesBackTheMemoryForItsAnswer() throws Exception {
    Path zeros = Files.write(dir.resolve("zeros.onnx"), OnnxModels.zerosOfShape());
    PullerConfig pulling = PullerConfig.defaults(dir.resolve("cache"), 64L << 20);
    try (LocalRegistry registry = new LocalRegistry();
        ModelPuller puller = new ModelPuller(pulling);
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod pod = start("a", registry, puller, runtime)) {
      registry.createModel(Model.of("zeros", "onnx", zeros.toUri().toString(), "", 1));
      ManagedChannel channel =
          NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort())
              .usePlaintext()
              .maxInboundMessageSize(64 << 20)
              .build();
      try {
        var client = GRPCInferenceServiceGrpc.newBlockingStub(channel);
        long before = hugeBuffers();
        for (int i = 0; i < 6; i++) {
          ModelInferResponse answer = client.modelInfer(zeros(2 << 20));
          assertEquals(8 << 20, answer.getRawOutputContents(0).size());
          Status refused = TestMesh.failure(() -> client.modelInfer(zeros(-1)));
          assertTrue(String.valueOf(refused.getDescription()).contains("zeros"));
        }
        ModelInferResponse other = client.modelInfer(zeros(3 << 20));
        assertEquals(12 << 20, other.getRawOutputContents(0).size());
        TestMesh.await("all large buffers to be free", () -> hugeBuffers() <= before);
      } finally {
        channel.shutdownNow();
      }
    }
  }

  private static ModelInferRequest zeros(long count) {
    ByteBuffer raw = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(count);
    return ModelInferRequest.newBuilder()
        .setModelName("zeros")
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("x")
                .setDatatype("INT64")
                .addShape(1))
        .addRawInputContents(ByteString.copyFrom(raw.flip()))
        .build();
  }

  /** Those that are too large for Netty's pool, which counts them one by one. */
  private static long hugeBuffers() {
    return PooledByteBufAllocator.DEFAULT.metric().directArenas().stream()
        .mapToLong(PoolArenaMetric::numActiveHugeAllocations)
        .sum();
  }

  private static ServingPod start(
      String id, LocalRegistry registry, ModelPuller puller, OnnxRuntime runtime) throws Exception {
    return ServingPod.start(
        config(id),
        registry,
        ModelStore.of(puller),
        List.of(runtime),
        PayloadLog.disabled(),
        List.of());
  }
}
