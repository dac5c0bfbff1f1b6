package orlop.controller;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import orlop.api.DemandReport;
import orlop.placement.CopyState;
import orlop.placement.Demand;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Planner;
import orlop.registry.LocalRegistry;
import orlop.registry.Registry;
import orlop.registry.Standing;

/** What the leader does with plans and with demand, over real sockets. */
final class PlanningLoopTest {
  private final LocalRegistry registry = new LocalRegistry();

  /** How often a planner has looked at the registry of {@link #elected}. */
  private final AtomicInteger steps = new AtomicInteger();

  @AfterEach
  void close() {
    registry.close();
  }

  @Test
  void loadsTheCopiesThatAModelAsksFor() throws Exception {
    try (FakePod one = new FakePod("pod-1", registry);
        FakePod two = new FakePod("pod-2", registry);
        Controller controller = start("a")) {
      registry.createModel(new Model("m", "onnx", "p", "", 0, 2, 0, Set.of(), Set.of(), 0));
      Await.until(
          "two copies",
          () -> registry.view().copies("m").stream().filter(c -> c.isLoaded()).count() == 2);
      assertEquals(1, one.loads.size());
      assertEquals(1, two.loads.size());
      assertTrue(controller.leading());
    }
  }

  @Test
  void oneOfTwoControllersPlansAndTheOtherTakesOver() throws Exception {
    Controller first = start("a");
    try (Controller second = start("b")) {
      Await.until("one leads", () -> first.leading() || second.leading());
      assertFalse(first.leading() && second.leading());
      first.close();
      Await.until("the other took over", second::leading);
    }
  }

  @Test
  void whoNeitherLeadsNorIsNextDoesNotListen() throws Exception {
    AtomicReference<Consumer<Standing>> election = new AtomicReference<>();
    try (FakePod pod = new FakePod("pod-1", registry);
        Controller controller = start("a", elected(election))) {
      election.get().accept(new Standing(Standing.Place.LEADS, "a"));
      Await.until("the leader listens", pod::watched);
      election.get().accept(new Standing(Standing.Place.WAITS, "b"));
      Await.until("nobody listens", () -> !pod.watched());
      assertFalse(controller.leading());
      election.get().accept(new Standing(Standing.Place.NEXT, "b"));
      Await.until("who is next listens", pod::watched);
      assertFalse(controller.leading());
    }
  }

  @Test
  void whatADeadLeaderServedIsLoadedByWhoIsNextBeforeTheLeaseEnds() throws Exception {
    AtomicReference<Consumer<Standing>> election = new AtomicReference<>();
    long nowMs = System.currentTimeMillis();
    try (FakePod dead = new FakePod("pod-1", registry);
        FakePod two = new FakePod("pod-2", registry);
        FakePod three = new FakePod("pod-3", registry);
        Controller controller = start("pod-2", elected(election), () -> nowMs)) {
      election.get().accept(new Standing(Standing.Place.NEXT, "pod-1"));
      useOn(dead, List.of(dead, two, three), nowMs);
      dead.die();
      Await.until("it is loaded elsewhere", () -> two.loads.size() + three.loads.size() == 1);
      assertFalse(controller.leading());
    }
  }

  /** Two who cannot reach each other would load and trim the same model for ever. */
  @Test
  void whoIsNextStandsInNoLongerForALeaderThatStillLeadsAfterAMinute() throws Exception {
    AtomicReference<Consumer<Standing>> election = new AtomicReference<>();
    AtomicLong nowMs = new AtomicLong(System.currentTimeMillis());
    try (FakePod dead = new FakePod("pod-1", registry);
        FakePod two = new FakePod("pod-2", registry);
        FakePod three = new FakePod("pod-3", registry);
        Controller controller = start("pod-2", elected(election), nowMs::get)) {
      election.get().accept(new Standing(Standing.Place.NEXT, "pod-1"));
      useOn(dead, List.of(dead, two, three), nowMs.get());
      dead.die();
      Await.until(
          "it is loaded elsewhere",
          () -> registry.view().copies("m").stream().filter(c -> c.isLoaded()).count() == 2);
      nowMs.addAndGet(60_000);
      (two.loads.isEmpty() ? three : two).withdraw("m");
      int before = steps.get();
      Await.until("it has planned again", () -> steps.get() >= before + 5);
      assertEquals(1, two.loads.size() + three.loads.size(), "the leader's to bring back");
      election.get().accept(new Standing(Standing.Place.LEADS, "pod-2"));
      Await.until("it is brought back", () -> two.loads.size() + three.loads.size() == 2);
      assertTrue(controller.leading());
    }
  }

  @Test
  void whoWasNextKnowsWhatWasUsedAndLostWhenItComesToLead() throws Exception {
    AtomicReference<Consumer<Standing>> election = new AtomicReference<>();
    long nowMs = System.currentTimeMillis();
    try (FakePod dead = new FakePod("pod-1", registry);
        FakePod two = new FakePod("pod-2", registry);
        FakePod three = new FakePod("pod-3", registry);
        Demands witness =
            new Demands(
                new PodCalls(ControllerConfig.defaults("x"), null), 100, 0, () -> nowMs, () -> {});
        Controller controller = start("b", elected(election), () -> nowMs)) {
      election.get().accept(new Standing(Standing.Place.NEXT, "a"));
      useOn(dead, List.of(dead, two, three), nowMs);
      witness.follow(registry.view());
      Await.until("a second one listens", () -> witness.listensTo("pod-1"));
      dead.die();
      Await.until("the death is seen", () -> !witness.listensTo("pod-1"));
      dead.close();
      assertEquals(0, two.loads.size() + three.loads.size(), "the leader lives, and acts");
      election.get().accept(new Standing(Standing.Place.LEADS, "b"));
      Await.until("it is loaded elsewhere", () -> two.loads.size() + three.loads.size() == 1);
    }
  }

