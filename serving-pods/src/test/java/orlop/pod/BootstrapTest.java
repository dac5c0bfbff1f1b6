package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import orlop.placement.Delta;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Pod;

/** A pod's first minutes and its last ones, as the machinery around it sees them. */
class BootstrapTest {
  private final AtomicLong nowNs = new AtomicLong(1);
  private MeshView view = MeshView.empty();

  private Bootstrap bootstrap(long ms, boolean failFast) {
    PodConfig config = PodConfig.builder("new", Memory.ram(1_000)).bootstrap(ms, failFast).build();
    return new Bootstrap(config, () -> view, nowNs::get);
  }

  private void podSays(String id, boolean draining) {
    Pod pod =
        new Pod(
            id,
            "h:1",
            "",
            java.util.Set.of(),
            Memory.ram(1_000),
            Memory.NONE,
            0,
            0,
            draining,
            1,
            "v");
    view = view.with(java.util.List.of(new Delta.PodPut(pod)), view.revision() + 1);
  }

  private void pass(long ms) {
    nowNs.addAndGet(TimeUnit.MILLISECONDS.toNanos(ms));
  }

  @Test
  void waitsUntilNoOtherPodDrainsAndIsNeverHeldBackAgain() {
    podSays("old", true);
    Bootstrap it = bootstrap(10_000, true);
    assertFalse(it.admits());
    assertTrue(it.why().contains("'old' drains"), it.why());
    view = view.with(java.util.List.of(new Delta.PodRemoved("old")), 9);
    assertTrue(it.admits());
    podSays("next", true);
    assertTrue(it.admits());
    assertEquals("", it.why());
  }

  @Test
  void waitsNoLongerThanTheTimeItWasGiven() {
    podSays("old", true);
    Bootstrap it = bootstrap(10_000, true);
    pass(9_999);
    assertFalse(it.admits());
    pass(1);
    assertTrue(it.admits());
    assertTrue(bootstrap(0, true).admits());
  }

  @Test
  void itsOwnDrainIsNotAnotherPods() {
    podSays("new", true);
    assertTrue(bootstrap(10_000, true).admits());
  }

  @Test
  void failuresOfTheRuntimeEndARollOut() {
    Bootstrap it = bootstrap(10_000, true);
    it.loadEnded(false, true);
    it.loadEnded(false, true);
    assertTrue(it.admits());
    it.loadEnded(false, true);
    assertFalse(it.admits());
    assertTrue(it.why().contains("loads failed"), it.why());
    pass(20_000);
    assertFalse(it.admits());
  }

  @Test
  void halfOfManyLoadsFailingEndsARollOut() {
    Bootstrap it = bootstrap(10_000, true);
    for (int i = 0; i < 10; i++) {
      it.loadEnded(true, false);
      it.loadEnded(false, false);
    }
    assertTrue(it.admits(), "10 of 20");
    it.loadEnded(false, false);
    assertFalse(it.admits(), "11 of 21");
  }

  @Test
  void failuresLaterOrWhereNobodyAsksChangeNothing() {
    Bootstrap late = bootstrap(10_000, true);
    pass(10_000);
    Bootstrap off = bootstrap(10_000, false);
    for (int i = 0; i < 100; i++) {
      late.loadEnded(false, true);
      off.loadEnded(false, true);
    }
    assertTrue(late.admits());
    assertTrue(off.admits());
  }

  private static HttpResponse<String> get(int port, String path) throws Exception {
    try (HttpClient http = HttpClient.newHttpClient()) {
      return http.send(
          HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).build(),
          HttpResponse.BodyHandlers.ofString());
    }
  }

  @Test
  void aNewPodIsReadyWhenTheOldOneHasGone() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.pod(0).drain();
      TestMesh.await(
          "the registry says that it drains",
          () -> mesh.registry.view().pods().iterator().next().draining());
      ServingPod next = mesh.add(builder -> builder);
      HttpResponse<String> held = get(next.probePort(), "/ready");
      assertEquals(503, held.statusCode());
      assertTrue(held.body().contains("pod 'pod-0' drains"), held.body());
      mesh.pod(0).close();
      assertEquals(200, get(next.probePort(), "/ready").statusCode());
    }
  }

  @Test
  void preStopAnswersWhenThePodHasDrained() throws Exception {
    try (TestMesh mesh = new TestMesh(1);
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      ServingPod pod = mesh.pod(0);
      mesh.register("m");
      CountDownLatch gate = new CountDownLatch(1);
      mesh.runtimes.getFirst().inferGate = gate;
      var call = threads.submit(() -> mesh.client(pod).modelInfer(TestMesh.request("m")));
      TestMesh.await("the call runs", () -> mesh.runtimes.getFirst().running.get() > 0);
      int port = pod.probePort();
      Future<HttpResponse<String>> stopped = threads.submit(() -> get(port, "/prestop"));
      TestMesh.await("the hook waits", () -> pod.pages().waiting() > 0);
      var closing = threads.submit(pod::close);
      TestMesh.await("the pod drains", () -> pod.host().draining());
      assertFalse(stopped.isDone());
      gate.countDown();
      assertEquals("m", call.get(30, TimeUnit.SECONDS).getModelName());
      assertEquals("drained\n", stopped.get(30, TimeUnit.SECONDS).body());
      closing.get(30, TimeUnit.SECONDS);
    }
  }
}
