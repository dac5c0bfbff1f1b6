package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import io.grpc.Status;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import orlop.api.PayloadEvent;
import orlop.api.PayloadEvent.Kind;
import orlop.runtime.InferenceException;

/** Each inference is offered once, by the pod that ran it, however the call got there. */
class PayloadTest {

  private static PayloadEvent one(TestMesh mesh, Kind kind) {
    List<PayloadEvent> events = mesh.events.stream().filter(e -> e.kind() == kind).toList();
    assertEquals(1, events.size());
    return events.getFirst();
  }

  @Test
  void requestAndResponseAreOfferedOnceWhereTheyRan() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m-v1");
      mesh.alias("m", "m-v1");
      mesh.client(mesh.pod(0))
          .modelMetadata(ModelMetadataRequest.newBuilder().setName("m").build());
      int holder = mesh.holder("m-v1");
      ModelInferRequest request = TestMesh.request("m").toBuilder().setId("call-7").build();
      ModelInferResponse response =
          mesh.client(
                  mesh.pod(1 - holder), Map.of("x-request-id", "r-1", "authorization", "secret"))
              .modelInfer(request);
      TestMesh.await("the events", () -> mesh.events.size() >= 2);
      PayloadEvent sent = one(mesh, Kind.REQUEST);
      assertEquals("call-7", sent.id());
      assertEquals("m-v1", sent.modelId());
      assertEquals("m", sent.alias());
      assertEquals("urn:pod-" + holder, sent.source());
      assertArrayEquals(request.toByteArray(), sent.value());
      assertEquals(Map.of("x-request-id", "r-1"), sent.metadata());
      PayloadEvent received = one(mesh, Kind.RESPONSE);
      assertEquals("call-7", received.id());
      assertEquals(0, received.statusCode());
      assertArrayEquals(response.toByteArray(), received.value());
    }
  }

  @Test
  void aCallWithoutAnIdGetsTheHeadersOrANewOne() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.client(mesh.pod(0), Map.of("x-request-id", "r-1")).modelInfer(TestMesh.request("m"));
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      TestMesh.await("the events", () -> mesh.events.size() == 4);
      assertEquals("r-1", mesh.events.get(0).id());
      assertEquals("r-1", mesh.events.get(1).id());
      UUID made = UUID.fromString(mesh.events.get(2).id());
      assertEquals(7, made.version());
      assertEquals(2, made.variant());
      assertEquals(made.toString(), mesh.events.get(3).id());
    }
  }

  @Test
  void aFailedInferenceIsOfferedWithItsStatus() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      mesh.runtimes
          .getFirst()
          .inferenceFailures
          .put(
              "m",
              new InferenceException(InferenceException.Code.INVALID_ARGUMENT, "no input 'y'"));
      TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m")));
      TestMesh.await("the events", () -> mesh.events.size() == 2);
      PayloadEvent failed = one(mesh, Kind.RESPONSE);
      assertEquals(Status.Code.INVALID_ARGUMENT.value(), failed.statusCode());
      assertEquals(
          "no input 'y'", new String(failed.value(), java.nio.charset.StandardCharsets.UTF_8));
    }
  }

  @Test
  void aCallThatDidNotRunIsNotOffered() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      TestMesh.failure(() -> mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("nope")));
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      TestMesh.await("the events", () -> mesh.events.size() == 2);
      assertTrue(mesh.events.stream().allMatch(e -> e.modelId().equals("m")));
    }
  }
}
