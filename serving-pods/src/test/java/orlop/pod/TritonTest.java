package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.CudaSharedMemoryRegisterRequest;
import inference.CudaSharedMemoryStatusRequest;
import inference.CudaSharedMemoryUnregisterRequest;
import inference.DataType;
import inference.GRPCInferenceServiceGrpc;
import inference.InferParameter;
import inference.LogSettingsRequest;
import inference.ModelConfig;
import inference.ModelConfigRequest;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import inference.ModelReadyRequest;
import inference.ModelStatistics;
import inference.ModelStatisticsRequest;
import inference.RepositoryIndexRequest;
import inference.RepositoryModelLoadRequest;
import inference.RepositoryModelLoadResponse;
import inference.RepositoryModelUnloadRequest;
import inference.ServerMetadataRequest;
import inference.TraceSettingRequest;
import io.grpc.Status;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.reflection.v1.ServerReflectionGrpc;
import io.grpc.reflection.v1.ServerReflectionRequest;
import io.grpc.reflection.v1.ServerReflectionResponse;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import orlop.api.LoadRequest;
import orlop.api.PodControlGrpc;

/** What Triton's clients call beside inferences, by a client of grpc-java over a real port. */
class TritonTest {
  private static TestMesh mesh;

  private static TensorMetadata tensor(String name, String type, long... shape) {
    TensorMetadata.Builder tensor = TensorMetadata.newBuilder().setName(name).setDatatype(type);
    for (long dimension : shape) {
      tensor.addShape(dimension);
    }
    return tensor.build();
  }

  @BeforeAll
  static void start() throws Exception {
    mesh = new TestMesh(2);
    for (String id : List.of("batched", "plain", "counted", "moved")) {
      mesh.register(id);
    }
    mesh.alias("named", "batched");
    for (FakeRuntime runtime : mesh.runtimes) {
      ModelMetadataResponse batched =
          ModelMetadataResponse.newBuilder()
              .setName("batched")
              .setPlatform("onnxruntime_onnx")
              .addInputs(tensor("x", "FP32", -1, 4))
              .addInputs(tensor("s", "BYTES", -1, -1))
              .addOutputs(tensor("y", "INT64", -1))
              .putProperties("orlop.note", "kept")
              .build();
      runtime.metadata.put("batched", batched);
      runtime.metadata.put("counted", batched);
      runtime.metadata.put(
          "plain",
          ModelMetadataResponse.newBuilder()
              .setPlatform("xgboost")
              .addInputs(tensor("x", "FP16", -1, 4))
              .addOutputs(tensor("y", "BOOL", 3))
              .build());
    }
  }

  @AfterAll
  static void stop() {
    mesh.close();
  }

  private static GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub client() {
    return mesh.client(mesh.pod(0));
  }

  @Test
  void itsConfigurationLeavesTheBatchOutOfTheShapesExactlyWhereThereIsOne() {
    ModelConfig batched = config("named");
    assertEquals("named", batched.getName());
    assertEquals("onnxruntime_onnx", batched.getPlatform());
    assertEquals("onnxruntime", batched.getBackend());
    assertTrue(batched.getMaxBatchSize() > 0);
    assertEquals(List.of(4L), batched.getInput(0).getDimsList());
    assertEquals(DataType.TYPE_FP32, batched.getInput(0).getDataType());
    assertEquals(List.of(-1L), batched.getInput(1).getDimsList());
    assertEquals(DataType.TYPE_STRING, batched.getInput(1).getDataType());
    assertEquals(List.of(), batched.getOutput(0).getDimsList());
    assertEquals(1, batched.getVersionPolicy().getLatest().getNumVersions());
    assertEquals(4, batched.getInstanceGroup(0).getCount());
    assertEquals("kept", batched.getParametersOrThrow("orlop.note").getStringValue());
    ModelMetadataResponse metadata =
        client().modelMetadata(ModelMetadataRequest.newBuilder().setName("named").build());
    assertEquals("named", metadata.getName());
    assertEquals(List.of("1"), metadata.getVersionsList());
    assertEquals(List.of(-1L, 4L), metadata.getInputs(0).getShapeList());

    ModelConfig plain = config("plain");
    assertEquals(0, plain.getMaxBatchSize());
    assertEquals(List.of(-1L, 4L), plain.getInput(0).getDimsList());
    assertEquals("xgboost", plain.getBackend());
  }

  private static ModelConfig config(String name) {
    return client().modelConfig(ModelConfigRequest.newBuilder().setName(name).build()).getConfig();
  }

