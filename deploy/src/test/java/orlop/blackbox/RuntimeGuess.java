package orlop.blackbox;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnknownFieldSet;
import io.grpc.MethodDescriptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.protobuf.lite.ProtoLiteUtils;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;

/**
 * An inference service that is nobody's standard: {@code blackbox.Guess}. Its requests carry a text
 * in field 1 and the model's id in field 3 of the message in field 2; its answers repeat {@code
 * id:text} in field 4.
 */
final class RuntimeGuess {
  static final String SERVICE = "blackbox.Guess";
  static final MethodDescriptor<UnknownFieldSet, UnknownFieldSet> ONE =
      method(MethodDescriptor.MethodType.UNARY, "One");
  static final MethodDescriptor<UnknownFieldSet, UnknownFieldSet> COUNT =
      method(MethodDescriptor.MethodType.SERVER_STREAMING, "Count");
  static final MethodDescriptor<UnknownFieldSet, UnknownFieldSet> JOIN =
      method(MethodDescriptor.MethodType.CLIENT_STREAMING, "Join");
  static final MethodDescriptor<UnknownFieldSet, UnknownFieldSet> ECHO =
      method(MethodDescriptor.MethodType.BIDI_STREAMING, "Echo");
  static final int COUNTED = 5;

  private final RuntimeProgram program;

  RuntimeGuess(RuntimeProgram program) {
    this.program = program;
  }

  private static MethodDescriptor<UnknownFieldSet, UnknownFieldSet> method(
      MethodDescriptor.MethodType type, String name) {
    var marshaller = ProtoLiteUtils.marshaller(UnknownFieldSet.getDefaultInstance());
    return MethodDescriptor.<UnknownFieldSet, UnknownFieldSet>newBuilder()
        .setType(type)
        .setFullMethodName(SERVICE + "/" + name)
        .setRequestMarshaller(marshaller)
        .setResponseMarshaller(marshaller)
        .build();
  }

  /** A request; without an id when that is empty. */
  static UnknownFieldSet request(String text, String id) {
    UnknownFieldSet.Builder request = UnknownFieldSet.newBuilder();
    // Before the text, as a large one may still be on its way when the id is looked for.
    request.mergeField(1, bytes(ByteString.copyFromUtf8(text)));
    if (!id.isEmpty()) {
      UnknownFieldSet inner =
          UnknownFieldSet.newBuilder()
              .mergeField(1, bytes(ByteString.copyFromUtf8("before")))
              .mergeField(3, bytes(ByteString.copyFromUtf8(id)))
              .mergeField(9, bytes(ByteString.copyFromUtf8("after")))
              .build();
      request.mergeField(2, bytes(inner.toByteString()));
    }
    return request.build();
  }

  /** All that an answer says. */
  static java.util.List<String> said(UnknownFieldSet answer) {
    return answer.getField(4).getLengthDelimitedList().stream()
        .map(ByteString::toStringUtf8)
        .toList();
  }

  private static UnknownFieldSet.Field bytes(ByteString value) {
    return UnknownFieldSet.Field.newBuilder().addLengthDelimited(value).build();
  }

  private static String text(UnknownFieldSet request) {
    return request.getField(1).getLengthDelimitedList().stream()
        .map(ByteString::toStringUtf8)
        .findFirst()
        .orElse("");
  }

  private static String inside(UnknownFieldSet request) {
    try {
      for (ByteString outer : request.getField(2).getLengthDelimitedList()) {
        for (ByteString id :
            UnknownFieldSet.parseFrom(outer).getField(3).getLengthDelimitedList()) {
          return id.toStringUtf8();
        }
      }
      return "";
    } catch (com.google.protobuf.InvalidProtocolBufferException e) {
      return "?";
    }
  }

  private static UnknownFieldSet answer(String text) {
    return UnknownFieldSet.newBuilder().mergeField(4, bytes(ByteString.copyFromUtf8(text))).build();
  }

  /** The model's id: inside, else from the header; tells the caller when it is not loaded. */
  private String id(String method, UnknownFieldSet request) {
    String inside = inside(request);
    String header = RuntimeProgram.MODEL_HEADER.get();
    program.tell("%s header=%s inside=%s".formatted(method, header, inside));
    String id = inside.isEmpty() ? header : inside;
    Status missing = program.missing(id);
    if (missing != null) {
      throw missing.asRuntimeException();
    }
    program.run(id);
    return id;
  }

  ServerServiceDefinition service() {
    return ServerServiceDefinition.builder(SERVICE)
        .addMethod(
            ONE,
            ServerCalls.asyncUnaryCall(
                (UnknownFieldSet request, StreamObserver<UnknownFieldSet> to) ->
                    guarded(
                        to,
                        () -> {
                          to.onNext(answer(id("One", request) + ":" + text(request)));
                          to.onCompleted();
                        })))
        .addMethod(
            COUNT,
            ServerCalls.asyncServerStreamingCall(
                (UnknownFieldSet request, StreamObserver<UnknownFieldSet> to) ->
                    guarded(
                        to,
                        () -> {
                          String id = id("Count", request);
                          for (int i = 0; i < COUNTED; i++) {
                            to.onNext(answer(id + ":" + i));
                          }
                          to.onCompleted();
                        })))
        .addMethod(JOIN, ServerCalls.asyncClientStreamingCall(this::join))
        .addMethod(ECHO, ServerCalls.asyncBidiStreamingCall(this::echo))
        .build();
  }

  private static void guarded(StreamObserver<UnknownFieldSet> to, Runnable step) {
    try {
      step.run();
    } catch (io.grpc.StatusRuntimeException e) {
      to.onError(e);
    }
  }

  private StreamObserver<UnknownFieldSet> join(StreamObserver<UnknownFieldSet> to) {
    StringBuilder all = new StringBuilder();
    return new Incoming(to) {
      @Override
      public void onNext(UnknownFieldSet request) {
        guarded(to, () -> all.append(id("Join", request)).append(':').append(text(request)));
      }

      @Override
      public void onCompleted() {
        to.onNext(answer(all.toString()));
        to.onCompleted();
      }
    };
  }

  private StreamObserver<UnknownFieldSet> echo(StreamObserver<UnknownFieldSet> to) {
    return new Incoming(to) {
      @Override
      public void onNext(UnknownFieldSet request) {
        guarded(to, () -> to.onNext(answer(id("Echo", request) + ":" + text(request))));
      }
    };
  }

  private abstract static class Incoming implements StreamObserver<UnknownFieldSet> {
    private final StreamObserver<UnknownFieldSet> to;

    Incoming(StreamObserver<UnknownFieldSet> to) {
      this.to = to;
    }

    @Override
    public void onError(Throwable error) {}

    @Override
    public void onCompleted() {
      to.onCompleted();
    }
  }
}