  /** A model with one copy at most, held by that pod, whose use all who listen have heard of. */
  private void useOn(FakePod holder, List<FakePod> pods, long nowMs) throws Exception {
    registry.createModel(new Model("m", "onnx", "p", "", 0, 0, 1, Set.of(), Set.of(), 0));
    holder.publish("m", new CopyState.Loaded(Memory.ram(1_000), 5), nowMs);
    Await.until("all are listened to", () -> pods.stream().allMatch(FakePod::watched));
    pods.forEach(pod -> pod.report("m", 60, nowMs));
  }

  /** The registry, but that the test decides who leads. */
  private Registry elected(AtomicReference<Consumer<Standing>> election) {
    return (Registry)
        Proxy.newProxyInstance(
            Registry.class.getClassLoader(),
            new Class<?>[] {Registry.class},
            (proxy, method, args) -> {
              if (method.getName().equals("campaign")) {
                @SuppressWarnings("unchecked")
                Consumer<Standing> listener = (Consumer<Standing>) args[1];
                election.set(listener);
                return (Registry.Subscription) () -> {};
              }
              if (Thread.currentThread().getName().equals("orlop-planner")) {
                steps.incrementAndGet();
              }
              return method.invoke(registry, args);
            });
  }

  /** The clock stands still, so no patience with the dead pod can have run out. */
  @Test
  void whatADeadPodServedIsLoadedElsewhereAtOnce() throws Exception {
    long nowMs = System.currentTimeMillis();
    try (FakePod dead = new FakePod("pod-1", registry);
        FakePod two = new FakePod("pod-2", registry);
        FakePod three = new FakePod("pod-3", registry);
        Controller controller = start("a", registry, () -> nowMs)) {
      useOn(dead, List.of(dead, two, three), nowMs);
      Await.until("the planner leads", controller::leading);
      dead.die();
      Await.until("it is loaded elsewhere", () -> two.loads.size() + three.loads.size() == 1);
      assertTrue(registry.view().pod("pod-1") != null, "the lease had not ended");
    }
  }

  @Test
  void oneDeathIsToldOnce() throws Exception {
    AtomicInteger deaths = new AtomicInteger();
    try (FakePod dead = new FakePod("pod-1", registry);
        PodCalls calls = new PodCalls(ControllerConfig.defaults("x"), null);
        Demands demands =
            new Demands(calls, 100, 0, System::currentTimeMillis, deaths::incrementAndGet)) {
      demands.follow(registry.view());
      Await.until("the stream is open", dead::watched);
      dead.die();
      Await.until(
          "the death is told",
          () -> {
            demands.follow(registry.view());
            return deaths.get() == 1;
          });
      for (int i = 0; i < 5; i++) {
        demands.follow(registry.view());
        Await.until("it is refused again", () -> !demands.listensTo("pod-1"));
        assertTrue(demands.snapshot().silent().contains("pod-1"));
      }
      assertEquals(1, deaths.get());
    }
  }

  @Test
  void hearsDemandFromEveryPod() throws Exception {
    try (FakePod pod = new FakePod("pod-1", registry);
        PodCalls calls = new PodCalls(ControllerConfig.defaults("x"), null);
        Demands demands = new Demands(calls, 100, 0, System::currentTimeMillis, () -> {})) {
      demands.follow(registry.view());
      Await.until("the stream is open", pod::watched);
      pod.report("m", 30, 1_234);
      Await.until("the report arrived", () -> demands.snapshot().uses().containsKey("m"));
      Demand.Use use = use(demands);
      assertEquals(1_234, use.lastUsedMs());
      assertEquals(30, use.callsPerMinute(), 1);
    }
  }

  @Test
  void demandDecaysIsSteadyOnlyWhileCalledEveryMinuteAndIsForgotten() {
    long[] nowMs = {1_000_000};
    try (PodCalls calls = new PodCalls(ControllerConfig.defaults("x"), null);
        Demands demands = new Demands(calls, 100, 0, () -> nowMs[0], () -> {})) {
      demands.add(report("m", 60));
      for (int i = 0; i < 5; i++) {
        nowMs[0] += 30_000;
        demands.add(report("m", 30));
      }
      Demand.Use steady = use(demands);
      assertEquals(1_000_000, steady.steadySinceMs());
      nowMs[0] += 120_000;
      Demand.Use idle = use(demands);
      assertEquals(0, idle.steadySinceMs());
      assertTrue(idle.callsPerMinute() < 0.2 * steady.callsPerMinute());
      nowMs[0] += 3_600_001;
      assertTrue(demands.snapshot().uses().isEmpty());
    }
  }

  private static DemandReport report(String modelId, long calls) {
    return DemandReport.newBuilder()
        .addModels(DemandReport.ModelDemand.newBuilder().setModelId(modelId).setCalls(calls))
        .build();
  }

  private static Demand.Use use(Demands demands) {
    return demands.snapshot().uses().getOrDefault("m", new Demand.Use(-1, -1, -1));
  }

  private Controller start(String id) throws IOException {
    return start(id, registry);
  }

  private static Controller start(String id, Registry registry) throws IOException {
    return start(id, registry, System::currentTimeMillis);
  }

  private static Controller start(String id, Registry registry, LongSupplier clockMs)
      throws IOException {
    return Controller.start(
        new ControllerConfig(id, 100, 100, 5_000, 5_000, 0, ""),
        registry,
        new Planner(Planner.Config.defaults(), new Placer()),
        clockMs);
  }
}
