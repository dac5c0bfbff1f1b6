package orlop.pod;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.InvalidProtocolBufferException;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.MetadataUtils;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import orlop.api.Headers;
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
      assertEquals("no input 'y'", new String(failed.value(), UTF_8));
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

  /** A pod whose models a real server beside it runs. */
  private static final class Beside implements AutoCloseable {
    final FakeSidecar sidecar = new FakeSidecar();
    final TestMesh mesh = new TestMesh(1);

    Beside(String... models) throws Exception {
      mesh.runtimes.getFirst().sidecar = sidecar.address();
      for (String model : models) {
        mesh.register(model);
      }
    }

    /** One V2 inference by REST. */
    RestClient.Answer infer(String name) throws Exception {
      byte[] body =
          """
          {"id": "call-7",
           "inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1.5, -2]}]}
          """
              .getBytes(UTF_8);
      try (RestClient rest = new RestClient(mesh.pod(0).restPort())) {
        return rest.post("/v2/models/" + name + "/infer", "", body);
      }
    }

    @Override
    public void close() {
      mesh.close();
      sidecar.close();
    }
  }

  /** What a runtime answers, which knows its models by their ids alone. */
  private static byte[] answer(byte[] request) {
    try {
      return ModelInferResponse.newBuilder()
          .setModelName(ModelInferRequest.parseFrom(request).getModelName())
          .build()
          .toByteArray();
    } catch (InvalidProtocolBufferException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void anInferenceByRestThatFailedBesideThePodIsOfferedWithItsStatus() throws Exception {
    try (Beside beside = new Beside("m")) {
      beside.sidecar.answer = Status.ABORTED.withDescription("not today");
      assertEquals(409, beside.infer("m").status());
      TestMesh.await("the events", () -> beside.mesh.events.size() == 2);
      PayloadEvent asked = one(beside.mesh, Kind.REQUEST);
      assertEquals("call-7", asked.id());
      assertEquals("call-7", ModelInferRequest.parseFrom(asked.value()).getId());
      PayloadEvent failed = one(beside.mesh, Kind.RESPONSE);
      assertEquals("call-7", failed.id());
      assertEquals(Status.Code.ABORTED.value(), failed.statusCode());
      assertEquals("not today", new String(failed.value(), UTF_8));
    }
  }

  @Test
  void anAnswerByAnAliasIsOfferedUnderTheNameThatTheCallerSaw() throws Exception {
    try (Beside beside = new Beside("m-v1")) {
      beside.mesh.alias("m", "m-v1");
      beside.sidecar.echo = PayloadTest::answer;
      String seen = beside.infer("m").json().path("model_name").asText();
      assertEquals("m", seen);
      TestMesh.await("the events", () -> beside.mesh.events.size() == 2);
      PayloadEvent told = one(beside.mesh, Kind.RESPONSE);
      assertEquals(seen, ModelInferResponse.parseFrom(told.value()).getModelName());
      assertEquals("m-v1", told.modelId());
      assertEquals("m", told.alias());
    }
  }

  @Test
  void aCallForSeveralModelsIsOfferedForEachOfThem() throws Exception {
    try (Beside beside = new Beside("a", "b")) {
      Metadata both = new Metadata();
      both.put(Named.ascii(Headers.MODEL_ID), "a");
      both.put(Named.ascii(Headers.MODEL_ID), "b");
      both.put(Named.ascii(Headers.REQUIRED), "any");
      var client =
          beside
              .mesh
              .client(beside.mesh.pod(0))
              .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(both));
      ModelInferRequest request = TestMesh.request("").toBuilder().setId("call-7").build();
      var unused = client.modelInfer(request);
      offeredForBoth(beside.mesh, Status.Code.OK);
      beside.mesh.events.clear();
      beside.sidecar.answer = Status.ABORTED.withDescription("not today");
      TestMesh.failure(() -> client.modelInfer(request));
      offeredForBoth(beside.mesh, Status.Code.ABORTED);
    }
  }

  private static void offeredForBoth(TestMesh mesh, Status.Code code) {
    TestMesh.await("the events", () -> mesh.events.size() == 4);
    assertTrue(mesh.events.stream().allMatch(e -> e.id().equals("call-7")));
    for (Kind kind : List.of(Kind.REQUEST, Kind.RESPONSE)) {
      List<PayloadEvent> events = mesh.events.stream().filter(e -> e.kind() == kind).toList();
      assertEquals(
          Set.of("a", "b"), events.stream().map(PayloadEvent::modelId).collect(Collectors.toSet()));
      int expected = kind == Kind.REQUEST ? 0 : code.value();
      assertTrue(events.stream().allMatch(e -> e.statusCode() == expected));
    }
  }
}
