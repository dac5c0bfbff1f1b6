package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import mmesh.ModelStatusInfo;
import mmesh.ModelStatusInfo.ModelStatus;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What callers notice when a pod is told to end, or just ends, and when memory is full. */
@Tag("slow")
final class LeavingTest {
  @TempDir Path dir;

  @Test
  void aPodThatIsToldToEndHandsItsModelsOverWithoutAFailedCall() throws Exception {
    try (Stage stage = new Stage(dir)) {
      RuntimeProcess[] runtimes = {stage.runtime(), stage.runtime()};
      PodUnderTest[] pods = {stage.pod("drain", runtimes[0]), stage.pod("drain", runtimes[1])};
      pods[0].register("m", "p?loadMs=3000", true);
      int holder = runtimes[0].told("load m ") == 1 ? 0 : 1;
      PodUnderTest stays = pods[1 - holder];
      try (Caller caller = new Caller(stays, "m")) {
        caller.await(20);
        pods[holder].terminate();
        assertEquals(143, pods[holder].exitStatus(60));
        assertEquals(
            1, runtimes[1 - holder].told("load m "), "it was loaded before the other left");
        caller.await(caller.calls.get() + 20);
        assertEquals(List.of(), List.copyOf(caller.failures));
      }
    }
  }

  @Test
  void whenAPodIsKilledOthersTakeItsModelsAndTheRegistryForgetsIt() throws Exception {
    try (Stage stage = new Stage(dir)) {
      RuntimeProcess[] runtimes = {stage.runtime(), stage.runtime()};
      PodUnderTest[] pods = {stage.pod("kill", runtimes[0]), stage.pod("kill", runtimes[1])};
      pods[0].register("m", "p?loadMs=500", true);
      int holder = runtimes[0].told("load m ") == 1 ? 0 : 1;
      PodUnderTest stays = pods[1 - holder];
      String dead = stays.status("m").getModelCopyInfos(0).getLocation();
      try (Caller caller = new Caller(stays, "m")) {
        caller.await(20);
        pods[holder].kill();
        caller.await(caller.calls.get() + 50);
        assertEquals(List.of(), List.copyOf(caller.failures), "calls are made again elsewhere");
        Stage.await(
            "only the living copy to be told of",
            () -> {
              ModelStatusInfo status = stays.status("m");
              return status.getStatus() == ModelStatus.LOADED
                  && status.getModelCopyInfosCount() == 1
                  && !status.getModelCopyInfos(0).getLocation().equals(dead);
            });
      }
    }
  }

  /** The first pod plans, and the second one is next. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void whatAKilledPodServedIsLoadedElsewhereBeforeAnybodyAsks(int killed) throws Exception {
    try (Stage stage = new Stage(dir)) {
      RuntimeProcess[] runtimes = {stage.runtime(), stage.runtime()};
      // Nor is there a second copy because of steady use.
      String[] rare = {PodUnderTest.SET, "planner.steadyMs=600000"};
      PodUnderTest[] pods = {
        stage.pod("lost", runtimes[0], rare), stage.pod("lost", runtimes[1], rare)
      };
      PodUnderTest stays = pods[1 - killed];
      stays.register("unused", "p", false);
      String used = "";
      for (int i = 0; used.isEmpty(); i++) {
        String model = "used-" + i;
        stays.register(model, "p", true);
        pods[killed].awaitKnown(model);
        used = runtimes[killed].told("load " + model + " ") == 1 ? model : "";
        assertTrue(i < 20, "that pod loads nothing");
      }
      RuntimeProcess other = runtimes[1 - killed];
      // The dead pod's last report of demand must have been heard.
      try (Caller caller = new Caller(stays, used)) {
        caller.await(500);
      }
      String load = "load " + used + " ";
      assertEquals(0, other.told(load));
      pods[killed].kill();
      Stage.await("the model to be loaded elsewhere", () -> other.told(load) == 1);
      stays.awaitStatus(used, ModelStatus.LOADED);
      assertEquals(0, other.told("load unused "));
      assertEquals(0, other.told("ModelInfer "), "somebody asked");
    }
  }

  @Test
  void underLruModelsLeaveInTheOrderOfTheirLastUse() throws Exception {
    try (Stage stage = new Stage(dir)) {
      RuntimeProcess runtime = stage.runtime("capacity=10000", "predicts=3000", "loading=1");
      PodUnderTest pod = stage.pod("lru", runtime, PodUnderTest.SET, "pod.evictionPolicy=lru");
      for (String model : List.of("a", "b", "c", "d", "e", "f")) {
        pod.register(model, "p?size=3000", false);
      }
      var unused = runtime.say("clear");
      for (String model : List.of("a", "b", "c", "a", "c", "b")) {
        call(pod, model);
      }
      // Least recently used first: a, c, b.
      for (String model : List.of("d", "e", "f")) {
        call(pod, model);
      }
      Stage.await("three unloads", () -> runtime.told("unload ") == 3);
      assertEquals(
          List.of("unload a", "unload c", "unload b"),
          runtime.told().stream().filter(line -> line.startsWith("unload ")).toList());
    }
  }

  private static void call(PodUnderTest pod, String model) {
    var answer = pod.inference().modelInfer(PodUnderTest.request(model));
    assertEquals(model, answer.getModelName());
    // Uses are told apart by the millisecond.
    LockSupport.parkNanos(5_000_000);
  }

  /** Calls one model again and again, each call when the last has ended. */
  private static final class Caller implements AutoCloseable {
    final AtomicInteger calls = new AtomicInteger();
    final Queue<String> failures = new ConcurrentLinkedQueue<>();
    private final Thread thread;
    private volatile boolean stopped;

    Caller(PodUnderTest pod, String model) {
      thread =
          Thread.ofVirtual()
              .start(
                  () -> {
                    while (!stopped) {
                      try {
                        var unused = pod.inference().modelInfer(PodUnderTest.request(model));
                      } catch (StatusRuntimeException e) {
                        failures.add(e.toString());
                      }
                      calls.incrementAndGet();
                      LockSupport.parkNanos(10_000_000);
                    }
                  });
    }

    void await(int count) {
      Stage.await(count + " calls", () -> calls.get() >= count);
      assertTrue(thread.isAlive());
    }

    @Override
    public void close() throws InterruptedException {
      stopped = true;
      thread.join();
    }
  }
}
