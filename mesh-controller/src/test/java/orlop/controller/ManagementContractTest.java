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
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import mmesh.DeleteVModelRequest;
import mmesh.EnsureLoadedRequest;
import mmesh.GetStatusRequest;
import mmesh.GetVModelStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelMeshGrpc;
import mmesh.ModelStatusInfo;
import mmesh.ModelStatusInfo.ModelStatus;
import mmesh.RegisterModelRequest;
import mmesh.SetVModelRequest;
import mmesh.UnregisterModelRequest;
import mmesh.VModelStatusInfo;
import mmesh.VModelStatusInfo.VModelStatus;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import orlop.placement.Alias;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.Memory;
import orlop.placement.Placer;
import orlop.placement.Planner;
import orlop.placement.Router;
import orlop.registry.LocalRegistry;
import orlop.registry.Registry;

/** What ModelMesh's clients rely on, call by call, with two pods and a default owner. */
final class ManagementContractTest {
  private static final long HOUR_MS = 3_600_000;

  private final LocalRegistry registry = new LocalRegistry();
  private ManagementService service;
  private FakePod one;
  private FakePod two;
  private Server server;
  private ManagedChannel channel;
  private ModelMeshGrpc.ModelMeshBlockingStub mesh;

  @BeforeEach
  void start() throws Exception {
    ControllerConfig config = new ControllerConfig("test", 100, 100, 5_000, 5_000, 0, "kserve");
    service =
        new ManagementService(
            config, registry, new Router(new Placer()), System::currentTimeMillis);
    one = new FakePod("pod-1", registry);
    two = new FakePod("pod-2", registry);
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
    one.close();
    two.close();
    registry.close();
  }

  // ---- models

  @Test
  void aNewcomerCountsAsUsedAnHourAgoUnlessItSaysOtherwise() {
    long beforeMs = System.currentTimeMillis();
    register(model("a").setLoadNow(true).setSync(true));
    register(model("b").setLoadNow(true).setSync(true).setLastUsedTime(77));
    register(model("c"));
    mesh.ensureLoaded(EnsureLoadedRequest.newBuilder().setModelId("c").setSync(true).build());
    long usedMs = used("a");
    assertTrue(
        usedMs >= beforeMs - HOUR_MS && usedMs <= System.currentTimeMillis() - HOUR_MS,
        "" + usedMs);
    assertEquals(77, used("b"));
    assertTrue(used("c") >= beforeMs, "a call that wants it loaded is a use now");
  }

  @Test
  void aLoadThatIsAcceptedShowsAtOnce() {
    CountDownLatch gate = new CountDownLatch(1);
    one.gate = gate;
    two.gate = gate;
    try {
      // A pod answers such a call when it has accepted the load; this one when it has ended.
      one.publish("m", new CopyState.Loading(), 5);
      register(model("m"));
      assertEquals(ModelStatus.LOADING, status("m").getStatus());
    } finally {
      gate.countDown();
    }
    assertEquals(
        ModelStatus.LOADED, register(model("n").setLoadNow(true).setSync(true)).getStatus());
    assertTrue(
        Set.of(ModelStatus.LOADING, ModelStatus.LOADED)
            .contains(register(model("o").setLoadNow(true)).getStatus()));
  }

  @Test
  void everyCopyIsToldAsItIsAndSinceWhen() {
    register(model("m"));
    one.publish("m", new CopyState.Loaded(Memory.ram(1), 1), 1_111);
    two.publish("m", new CopyState.FailedToLoad(Fault.TRANSIENT, "timeout", Long.MAX_VALUE), 2_222);
    ModelStatusInfo status = status("m");
    assertEquals(ModelStatus.LOADED, status.getStatus());
    assertEquals(2, status.getModelCopyInfosCount());
    for (ModelStatusInfo.ModelCopyInfo copy : status.getModelCopyInfosList()) {
      boolean first = copy.getLocation().equals("pod-1");
      assertEquals(first ? ModelStatus.LOADED : ModelStatus.LOADING_FAILED, copy.getCopyStatus());
      assertEquals(first ? 1_111 : 2_222, copy.getTime());
    }
    assertEquals(List.of("pod-2: timeout"), status.getErrorsList());
    assertEquals(2_222, status.getModelCopyInfos(0).getTime(), "what happened last stands first");
    one.publish("m", new CopyState.Loading(), 3_333);
    assertEquals(ModelStatus.LOADING, status("m").getStatus());
  }

