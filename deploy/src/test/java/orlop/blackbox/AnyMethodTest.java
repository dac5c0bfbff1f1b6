package orlop.blackbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.UnknownFieldSet;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelStreamInferResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import mmesh.ModelRuntimeGrpc;
import mmesh.RuntimeStatusRequest;
import mmesh.SetVModelRequest;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** A service that only the runtime knows, called through two pods of which one has a runtime. */
@Tag("slow")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class AnyMethodTest {
  private static final String DATAPLANE =
      "{\"rpcConfigs\":{\"blackbox.Guess/One\":{\"idExtractionPath\":[2,3],\"vModelId\":true},"
          + "\"blackbox.Guess/Echo\":{\"idExtractionPath\":[2,3]},"
          + "\"blackbox.Guess/Count\":{},\"blackbox.Guess/Join\":{},"
          + "\"inference.GRPCInferenceService/ModelStreamInfer\":{},"
          + "\"inference.GRPCInferenceService/ModelInfer\":{\"idExtractionPath\":[1],\"vModelId\":true}},"
          + "\"allowOtherRpcs\":false}";

  private Stage stage;
  private RuntimeProcess runtime;
  private PodUnderTest pod;

  /** Holds no model of these, so that calls through it take one hop. */
  private PodUnderTest other;

  @BeforeAll
  void start(@TempDir Path dir) throws Exception {
    stage = new Stage(dir);
    runtime =
        stage.runtime(
            "methods=blackbox.Guess/One:2.3,blackbox.Guess/Echo:2.3,blackbox.Guess/Count,"
                + "blackbox.Guess/Join,inference.GRPCInferenceService/ModelInfer:1,"
                + "inference.GRPCInferenceService/ModelStreamInfer:1");
    pod =
        stage.pod(
            "any",
            runtime,
            "MM_DATAPLANE_CONFIG",
            DATAPLANE,
            "MM_SVC_GRPC_MAX_HEADERS_SIZE",
            "20000");
    for (String id : List.of("a", "b", "größe")) {
      var unused = pod.register(id, "p", true);
    }
    // Pods that came later hold nothing, and their runtime could not hold it.
    other = stage.pod("any", stage.runtime("capacity=1000"), "MM_DATAPLANE_CONFIG", DATAPLANE);
    Stage.await(
        "the second pod to see the models", () -> one(other, "x", "a").equals(List.of("a:x")));
  }

  @AfterAll
  void end() throws Exception {
    stage.close();
  }

  private static CallOptions options() {
    return CallOptions.DEFAULT.withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS);
  }

  private static List<String> one(PodUnderTest to, String text, String id, String... headers) {
    return RuntimeGuess.said(
        ClientCalls.blockingUnaryCall(
            to.channel(headers), RuntimeGuess.ONE, options(), RuntimeGuess.request(text, id)));
  }

  private static Status refusal(org.junit.jupiter.api.function.Executable call) {
    return assertThrows(StatusRuntimeException.class, call).getStatus();
  }

  @Test
  void anIdDeepInTheMessageNamesTheModel() {
    for (PodUnderTest to : List.of(pod, other)) {
      assertEquals(List.of("b:hello"), one(to, "hello", "b"));
      assertEquals(List.of("größe:x"), one(to, "x", "größe"));
    }
    Status none = refusal(() -> one(pod, "x", ""));
    assertEquals(Status.Code.INVALID_ARGUMENT, none.getCode(), none.toString());
    assertEquals(Status.Code.NOT_FOUND, refusal(() -> one(pod, "x", "nobody")).getCode());
  }

  @Test
  void theRuntimeFindsTheModelsIdWhereItWantsIt() {
    var unused =
        pod.mesh()
            .setVModel(
                SetVModelRequest.newBuilder().setVModelId("alias").setTargetModelId("b").build());
    Stage.await(
        "the alias at the second pod",
        () -> {
          try {
            return one(other, "x", "alias").equals(List.of("b:x"));
          } catch (StatusRuntimeException e) {
            return false;
          }
        });
    assertEquals(List.of("b:x"), one(pod, "x", "alias"));
    // The header wins, and puts the id into a message that has none, or another one.
    assertEquals(List.of("a:x"), one(pod, "x", "", "mm-model-id", "a"));
    assertEquals(List.of("a:x"), one(pod, "x", "b", "mm-model-id", "a"));
    assertEquals(List.of("b:x"), one(other, "x", "a", "mm-vmodel-id", "alias"));
    assertEquals(List.of("a:x"), one(pod, "x", "", "tas-model-id", "a"));
    String large = "x".repeat(3_000_000);
    assertEquals(List.of("a:" + large), one(other, large, "b", "mm-model-id", "a"));
  }

  @Test
  void headersMayNameModelsThatAreNoAscii() {
    Metadata metadata = new Metadata();
    metadata.put(
        Metadata.Key.of("mm-model-id-bin", Metadata.BINARY_BYTE_MARSHALLER),
        "größe".getBytes(StandardCharsets.UTF_8));
    Channel channel =
        ClientInterceptors.intercept(
            other.channel(), MetadataUtils.newAttachHeadersInterceptor(metadata));
    assertEquals(
        List.of("größe:x"),
        RuntimeGuess.said(
            ClientCalls.blockingUnaryCall(
                channel, RuntimeGuess.ONE, options(), RuntimeGuess.request("x", ""))));
  }

  @Test
  void whatIsNotOnTheListIsRefused() {
    MethodDescriptor<UnknownFieldSet, UnknownFieldSet> unlisted =
        RuntimeGuess.ONE.toBuilder().setFullMethodName("blackbox.Guess/Two").build();
    Status status =
        refusal(
            () ->
                ClientCalls.blockingUnaryCall(
                    pod.channel("mm-model-id", "a"),
                    unlisted,
                    options(),
                    RuntimeGuess.request("x", "a")));
    assertEquals(Status.Code.UNIMPLEMENTED, status.getCode(), status.toString());
    assertEquals("a", pod.inference().modelInfer(PodUnderTest.request("a")).getModelName());
  }

  @Test
  void nobodyOutsideReachesTheRuntimesOwnManagement() {
    for (String[] headers : new String[][] {{}, {"mm-model-id", "a"}}) {
      Status status =
          refusal(
              () ->
                  ModelRuntimeGrpc.newBlockingStub(pod.channel(headers))
                      .withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS)
                      .runtimeStatus(RuntimeStatusRequest.getDefaultInstance()));
      assertEquals(Status.Code.UNIMPLEMENTED, status.getCode(), status.toString());
    }
  }

  @Test
  void aCallForSeveralModelsGetsTheirAnswersInOrder() {
    assertEquals(
        List.of("b:x", "a:x", "größe:x", "a:x"), several(pod, "x", "all", "b", "a", "größe", "a"));
    assertEquals(List.of("a:y", "b:y"), several(other, "y", "all", "a", "b"));
    for (String lenient : List.of("any", "")) {
      assertEquals(List.of("a:z", "b:z"), several(pod, "z", lenient, "a", "nobody", "b"));
    }
    Status all = refusal(() -> several(pod, "z", "ALL", "a", "nobody", "b"));
    assertEquals(Status.Code.NOT_FOUND, all.getCode(), all.toString());
    assertTrue(String.valueOf(all.getDescription()).contains("nobody"), all.toString());
    assertEquals(
        Status.Code.NOT_FOUND, refusal(() -> several(pod, "z", "any", "no", "nobody")).getCode());
    assertEquals(
        Status.Code.INVALID_ARGUMENT, refusal(() -> several(pod, "z", "some", "a", "b")).getCode());
  }

  @Test
  void headersMayBeAsLargeAsConfiguredAndNoLarger() {
    assertEquals(
        List.of("a:x"), one(pod, "x", "", "mm-model-id", "a", "x-large", "h".repeat(15_000)));
    Metadata large = new Metadata();
    large.put(Metadata.Key.of("x-large", Metadata.ASCII_STRING_MARSHALLER), "h".repeat(25_000));
    // grpc-java does not send them, and resets the stream that it has not opened; HTTP/2 demands
    // that this ends the connection (RFC 9113, section 5.1), so it is one of its own.
    ManagedChannel own =
        NettyChannelBuilder.forAddress("127.0.0.1", pod.grpcPort()).usePlaintext().build();
    try {
      Channel channel =
          ClientInterceptors.intercept(own, MetadataUtils.newAttachHeadersInterceptor(large));
      var unused =
          refusal(
              () ->
                  ClientCalls.blockingUnaryCall(
                      channel, RuntimeGuess.ONE, options(), RuntimeGuess.request("x", "a")));
    } finally {
      own.shutdownNow();
    }
    assertEquals(List.of("a:x"), one(pod, "x", "", "mm-model-id", "a"));
  }

  private static List<String> several(
      PodUnderTest to, String text, String required, String... ids) {
    Metadata metadata = new Metadata();
    if (!required.isEmpty()) {
      metadata.put(Metadata.Key.of("mm-required", Metadata.ASCII_STRING_MARSHALLER), required);
    }
    for (String id : ids) {
      if (StandardCharsets.US_ASCII.newEncoder().canEncode(id)) {
        metadata.put(Metadata.Key.of("mm-model-id", Metadata.ASCII_STRING_MARSHALLER), id);
      } else {
        metadata.put(
            Metadata.Key.of("mm-model-id-bin", Metadata.BINARY_BYTE_MARSHALLER),
            id.getBytes(StandardCharsets.UTF_8));
      }
    }
    return RuntimeGuess.said(
        ClientCalls.blockingUnaryCall(
            ClientInterceptors.intercept(
                to.channel(), MetadataUtils.newAttachHeadersInterceptor(metadata)),
            RuntimeGuess.ONE,
            options(),
            RuntimeGuess.request(text, "")));
  }

  @Test
  void streamsOfEveryKindPassThroughOneHop() throws Exception {
    for (PodUnderTest to : List.of(pod, other)) {
      Channel channel = to.channel("mm-model-id", "a");
      List<String> counted = new ArrayList<>();
      ClientCalls.blockingServerStreamingCall(
              channel, RuntimeGuess.COUNT, options(), RuntimeGuess.request("", ""))
          .forEachRemaining(answer -> counted.addAll(RuntimeGuess.said(answer)));
      assertEquals(List.of("a:0", "a:1", "a:2", "a:3", "a:4"), counted);

      Answers joined = new Answers();
      StreamObserver<UnknownFieldSet> parts =
          ClientCalls.asyncClientStreamingCall(
              channel.newCall(RuntimeGuess.JOIN, options()), joined);
      for (String text : List.of("x", "y", "z")) {
        parts.onNext(RuntimeGuess.request(text, ""));
      }
      parts.onCompleted();
      assertEquals(List.of("a:xa:ya:z"), joined.get());
    }
  }

  /** Callers see the name that they used, the runtime the model's id, in every message. */
  @Test
  void aV2StreamByAnAliasCarriesItBothWays() throws Exception {
    var unused =
        pod.mesh()
            .setVModel(
                SetVModelRequest.newBuilder().setVModelId("stream").setTargetModelId("a").build());
    Stage.await(
        "the alias at the second pod",
        () -> {
          try {
            return one(other, "x", "stream").equals(List.of("a:x"));
          } catch (StatusRuntimeException e) {
            return false;
          }
        });
    for (PodUnderTest to : List.of(pod, other)) {
      var told = runtime.say("clear");
      List<ModelInferResponse> answers = new CopyOnWriteArrayList<>();
      CompletableFuture<Status> ended = new CompletableFuture<>();
      StreamObserver<ModelInferRequest> requests =
          GRPCInferenceServiceGrpc.newStub(to.channel())
              .modelStreamInfer(
                  new StreamObserver<>() {
                    @Override
                    public void onNext(ModelStreamInferResponse answer) {
                      answers.add(answer.getInferResponse());
                    }

                    @Override
                    public void onError(Throwable error) {
                      ended.complete(Status.fromThrowable(error));
                    }

                    @Override
                    public void onCompleted() {
                      ended.complete(Status.OK);
                    }
                  });
      for (int i = 1; i <= 3; i++) {
        requests.onNext(PodUnderTest.request("stream"));
        int expected = i;
        Stage.await("answer " + i, () -> answers.size() >= expected || ended.isDone());
      }
      for (ModelInferResponse answer : answers) {
        assertEquals("stream", answer.getModelName());
      }
      assertEquals(3, answers.size());
      assertEquals(3, runtime.told("ModelStreamInfer inside=a"));
      requests.onNext(PodUnderTest.request("b"));
      Status status = ended.get(Stage.PATIENCE_S, TimeUnit.SECONDS);
      assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode(), status.toString());
    }
  }

  /** The id is put into every message of a stream, which the first message named. */
  @Test
  void everyMessageOfAStreamCarriesTheModelsId() throws Exception {
    for (PodUnderTest to : List.of(pod, other)) {
      Answers echoed = new Answers();
      StreamObserver<UnknownFieldSet> parts =
          ClientCalls.asyncBidiStreamingCall(
              to.channel().newCall(RuntimeGuess.ECHO, options()), echoed);
      for (int i = 0; i < 3; i++) {
        parts.onNext(RuntimeGuess.request("t" + i, i == 0 ? "b" : ""));
        echoed.await(i + 1);
      }
      parts.onCompleted();
      assertEquals(List.of("b:t0", "b:t1", "b:t2"), echoed.get());
    }
  }

  /** Collects a stream of answers. */
  private static final class Answers implements StreamObserver<UnknownFieldSet> {
    private final List<String> said = new CopyOnWriteArrayList<>();
    private final CompletableFuture<List<String>> all = new CompletableFuture<>();

    @Override
    public void onNext(UnknownFieldSet answer) {
      said.addAll(RuntimeGuess.said(answer));
    }

    @Override
    public void onError(Throwable error) {
      all.completeExceptionally(error);
    }

    @Override
    public void onCompleted() {
      all.complete(List.copyOf(said));
    }

    void await(int count) {
      Stage.await("answer " + count, () -> said.size() >= count || all.isDone());
    }

    List<String> get() throws Exception {
      return all.get(Stage.PATIENCE_S, TimeUnit.SECONDS);
    }
  }
}