  @Test
  void anUnknownVersionIsNotFoundByEveryMethodAndTheAnswerNamesTheOneThatRan() {
    for (String version : List.of("", "1")) {
      ModelInferRequest request =
          TestMesh.request("named").toBuilder().setModelVersion(version).setId("7").build();
      ModelInferResponse answer = client().modelInfer(request);
      assertEquals("1", answer.getModelVersion());
      assertEquals("named", answer.getModelName());
      assertEquals("7", answer.getId());
      assertTrue(
          client()
              .modelReady(
                  ModelReadyRequest.newBuilder().setName("named").setVersion(version).build())
              .getReady());
    }
    List<Status> refusals =
        List.of(
            TestMesh.failure(
                () ->
                    client()
                        .modelInfer(
                            TestMesh.request("named").toBuilder().setModelVersion("2").build())),
            TestMesh.failure(
                () ->
                    client()
                        .modelMetadata(
                            ModelMetadataRequest.newBuilder()
                                .setName("named")
                                .setVersion("2")
                                .build())),
            TestMesh.failure(
                () ->
                    client()
                        .modelReady(
                            ModelReadyRequest.newBuilder()
                                .setName("named")
                                .setVersion("2")
                                .build())),
            TestMesh.failure(
                () ->
                    client()
                        .modelConfig(
                            ModelConfigRequest.newBuilder()
                                .setName("named")
                                .setVersion("2")
                                .build())),
            TestMesh.failure(
                () ->
                    client()
                        .modelStatistics(
                            ModelStatisticsRequest.newBuilder()
                                .setName("named")
                                .setVersion("2")
                                .build())));
    for (Status refusal : refusals) {
      assertEquals(Status.Code.NOT_FOUND, refusal.getCode());
      assertEquals("model 'named' has no version '2', it has version 1", refusal.getDescription());
    }
  }

  @Test
  void parametersComeBackExceptThoseThatDirectTheServer() {
    ModelInferRequest request =
        TestMesh.request("plain").toBuilder()
            .putParameters("mine", InferParameter.newBuilder().setDoubleParam(2.5).build())
            .putParameters("priority", InferParameter.newBuilder().setInt64Param(1).build())
            .build();
    ModelInferResponse answer = client().modelInfer(request);
    assertEquals(2.5, answer.getParametersOrThrow("mine").getDoubleParam());
    assertFalse(answer.containsParameters("priority"));
  }

  @Test
  void statisticsOfANamedModelAreTheSumOverItsPods() {
    for (int i = 0; i < 3; i++) {
      client().modelInfer(TestMesh.request("counted"));
    }
    TestMesh.failure(
        () ->
            client()
                .modelInfer(TestMesh.request("counted").toBuilder().setModelVersion("9").build()));
    for (ServingPod pod : mesh.pods) {
      ModelStatistics stats =
          mesh.client(pod)
              .modelStatistics(ModelStatisticsRequest.newBuilder().setName("counted").build())
              .getModelStats(0);
      assertEquals("counted", stats.getName());
      assertEquals("1", stats.getVersion());
      assertEquals(6, stats.getInferenceCount(), "three requests of two rows");
      assertEquals(3, stats.getExecutionCount());
      assertEquals(3, stats.getInferenceStats().getSuccess().getCount());
      assertEquals(1, stats.getInferenceStats().getFail().getCount());
      assertEquals(3, stats.getInferenceStats().getComputeInfer().getCount());
      assertEquals(2, stats.getBatchStats(0).getBatchSize());
      assertEquals(3, stats.getBatchStats(0).getComputeInfer().getCount());
      assertEquals(1, stats.getMemoryUsageCount());
      assertEquals(1_000, stats.getMemoryUsage(0).getByteSize());
      assertTrue(stats.getLastInference() > 1_000_000_000_000L);
    }
    List<ModelStatistics> all = new ArrayList<>();
    for (ServingPod pod : mesh.pods) {
      all.addAll(
          mesh.client(pod)
              .modelStatistics(ModelStatisticsRequest.getDefaultInstance())
              .getModelStatsList());
    }
    assertTrue(all.stream().anyMatch(stats -> stats.getName().equals("counted")));
  }

