package orlop.controller;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.NettyServerBuilder;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import mmesh.DeleteVModelRequest;
import mmesh.EnsureLoadedRequest;
import mmesh.GetStatusRequest;
import mmesh.GetVModelStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelMeshGrpc;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import mmesh.SetVModelRequest;
import mmesh.UnregisterModelRequest;
import mmesh.VModelStatusInfo;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Planner;
import orlop.placement.Router;
import orlop.registry.LocalRegistry;

/**
 * The promises of {@code mmesh.ModelMesh}, kept over real sockets with one pod that loads at once
 * and, where an alias moves, a controller that plans.
 */
final class ManagementServiceTest {
  private final LocalRegistry registry = new LocalRegistry();
  private ManagementService service;
  private FakePod pod;
  private Server server;
  private ManagedChannel channel;
  private ModelMeshGrpc.ModelMeshBlockingStub mesh;

  @BeforeEach
  void start() throws Exception {
    ControllerConfig config = ControllerConfig.defaults("test");
    service =
        new ManagementService(
            config, registry, new Router(new Placer()), System::currentTimeMillis);
    pod = new FakePod("pod-1", registry);
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .addService(service)
            .build()
            .start();
    channel = NettyChannelBuilder.forAddress("127.0.0.1", server.getPort()).usePlaintext().build();
    mesh = ModelMeshGrpc.newBlockingStub(channel);
  }

  @AfterEach
  void stop() {
    channel.shutdownNow();
    server.shutdownNow();
    service.close();
    pod.close();
    registry.close();
  }

  @Test
  void registeringTwiceWithEqualAttributesChangesNothing() {
    assertEquals(ModelStatusInfo.ModelStatus.NOT_LOADED, register("m", "s3://b/m").getStatus());
    assertEquals(ModelStatusInfo.ModelStatus.NOT_LOADED, register("m", "s3://b/m").getStatus());
    assertEquals(1, registry.view().modelCount());
  }

  @Test
  void registeringWithOtherAttributesIsRefusedAndNamesBoth() {
    register("m", "s3://b/m");
    StatusRuntimeException e = refused(() -> register("m", "s3://b/other"));
    assertEquals(Status.Code.ALREADY_EXISTS, e.getStatus().getCode());
    assertTrue(text(e).contains("s3://b/m") && text(e).contains("s3://b/other"));
  }

  @Test
  void registeringWithLoadNowAndSyncAnswersWhenACopyIsLoaded() {
    ModelStatusInfo status =
        mesh.registerModel(
            RegisterModelRequest.newBuilder()
                .setModelId("m")
                .setModelInfo(ModelInfo.newBuilder().setType("onnx").setPath("s3://b/m"))
                .setLoadNow(true)
                .setSync(true)
                .build());
    assertEquals(ModelStatusInfo.ModelStatus.LOADED, status.getStatus());
    assertEquals("pod-1", status.getModelCopyInfos(0).getLocation());
    assertEquals(ModelStatusInfo.ModelStatus.LOADED, status.getModelCopyInfos(0).getCopyStatus());
  }

  @Test
  void anAliasNameThatIsTooLongIsTheCallersMistake() {
    register("m", "s3://b/m");
    StatusRuntimeException e =
        refused(
            () ->
                mesh.setVModel(
                    SetVModelRequest.newBuilder()
                        .setVModelId("a".repeat(513))
                        .setTargetModelId("m")
                        .build()));
    assertEquals(Status.Code.INVALID_ARGUMENT, e.getStatus().getCode(), text(e));
    assertTrue(text(e).contains("512"), text(e));
  }

  @Test
  void connectionsToPodsThatAreGoneAreClosed() throws Exception {
    pod.close();
    for (int i = 0; i < 3; i++) {
      try (FakePod passing = new FakePod("passing-" + i, registry)) {
        register("m" + i, "s3://b/m");
        mesh.ensureLoaded(
            EnsureLoadedRequest.newBuilder().setModelId("m" + i).setSync(true).build());
        assertEquals(List.of("m" + i), passing.loads);
      }
    }
    assertEquals(1, service.connections());
  }

