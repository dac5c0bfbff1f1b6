package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.GRPCInferenceServiceGrpc;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
