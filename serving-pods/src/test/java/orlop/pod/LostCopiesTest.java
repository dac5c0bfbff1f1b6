package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import orlop.placement.Event;
import orlop.placement.Model;

/** Whatever goes wrong with a copy, it is closed once, and the pod goes on. */
class LostCopiesTest {

  /** Nobody is told that it is ready, so nothing speaks against that it leaves at once. */
  private static void load(TestMesh mesh, String id) throws Exception {
    Model model = mesh.register(id);
    assertTrue(mesh.pod(0).host().want(model, 1, Event.Purpose.ONLINE, null));
  }

  /** While it is held, what is told the host waits in the order in which it was told. */
  private static CountDownLatch holdHostThread(TestMesh mesh) throws Exception {
    FakeRuntime runtime = mesh.runtimes.getFirst();
    CountDownLatch gate = new CountDownLatch(1);
    runtime.sizeGate = gate;
    load(mesh, "other");
    TestMesh.await("the host thread", () -> runtime.atSizeGate.get() > 0);
    return gate;
  }

  private static void evictAndLose(boolean evictFirst) throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      FakeRuntime runtime = mesh.runtimes.getFirst();
      ModelHost host = mesh.pod(0).host();
      load(mesh, "m");
      TestMesh.await("the copy", () -> mesh.loadedCopies("m") == 1);
      Slot<Held> slot = host.pin("m", false);
      assertNotNull(slot);
      CountDownLatch gate = holdHostThread(mesh);
      if (evictFirst) {
        assertTrue(host.letGo("m"));
      }
      host.lost("m", slot);
      if (!evictFirst) {
        assertTrue(host.letGo("m"));
      }
      gate.countDown();
      TestMesh.await("the copy to leave", () -> mesh.loadedCopies("m") == 0);
      assertEquals(0, runtime.closes.get(), "a call uses it");
      slot.unpin();
      TestMesh.await("the files", () -> mesh.store.open.get() == 1);
      assertEquals(1, runtime.closes.get());
      assertEquals(1, runtime.loaded.get(), "the other one");

      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      Slot<Held> anew = host.slots().get("m");
      // As when the queue was full and the news came after the new copy.
      host.queue().put(new ModelHost.Message.Lost("m", slot));
      load(mesh, "next");
      TestMesh.await("the host to have heard it", () -> mesh.loadedCopies("next") == 1);
      assertSame(anew, host.slots().get("m"));
      assertEquals(1, mesh.loadedCopies("m"));
      assertEquals(1, runtime.closes.get());
      assertEquals(3, mesh.store.open.get());
    }
  }

  @Test
  void aCopyThatIsToldToGoBeforeItsLossIsHeardIsClosedOnce() throws Exception {
    evictAndLose(true);
  }

  @Test
  void aCopyThatIsToldToGoAfterItsLossIsClosedOnce() throws Exception {
    evictAndLose(false);
  }

  private static void failsAndFreesItsPlace(TestMesh mesh, String id, String why) throws Exception {
    mesh.register(id);
    Status status =
        TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request(id)));
    assertEquals(Status.Code.UNAVAILABLE, status.getCode());
    String text = String.valueOf(status.getDescription());
    assertTrue(text.contains(why), text);
    mesh.register("after-" + id);
    mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("after-" + id));
  }

  @Test
  void aCopyWhoseLossIsNotHeardBeforeThePodEndsIsClosedAllTheSame() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      FakeRuntime runtime = mesh.runtimes.getFirst();
      ModelHost host = mesh.pod(0).host();
      load(mesh, "m");
      TestMesh.await("the copy", () -> mesh.loadedCopies("m") == 1);
      CountDownLatch gate = holdHostThread(mesh);
      host.lost("m", Objects.requireNonNull(host.slots().get("m")));
      Thread end = Thread.ofVirtual().start(mesh.pod(0)::close);
      TestMesh.await("the end", host::stopped);
      gate.countDown();
      end.join();
      TestMesh.await("all to be closed", () -> runtime.loaded.get() == 0);
      assertEquals(2, runtime.closes.get());
      assertEquals(0, mesh.store.open.get());
    }
  }

  @Test
  void aCopyThatFailsToCloseWhenThePodEndsDoesNotKeepTheNextOpen() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.loadingConcurrency(4))) {
      FakeRuntime runtime = mesh.runtimes.getFirst();
      ModelHost host = mesh.pod(0).host();
      CountDownLatch loads = new CountDownLatch(1);
      runtime.loadGate = loads;
      load(mesh, "a");
      load(mesh, "b");
      TestMesh.await("both loads", () -> runtime.loads.get() == 2);
      runtime.loadGate = null;
      runtime.closeErrors.put("a", new LinkageError("no such symbol"));
      runtime.closeErrors.put("b", new LinkageError("no such symbol"));
      CountDownLatch gate = holdHostThread(mesh);
      loads.countDown();
      TestMesh.await("the news of both", () -> host.queue().size() >= 2);
      Thread end = Thread.ofVirtual().start(mesh.pod(0)::close);
      TestMesh.await("the end", host::stopped);
      gate.countDown();
      end.join();
      TestMesh.await("all to be told to go", () -> runtime.closes.get() == 3);
      TestMesh.await("the files", () -> mesh.store.open.get() == 0);
    }
  }

  @Test
  void aCopyThatIsLostAfterTheHostHasEndedIsClosed() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.drainTimeoutMs(0))) {
      FakeRuntime runtime = mesh.runtimes.getFirst();
      ModelHost host = mesh.pod(0).host();
      load(mesh, "m");
      TestMesh.await("the copy", () -> mesh.loadedCopies("m") == 1);
      Slot<Held> slot = Objects.requireNonNull(host.pin("m", false));
      mesh.pod(0).close();
      assertEquals(0, runtime.closes.get(), "a call uses it");
      // As when its runtime breaks off while the pod ends.
      host.slots().put("m", slot);
      host.lost("m", slot);
      slot.unpin();
      TestMesh.await("the copy to be closed", () -> runtime.loaded.get() == 0);
      assertEquals(0, mesh.store.open.get());
    }
  }

  @Test
  void aModelWhoseWarmUpThrowsAnErrorIsClosed() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      FakeRuntime runtime = mesh.runtimes.getFirst();
      runtime.inferenceErrors.put("m", new LinkageError("no such symbol"));
      mesh.registerWithKey("m", "{\"orlop\": {\"warmUp\": 1}}");
      Status status =
          TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      String text = String.valueOf(status.getDescription());
      assertTrue(text.contains("no such symbol"), text);
      assertEquals(1, runtime.loads.get());
      TestMesh.await("the model to be closed", () -> runtime.loaded.get() == 0);
      assertEquals(0, mesh.store.open.get());
    }
  }

  @Test
  void aLoadThatThrowsAnErrorGivesItsPlaceToTheNext() throws Exception {
    try (TestMesh mesh = new TestMesh(1, b -> b.loadingConcurrency(1))) {
      mesh.store.pullErrors.put("pull", new OutOfMemoryError("no heap"));
      mesh.runtimes.getFirst().askErrors.put("ask", new NoClassDefFoundError("no class"));
      failsAndFreesItsPlace(mesh, "pull", "no heap");
      failsAndFreesItsPlace(mesh, "ask", "no class");
      assertEquals(2, mesh.runtimes.getFirst().loaded.get(), "those that serve");
      assertEquals(2, mesh.store.open.get());
    }
  }

  @Test
  void aStoreThatThrowsWhenItIsAskedForASizeHoldsNobodyUp() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.store.sizeErrors.put("m", new NoClassDefFoundError("no class"));
      mesh.register("m");
      assertEquals("m", mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")).getModelName());
    }
  }

  @Test
  void anUnloadThatThrowsAnErrorIsTriedAgain() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      FakeRuntime runtime = mesh.runtimes.getFirst();
      runtime.closeErrors.put("m", new LinkageError("no such symbol"));
      load(mesh, "m");
      TestMesh.await("the copy", () -> mesh.loadedCopies("m") == 1);
      assertTrue(mesh.pod(0).host().letGo("m"));
      TestMesh.await("the second try", () -> runtime.loaded.get() == 0);
      assertEquals(2, runtime.closes.get());
    }
  }
}
