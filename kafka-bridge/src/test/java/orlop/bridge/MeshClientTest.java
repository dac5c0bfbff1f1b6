package orlop.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.util.List;
import org.junit.jupiter.api.Test;
import orlop.api.TestBroker;

/** Calls spread over the pods that live, and end by their deadline. */
class MeshClientTest {
  private static final ModelName MODEL = new ModelName("m", false);

  @Test
  void spreadsCallsAndPassesOverAPodThatIsDown() {
    try (FakeMesh one = FakeMesh.start();
        FakeMesh two = FakeMesh.start();
        MeshClient client = MeshClient.connect(List.of(one.address(), two.address()))) {
      for (int i = 0; i < 20; i++) {
        assertInstanceOf(Answer.Scored.class, call(client, 10_000));
      }
      assertEquals(10, one.calls());
      assertEquals(10, two.calls());
      one.down();
      for (int i = 0; i < 20; i++) {
        assertInstanceOf(Answer.Scored.class, call(client, 10_000));
      }
      assertEquals(30, two.calls());
      assertTrue(client.reachable().join());
      two.down();
      Answer.Failed failed = assertInstanceOf(Answer.Failed.class, call(client, 10_000));
      assertEquals(Status.Code.UNAVAILABLE, failed.code());
      assertFalse(client.reachable().join());
    }
  }

  @Test
  void endsACallToASilentPodByItsDeadline() {
    try (FakeMesh silent = FakeMesh.start();
        MeshClient client = MeshClient.connect(List.of(silent.address()))) {
      silent.answering(call -> new FakeMesh.Reply(60_000, Status.OK));
      Answer.Failed failed = assertInstanceOf(Answer.Failed.class, call(client, 200));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, failed.code());
      assertTrue(failed.message().contains(silent.address()), failed.message());
    }
  }

  @Test
  void namesModelsBeyondAsciiInTheBinaryHeader() {
    try (FakeMesh mesh = FakeMesh.start();
        MeshClient client = MeshClient.connect(List.of(mesh.address()))) {
      StringBuilder seen = new StringBuilder();
      mesh.answering(
          call -> {
            seen.append(call.modelHeader()).append('|').append(call.request().getModelName());
            return FakeMesh.Reply.NOW;
          });
      client.infer(FakeMesh.request("größe", 1), new ModelName("größe", false), 10_000).join();
      assertEquals("|größe", seen.toString());
    }
  }

  @Test
  void failsAtOnceWhereNobodyListens() {
    String nobody = "127.0.0.1:" + TestBroker.freePort();
    try (MeshClient client = MeshClient.connect(List.of(nobody))) {
      Answer.Failed failed = assertInstanceOf(Answer.Failed.class, call(client, 10_000));
      assertEquals(Status.Code.UNAVAILABLE, failed.code());
      assertTrue(failed.message().contains(nobody), failed.message());
    }
  }

  private static Answer call(MeshClient client, long timeoutMs) {
    return client.infer(FakeMesh.request("m", 1), MODEL, timeoutMs).join();
  }
}