  @Test
  void anEmptyIdAndAnEmptyTypeAreRefusedByName() {
    assertTrue(text(refused(() -> register("", "p"))).contains("modelId"));
    StatusRuntimeException e =
        refused(
            () ->
                mesh.registerModel(
                    RegisterModelRequest.newBuilder()
                        .setModelId("m")
                        .setModelInfo(ModelInfo.newBuilder().setPath("p"))
                        .build()));
    assertEquals(Status.Code.INVALID_ARGUMENT, e.getStatus().getCode());
    assertTrue(text(e).contains("modelInfo.type"));
  }

  @Test
  void aModelInUseByAnAliasIsNotUnregistered() {
    register("m", "p");
    setAlias("a", "m");
    StatusRuntimeException e = refused(() -> unregister("m"));
    assertEquals(Status.Code.FAILED_PRECONDITION, e.getStatus().getCode());
    assertTrue(text(e).contains("'a'"));
    mesh.deleteVModel(DeleteVModelRequest.newBuilder().setVModelId("a").build());
    unregister("m");
    unregister("m");
    assertNull(registry.view().model("m"));
    assertEquals(ModelStatusInfo.ModelStatus.NOT_FOUND, status("m").getStatus());
  }

  @Test
  void ensureLoadedLoadsOnceAndAnUnknownModelIsNotFound() {
    register("m", "p");
    mesh.ensureLoaded(EnsureLoadedRequest.newBuilder().setModelId("m").setSync(true).build());
    assertEquals(ModelStatusInfo.ModelStatus.LOADED, status("m").getStatus());
    StatusRuntimeException e =
        refused(() -> mesh.ensureLoaded(EnsureLoadedRequest.newBuilder().setModelId("no").build()));
    assertEquals(Status.Code.NOT_FOUND, e.getStatus().getCode());
  }

  @Test
  void aLoadThatFailsIsReportedWithItsCauseAndStaysInTheStatus() {
    pod.broken.put("m", "no such object s3://b/m");
    register("m", "p");
    ModelStatusInfo answer =
        mesh.ensureLoaded(EnsureLoadedRequest.newBuilder().setModelId("m").setSync(true).build());
    assertEquals(ModelStatusInfo.ModelStatus.LOADING_FAILED, answer.getStatus());
    assertTrue(answer.getErrors(0).contains("no such object"), answer::toString);
    assertEquals(answer, status("m"));
  }

  @Test
  void aNewAliasServesItsTargetAtOnce() {
    register("m", "p");
    VModelStatusInfo info = setAlias("a", "m");
    assertEquals(VModelStatusInfo.VModelStatus.DEFINED, info.getStatus());
    assertEquals("m", served("a"));
  }

  @Test
  void anAliasMovesOnlyWhenItsTargetIsLoaded() throws Exception {
    register("m1", "p1");
    register("m2", "p2");
    setAlias("a", "m1");
    assertEquals(VModelStatusInfo.VModelStatus.TRANSITIONING, setAlias("a", "m2").getStatus());
    assertEquals("m1", served("a"));
    try (Controller controller = controller()) {
      Await.until("the alias moved", () -> "m2".equals(served("a")));
      assertTrue(controller.leading());
    }
    assertTrue(pod.loads.contains("m2"));
  }

  @Test
  void aSyncMoveReportsAFailedTargetAndKeepsServing() throws Exception {
    pod.broken.put("m2", "corrupt file");
    register("m1", "p1");
    register("m2", "p2");
    setAlias("a", "m1");
    try (Controller controller = controller()) {
      VModelStatusInfo info =
          mesh.setVModel(
              SetVModelRequest.newBuilder()
                  .setVModelId("a")
                  .setTargetModelId("m2")
                  .setSync(true)
                  .build());
      assertEquals(VModelStatusInfo.VModelStatus.TRANSITION_FAILED, info.getStatus());
      assertEquals("m1", info.getActiveModelId());
      assertTrue(controller.leading());
    }
  }