  @Test
  void loadsAndUnloadsByTheMessagesOfTritonAndOfKserve() throws Exception {
    var tritons = RepositoryModelLoadRequest.newBuilder().setModelName("moved");
    var kserves = RepositoryModelLoadRequest.newBuilder().setRepositoryName("moved");
    for (RepositoryModelLoadRequest.Builder request : List.of(tritons, kserves)) {
      RepositoryModelLoadResponse loaded = client().repositoryModelLoad(request.build());
      assertEquals("moved", loaded.getModelName());
      assertTrue(loaded.getIsLoaded());
      assertEquals("READY", state("moved"));
      var unload =
          RepositoryModelUnloadRequest.newBuilder()
              .setRepositoryName(request.getRepositoryName())
              .setModelName(request.getModelName())
              .build();
      assertTrue(client().repositoryModelUnload(unload).getIsUnloaded());
      TestMesh.await("the unload", () -> state("moved").equals("UNAVAILABLE"));
    }
    Status unknown =
        TestMesh.failure(
            () ->
                client()
                    .repositoryModelLoad(
                        RepositoryModelLoadRequest.newBuilder().setModelName("nobody").build()));
    assertEquals(Status.Code.NOT_FOUND, unknown.getCode());
    Status changed =
        TestMesh.failure(
            () ->
                client()
                    .repositoryModelLoad(
                        tritons
                            .clone()
                            .putParameters(
                                "config",
                                inference.ModelRepositoryParameter.newBuilder()
                                    .setStringParam("{}")
                                    .build())
                            .build()));
    assertEquals(Status.Code.INVALID_ARGUMENT, changed.getCode());
  }

  private static String state(String name) {
    return client()
        .repositoryIndex(RepositoryIndexRequest.getDefaultInstance())
        .getModelsList()
        .stream()
        .filter(model -> model.getName().equals(name))
        .findFirst()
        .orElseThrow()
        .getState();
  }

  @Test
  void theIndexOfReadyModelsNamesNoOthers() {
    client().modelInfer(TestMesh.request("plain"));
    var ready =
        client()
            .repositoryIndex(RepositoryIndexRequest.newBuilder().setReady(true).build())
            .getModelsList();
    assertTrue(ready.stream().allMatch(model -> model.getState().equals("READY")));
    assertTrue(ready.stream().anyMatch(model -> model.getName().equals("plain")));
    var all = client().repositoryIndex(RepositoryIndexRequest.getDefaultInstance()).getModelsList();
    assertTrue(all.stream().anyMatch(model -> model.getName().equals("named")));
    assertTrue(all.stream().allMatch(model -> model.getVersion().equals("1")));
  }

  @Test
  void unloadsInThePodsThatAnswer() throws Exception {
    try (TestMesh own = new TestMesh(3)) {
      own.register("m");
      for (ServingPod pod : own.pods) {
        var unused =
            PodControlGrpc.newBlockingStub(own.channel(pod))
                .load(LoadRequest.newBuilder().setModelId("m").setWait(true).build());
      }
      TestMesh.await("three copies", () -> own.loadedCopies("m") == 3);
      own.pod(1).crash();
      var unload = RepositoryModelUnloadRequest.newBuilder().setModelName("m").build();
      Status failure = TestMesh.failure(() -> own.client(own.pod(0)).repositoryModelUnload(unload));
      assertEquals(Status.Code.UNAVAILABLE, failure.getCode());
      assertTrue(String.valueOf(failure.getDescription()).contains("'pod-1'"));
      for (int pod : new int[] {0, 2}) {
        TestMesh.await("the unload", () -> own.runtimes.get(pod).loaded.get() == 0);
      }
    }
  }

  @Test
  void itsConfigurationTellsHowManyRunAtATime() throws Exception {
    mesh.registerWithKey("single", "{\"orlop\": {\"instances\": 1}}");
    assertEquals(1, config("single").getInstanceGroup(0).getCount());
  }

  @Test
  void namesWhatItHasAndRefusesWhatItHasNot() {
    var extensions =
        client().serverMetadata(ServerMetadataRequest.getDefaultInstance()).getExtensionsList();
    assertTrue(extensions.contains("statistics"));
    assertTrue(extensions.contains("system_shared_memory"));
    assertFalse(extensions.contains("cuda_shared_memory"));
    assertFalse(extensions.contains("trace"));
    assertEquals(
        0,
        client()
            .cudaSharedMemoryStatus(CudaSharedMemoryStatusRequest.getDefaultInstance())
            .getRegionsCount());
    var nothing =
        client().cudaSharedMemoryUnregister(CudaSharedMemoryUnregisterRequest.getDefaultInstance());
    assertEquals(0, nothing.getSerializedSize());
    Status cuda =
        TestMesh.failure(
            () ->
                client()
                    .cudaSharedMemoryRegister(
                        CudaSharedMemoryRegisterRequest.newBuilder().setName("g").build()));
    assertEquals(Status.Code.UNIMPLEMENTED, cuda.getCode());
    assertTrue(String.valueOf(cuda.getDescription()).contains("'g'"));
  }