  @Test
  void aModelThatOnePodFindsBrokenIsTriedInNoOther() {
    one.broken.put("m", "not a model");
    two.broken.put("m", "not a model");
    register(model("m"));
    for (int i = 0; i < 3; i++) {
      ModelStatusInfo answer =
          mesh.ensureLoaded(EnsureLoadedRequest.newBuilder().setModelId("m").setSync(true).build());
      assertEquals(ModelStatus.LOADING_FAILED, answer.getStatus());
    }
    assertEquals(1, one.loads.size() + two.loads.size());
  }

  @Test
  void aFullMeshRefusesWithAReason() {
    one.full = true;
    two.full = true;
    register(model("m"));
    StatusRuntimeException e =
        refused(
            () ->
                mesh.ensureLoaded(
                    EnsureLoadedRequest.newBuilder().setModelId("m").setSync(true).build()));
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, e.getStatus().getCode());
    assertTrue(String.valueOf(e.getMessage()).contains("is full"), e::toString);
    VModelStatusInfo alias =
        mesh.setVModel(vmodel("a", "m").setLoadNow(true).setSync(true).build());
    assertEquals(VModelStatus.DEFINED, alias.getStatus(), "the alias stands all the same");
    assertTrue(alias.getActiveModelStatus().getErrors(0).contains("is full"), alias::toString);
  }

  @Test
  void theOlderNamesOfTheCallsStillWork() {
    mesh.addModel(model("m").build());
    assertNotNull(registry.view().model("m"));
    mesh.deleteModel(UnregisterModelRequest.newBuilder().setModelId("m").build());
    assertNull(registry.view().model("m"));
  }

  // ---- aliases

  @Test
  void whoNamesNoOwnerMakesTheDefaultOnesAliasesAndMayChangeAnybodys() {
    register(model("m"));
    assertEquals("kserve", mesh.setVModel(vmodel("a", "m").build()).getOwner());
    mesh.setVModel(vmodel("a", "m").setOwner("kserve").build());
    mesh.setVModel(vmodel("b", "m").setOwner("other").build());
    assertEquals("other", mesh.setVModel(vmodel("b", "m").build()).getOwner());
    assertEquals("other", aliasStatus("b", "").getOwner());
    delete("b", "");
    assertNull(registry.view().alias("b"));
    delete("b", "");
  }

  @Test
  void whoNamesAnOwnerNeitherChangesNorDeletesAnotherOnesAlias() {
    register(model("m"));
    register(model("n"));
    mesh.setVModel(vmodel("a", "m").build());
    assertEquals(
        Status.Code.ALREADY_EXISTS,
        code(() -> mesh.setVModel(vmodel("a", "n").setOwner("other").build())));
    assertEquals(VModelStatus.NOT_FOUND, aliasStatus("a", "other").getStatus());
    // What is not there for them is not there to delete; its owner's garbage collection goes on.
    delete("a", "other");
    assertEquals(VModelStatus.DEFINED, aliasStatus("a", "kserve").getStatus());
    delete("a", "kserve");
    assertNull(registry.view().alias("a"));
  }

  @Test
  void anExpectedTargetIsMetByTheOneOfNowAndByTheOneAskedFor() {
    register(model("m1"));
    register(model("m2"));
    SetVModelRequest begin = vmodel("a", "m1").setExpectedTargetModelId("m1").build();
    mesh.setVModel(begin);
    assertEquals("m1", mesh.setVModel(begin).getTargetModelId());
    SetVModelRequest move = vmodel("a", "m2").setExpectedTargetModelId("m1").build();
    mesh.setVModel(move);
    // The answer may have been lost, so it is asked for once more.
    assertEquals("m2", mesh.setVModel(move).getTargetModelId());
    assertEquals(Status.Code.FAILED_PRECONDITION, code(() -> mesh.setVModel(begin)));
    assertEquals(
        Status.Code.FAILED_PRECONDITION,
        code(() -> mesh.setVModel(vmodel("b", "m1").setExpectedTargetModelId("m2").build())));
    assertNull(registry.view().alias("b"));
  }

  @Test
  void theTargetIsRegisteredWithTheAliasOrNeitherIs() {
    mesh.setVModel(vmodel("a", "m1").setModelInfo(info("m1")).build());
    assertNotNull(registry.view().model("m1"));
    register(model("m2"));
    assertEquals(
        Status.Code.ALREADY_EXISTS,
        code(() -> mesh.setVModel(vmodel("a", "m2").setModelInfo(info("other")).build())));
    assertEquals("m1", aliasStatus("a", "").getTargetModelId());
    assertEquals(
        Status.Code.FAILED_PRECONDITION,
        code(
            () ->
                mesh.setVModel(
                    vmodel("a", "m3")
                        .setModelInfo(info("m3"))
                        .setExpectedTargetModelId("m2")
                        .build())));
    assertNull(registry.view().model("m3"), "nothing is left of a change that was refused");
    mesh.setVModel(vmodel("a", "m2").setExpectedTargetModelId("m1").build());
    assertEquals("m2", aliasStatus("a", "").getTargetModelId());
  }

  @Test
  void anAliasMovesWithAsManyCopiesAsItServedWith() throws Exception {
    register(model("old"));
    register(model("new"));
    one.publish("old", new CopyState.Loaded(Memory.ram(1), 1), 1);
    two.publish("old", new CopyState.Loaded(Memory.ram(1), 1), 1);
    mesh.setVModel(vmodel("a", "old").build());
    try (Controller controller = controller()) {
      VModelStatusInfo moved = mesh.setVModel(vmodel("a", "new").setSync(true).build());
      assertEquals(VModelStatus.DEFINED, moved.getStatus());
      assertEquals("new", moved.getActiveModelId());
      assertEquals(2, moved.getActiveModelStatus().getModelCopyInfosCount());
      assertTrue(controller.leading());
    }
  }

  @Test
  void theTargetOfAnAliasUnderWayIsLoadingFromTheFirstAnswerOn() throws Exception {
    register(model("old"));
    register(model("new"));
    mesh.setVModel(vmodel("a", "old").build());
    VModelStatusInfo moving = mesh.setVModel(vmodel("a", "new").build());
    assertEquals(VModelStatus.TRANSITIONING, moving.getStatus());
    assertEquals(ModelStatus.LOADING, moving.getTargetModelStatus().getStatus());
    assertEquals(0, moving.getTargetModelStatus().getModelCopyInfosCount());
    assertEquals(moving, aliasStatus("a", ""));
    Alias standing = registry.view().alias("a");
    assertNotNull(standing);
    assertTrue(new Aliases(registry).fail(standing, "no room"));
    VModelStatusInfo failed = aliasStatus("a", "");
    assertEquals(VModelStatus.TRANSITION_FAILED, failed.getStatus());
    assertEquals(ModelStatus.NOT_LOADED, failed.getTargetModelStatus().getStatus());
  }

  @Test
  void whoWaitsForAMoveFindsTheModelThatItLeftGone() throws Exception {
    mesh.setVModel(
        vmodel("a", "old").setModelInfo(info("old")).setAutoDeleteTargetModel(true).build());
    CountDownLatch answered = new CountDownLatch(1);
    try (SlowDeletes slow = new SlowDeletes(registry, answered);
        Controller controller = controller(slow)) {
      mesh.setVModel(vmodel("a", "new").setModelInfo(info("new")).setSync(true).build());
      boolean gone = status("old").getStatus() == ModelStatus.NOT_FOUND;
      answered.countDown();
      assertTrue(gone, "it is still registered");
      assertTrue(controller.leading());
    }
  }

  @Test
  void aliasesMoveAtTheSameTime() throws Exception {
    int aliases = 20;
    for (int i = 0; i < aliases; i++) {
      mesh.setVModel(vmodel("a" + i, "old" + i).setModelInfo(info("old")).build());
      one.publish("old" + i, new CopyState.Loaded(Memory.ram(1), 1), 1);
      mesh.setVModel(vmodel("a" + i, "new" + i).setModelInfo(info("new")).build());
    }
    CountDownLatch gate = new CountDownLatch(1);
    one.gate = gate;
    two.gate = gate;
    try (Controller controller = controller()) {
      Await.until("all load beside one another", () -> one.held.get() + two.held.get() == aliases);
      gate.countDown();
      Await.until(
          "all have moved", () -> registry.view().aliases().stream().noneMatch(Alias::moving));
      assertTrue(controller.leading());
    }
  }

  @Test
  void aMoveThatFailedGoesOnWhenItsCauseIsMended() throws Exception {
    one.broken.put("new", "access denied");
    two.broken.put("new", "access denied");
    register(model("old"));
    register(model("new"));
    mesh.setVModel(vmodel("a", "old").build());
    try (Controller controller = controller()) {
      VModelStatusInfo failed = mesh.setVModel(vmodel("a", "new").setSync(true).build());
      assertEquals(VModelStatus.TRANSITION_FAILED, failed.getStatus());
      assertEquals("old", failed.getActiveModelId());
      assertTrue(
          failed.getTargetModelStatus().getErrorsList().toString().contains("access denied"),
          failed::toString);
      one.forgetFailure("new");
      two.forgetFailure("new");
      Await.until("it moved", () -> "new".equals(aliasStatus("a", "").getActiveModelId()));
      assertEquals(VModelStatus.DEFINED, aliasStatus("a", "").getStatus());
      assertTrue(controller.leading());
    }
  }

  @Test
  void whatTwoAliasesShareGoesWithTheLastOfThem() {
    mesh.setVModel(vmodel("a", "m").setModelInfo(info("m")).setAutoDeleteTargetModel(true).build());
    mesh.setVModel(vmodel("b", "m").build());
    mesh.deleteVModel(DeleteVModelRequest.newBuilder().setVModelId("a").build());
    assertNotNull(registry.view().model("m"), "b still serves it");
    mesh.deleteVModel(DeleteVModelRequest.newBuilder().setVModelId("b").build());
    assertNull(registry.view().model("m"));
  }

  @Test
  void whatWasRegisteredByItselfOutlivesTheAliasesThatLeaveIt() {
    register(model("m1"));
    mesh.setVModel(vmodel("a", "m1").setAutoDeleteTargetModel(true).build());
    mesh.setVModel(
        vmodel("a", "m2")
            .setModelInfo(info("m2"))
            .setAutoDeleteTargetModel(true)
            .setForce(true)
            .build());
    assertNotNull(registry.view().model("m1"));
    register(model("m3"));
    mesh.setVModel(
        vmodel("a", "m3")
            .setModelInfo(ModelInfo.getDefaultInstance())
            .setAutoDeleteTargetModel(true)
            .setForce(true)
            .build());
    assertNull(registry.view().model("m2"), "it came with the alias");
    delete("a", "");
    assertNotNull(registry.view().model("m3"));
  }

  @Test
  void aTargetThatIsReplacedBeforeItIsReachedIsUnregistered() {
    register(model("m1"));
    mesh.setVModel(vmodel("a", "m1").build());
    mesh.setVModel(
        vmodel("a", "m2").setModelInfo(info("m2")).setAutoDeleteTargetModel(true).build());
    mesh.setVModel(vmodel("a", "m3").setModelInfo(info("m3")).build());
    assertNull(registry.view().model("m2"));
    assertNotNull(registry.view().model("m1"));
    assertEquals("m1", aliasStatus("a", "").getActiveModelId());
  }

  @Test
  void callersThatChangeOneAliasAtTheSameTimeAreAllServed() throws Exception {
    int callers = 8;
    register(model("m0"));
    mesh.setVModel(vmodel("a", "m0").build());
    List<Future<?>> calls = new ArrayList<>();
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 1; i <= callers; i++) {
        String target = "m" + i;
        calls.add(
            threads.submit(
                () -> mesh.setVModel(vmodel("a", target).setModelInfo(info(target)).build())));
      }
      int served = 0;
      for (Future<?> call : calls) {
        assertNotNull(call.get());
        served++;
      }
      assertEquals(callers, served);
    }
    assertEquals("m0", aliasStatus("a", "").getActiveModelId());
  }

  @Test
  void aModelAndAnAliasThatCrossEachOtherLeaveNoAliasWithoutItsModel() throws Exception {
    for (int round = 0; round < 50; round++) {
      String id = "m" + round;
      String alias = "a" + round;
      register(model(id));
      try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
        threads.execute(() -> ignore(() -> mesh.setVModel(vmodel(alias, id).build())));
        threads.execute(
            () ->
                ignore(
                    () ->
                        mesh.unregisterModel(
                            UnregisterModelRequest.newBuilder().setModelId(id).build())));
      }
      boolean aliased = registry.view().alias(alias) != null;
      assertEquals(aliased, registry.view().model(id) != null, "round " + round);
    }
  }

  private static void ignore(Runnable call) {
    try {
      call.run();
    } catch (StatusRuntimeException e) {
      // One of two that cross each other is refused.
    }
  }

  private Controller controller() throws IOException {
    return controller(registry);
  }

  private static Controller controller(Registry registry) throws IOException {
    return Controller.start(
        new ControllerConfig("c", 100, 100, 5_000, 60_000, 0, ""),
        registry,
        new Planner(Planner.Config.defaults(), new Placer()),
        System::currentTimeMillis);
  }

  private void delete(String alias, String owner) {
    mesh.deleteVModel(DeleteVModelRequest.newBuilder().setVModelId(alias).setOwner(owner).build());
  }

  private static RegisterModelRequest.Builder model(String id) {
    return RegisterModelRequest.newBuilder().setModelId(id).setModelInfo(info(id));
  }

  private static ModelInfo info(String path) {
    return ModelInfo.newBuilder().setType("onnx").setPath(path).build();
  }

  private static SetVModelRequest.Builder vmodel(String name, String target) {
    return SetVModelRequest.newBuilder().setVModelId(name).setTargetModelId(target);
  }

  private ModelStatusInfo register(RegisterModelRequest.Builder request) {
    return mesh.registerModel(request.build());
  }

  private ModelStatusInfo status(String id) {
    return mesh.getModelStatus(GetStatusRequest.newBuilder().setModelId(id).build());
  }

  private VModelStatusInfo aliasStatus(String name, String owner) {
    return mesh.getVModelStatus(
        GetVModelStatusRequest.newBuilder().setVModelId(name).setOwner(owner).build());
  }

  private long used(String id) {
    return Math.max(one.usedMs.getOrDefault(id, -1L), two.usedMs.getOrDefault(id, -1L));
  }

  private static Status.Code code(Runnable call) {
    return refused(call).getStatus().getCode();
  }

  private static StatusRuntimeException refused(Runnable call) {
    return assertThrows(StatusRuntimeException.class, call::run);
  }
}