  @Test
  void forceMovesAtOnceAndAutoDeleteRemovesWhatWasLeft() {
    mesh.setVModel(
        SetVModelRequest.newBuilder()
            .setVModelId("a")
            .setTargetModelId("m1")
            .setModelInfo(ModelInfo.newBuilder().setType("onnx").setPath("p1"))
            .setAutoDeleteTargetModel(true)
            .build());
    mesh.setVModel(
        SetVModelRequest.newBuilder()
            .setVModelId("a")
            .setTargetModelId("m2")
            .setModelInfo(ModelInfo.newBuilder().setType("onnx").setPath("p2"))
            .setForce(true)
            .build());
    assertEquals("m2", served("a"));
    assertNull(registry.view().model("m1"));
    assertNotNull(registry.view().model("m2"));
  }

  @Test
  void anAliasOfAnotherOwnerIsNeitherChangedNorShown() {
    register("m", "p");
    mesh.setVModel(
        SetVModelRequest.newBuilder()
            .setVModelId("a")
            .setTargetModelId("m")
            .setOwner("alice")
            .build());
    StatusRuntimeException e =
        refused(
            () ->
                mesh.setVModel(
                    SetVModelRequest.newBuilder()
                        .setVModelId("a")
                        .setTargetModelId("m")
                        .setOwner("bob")
                        .build()));
    assertEquals(Status.Code.ALREADY_EXISTS, e.getStatus().getCode());
    assertEquals(
        VModelStatusInfo.VModelStatus.NOT_FOUND,
        mesh.getVModelStatus(
                GetVModelStatusRequest.newBuilder().setVModelId("a").setOwner("bob").build())
            .getStatus());
  }

  @Test
  void updateOnlyAndAnUnexpectedTargetAreRefused() {
    register("m", "p");
    assertEquals(
        Status.Code.NOT_FOUND,
        refused(
                () ->
                    mesh.setVModel(
                        SetVModelRequest.newBuilder()
                            .setVModelId("a")
                            .setTargetModelId("m")
                            .setUpdateOnly(true)
                            .build()))
            .getStatus()
            .getCode());
    register("n", "p");
    setAlias("a", "m");
    assertEquals(
        Status.Code.FAILED_PRECONDITION,
        refused(
                () ->
                    mesh.setVModel(
                        SetVModelRequest.newBuilder()
                            .setVModelId("a")
                            .setTargetModelId("n")
                            .setExpectedTargetModelId("other")
                            .build()))
            .getStatus()
            .getCode());
    assertEquals(
        Status.Code.NOT_FOUND, refused(() -> setAlias("b", "unregistered")).getStatus().getCode());
  }

  private Controller controller() throws IOException {
    return Controller.start(
        new ControllerConfig("c", 100, 100, 5_000, 5_000, 0, ""),
        registry,
        new Planner(Planner.Config.defaults(), new Placer()),
        System::currentTimeMillis);
  }

  private ModelStatusInfo register(String id, String path) {
    return mesh.registerModel(
        RegisterModelRequest.newBuilder()
            .setModelId(id)
            .setModelInfo(ModelInfo.newBuilder().setType("onnx").setPath(path))
            .build());
  }

  private void unregister(String id) {
    var unused = mesh.unregisterModel(UnregisterModelRequest.newBuilder().setModelId(id).build());
  }

  private ModelStatusInfo status(String id) {
    return mesh.getModelStatus(GetStatusRequest.newBuilder().setModelId(id).build());
  }

  private VModelStatusInfo setAlias(String name, String target) {
    return mesh.setVModel(
        SetVModelRequest.newBuilder().setVModelId(name).setTargetModelId(target).build());
  }

  private String served(String alias) {
    Model model = registry.view().resolve(alias);
    return model == null ? "" : model.id();
  }

  private static String text(Throwable e) {
    return String.valueOf(e.getMessage());
  }

  private static StatusRuntimeException refused(Runnable call) {
    return assertThrows(StatusRuntimeException.class, call::run);
  }
}