  @Test
  void logSettingsChangeTheLevelOfOurLoggersAndTraceSettingsStayOff() {
    var ours = System.getLogger("orlop.pod.TritonTest");
    assertTrue(ours.isLoggable(System.Logger.Level.INFO));
    var quiet =
        client()
            .logSettings(
                LogSettingsRequest.newBuilder()
                    .putSettings(
                        "log_info",
                        LogSettingsRequest.SettingValue.newBuilder().setBoolParam(false).build())
                    .build());
    assertFalse(quiet.getSettingsOrThrow("log_info").getBoolParam());
    assertTrue(quiet.getSettingsOrThrow("log_warning").getBoolParam());
    assertFalse(ours.isLoggable(System.Logger.Level.INFO));
    var loud =
        client()
            .logSettings(
                LogSettingsRequest.newBuilder()
                    .putSettings(
                        "log_info",
                        LogSettingsRequest.SettingValue.newBuilder().setBoolParam(true).build())
                    .build());
    assertTrue(loud.getSettingsOrThrow("log_info").getBoolParam());
    assertEquals(0, loud.getSettingsOrThrow("log_verbose_level").getUint32Param());
    assertTrue(ours.isLoggable(System.Logger.Level.INFO));
    Status unknown =
        TestMesh.failure(
            () ->
                client()
                    .logSettings(
                        LogSettingsRequest.newBuilder()
                            .putSettings(
                                "loud", LogSettingsRequest.SettingValue.getDefaultInstance())
                            .build()));
    assertEquals(Status.Code.INVALID_ARGUMENT, unknown.getCode());

    var traces = client().traceSetting(TraceSettingRequest.getDefaultInstance());
    assertEquals("OFF", traces.getSettingsOrThrow("trace_level").getValue(0));
    Status on =
        TestMesh.failure(
            () ->
                client()
                    .traceSetting(
                        TraceSettingRequest.newBuilder()
                            .putSettings(
                                "trace_level",
                                TraceSettingRequest.SettingValue.newBuilder()
                                    .addValue("TIMESTAMPS")
                                    .build())
                            .build()));
    assertEquals(Status.Code.UNIMPLEMENTED, on.getCode());
    Status nobody =
        TestMesh.failure(
            () ->
                client()
                    .traceSetting(TraceSettingRequest.newBuilder().setModelName("nobody").build()));
    assertEquals(Status.Code.NOT_FOUND, nobody.getCode());
  }

  @Test
  void healthIsToldByServiceAndReflectionListsTheWholeService() throws Exception {
    var health = HealthGrpc.newBlockingStub(mesh.channel(mesh.pod(0)));
    for (String service : List.of("", "inference.GRPCInferenceService", "grpc.health.v1.Health")) {
      assertEquals(
          ServingStatus.SERVING,
          health.check(HealthCheckRequest.newBuilder().setService(service).build()).getStatus());
    }
    Status unknown =
        TestMesh.failure(
            () -> health.check(HealthCheckRequest.newBuilder().setService("nobody").build()));
    assertEquals(Status.Code.NOT_FOUND, unknown.getCode());

    CompletableFuture<ServerReflectionResponse> told = new CompletableFuture<>();
    StreamObserver<ServerReflectionRequest> asking =
        ServerReflectionGrpc.newStub(mesh.channel(mesh.pod(0)))
            .serverReflectionInfo(
                new StreamObserver<>() {
                  @Override
                  public void onNext(ServerReflectionResponse answer) {
                    told.complete(answer);
                  }

                  @Override
                  public void onError(Throwable e) {
                    told.completeExceptionally(e);
                  }

                  @Override
                  public void onCompleted() {}
                });
    asking.onNext(
        ServerReflectionRequest.newBuilder()
            .setFileContainingSymbol("inference.GRPCInferenceService")
            .build());
    var file =
        com.google.protobuf.DescriptorProtos.FileDescriptorProto.parseFrom(
            told.get(60, TimeUnit.SECONDS).getFileDescriptorResponse().getFileDescriptorProto(0));
    asking.onCompleted();
    assertEquals(20, file.getService(0).getMethodCount());
  }

  @Test
  void namesByHeaderAreHeardByTheMethodsOfThisPodToo() {
    var client = mesh.client(mesh.pod(0), Map.of("mm-vmodel-id", "named"));
    ModelConfig config =
        client.modelConfig(ModelConfigRequest.newBuilder().setName("other").build()).getConfig();
    assertEquals("named", config.getName());
  }
}
