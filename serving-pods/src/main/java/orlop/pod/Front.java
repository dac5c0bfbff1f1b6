package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelReadyRequest;
import inference.ModelReadyResponse;
import inference.ServerLiveRequest;
import inference.ServerLiveResponse;
import inference.ServerMetadataRequest;
import inference.ServerMetadataResponse;
import inference.ServerReadyRequest;
import inference.ServerReadyResponse;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerMethodDefinition;
import io.grpc.ServerServiceDefinition;
import io.grpc.ServiceDescriptor;
import io.grpc.Status;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Model;

/**
 * The V2 gRPC service. Calls that need a model are taken as bytes and go to the {@link Dispatcher};
 * the others are answered here. Runs on the transport's event loops and never blocks.
 */
final class Front {
  private final Dispatcher dispatcher;
  private final BooleanSupplier ready;

  /**
   * @param ready whether traffic may be sent to this pod
   */
  Front(Dispatcher dispatcher, BooleanSupplier ready) {
    this.dispatcher = dispatcher;
    this.ready = ready;
  }

  ServerServiceDefinition service() {
    ServiceDescriptor generated = GRPCInferenceServiceGrpc.getServiceDescriptor();
    ServiceDescriptor descriptor =
        ServiceDescriptor.newBuilder(generated.getName())
            .setSchemaDescriptor(generated.getSchemaDescriptor())
            .addMethod(Op.INFER.method)
            .addMethod(Op.METADATA.method)
            .addMethod(GRPCInferenceServiceGrpc.getModelReadyMethod())
            .addMethod(GRPCInferenceServiceGrpc.getServerLiveMethod())
            .addMethod(GRPCInferenceServiceGrpc.getServerReadyMethod())
            .addMethod(GRPCInferenceServiceGrpc.getServerMetadataMethod())
            .build();
    return ServerServiceDefinition.builder(descriptor)
        .addMethod(ServerMethodDefinition.create(Op.INFER.method, new Door(Op.INFER)))
        .addMethod(ServerMethodDefinition.create(Op.METADATA.method, new Door(Op.METADATA)))
        .addMethod(GRPCInferenceServiceGrpc.getModelReadyMethod(), new ReadyDoor())
        .addMethod(
            GRPCInferenceServiceGrpc.getServerLiveMethod(),
            ServerCalls.asyncUnaryCall(
                (ServerLiveRequest request, StreamObserver<ServerLiveResponse> answer) ->
                    one(answer, ServerLiveResponse.newBuilder().setLive(true).build())))
        .addMethod(
            GRPCInferenceServiceGrpc.getServerReadyMethod(),
            ServerCalls.asyncUnaryCall(
                (ServerReadyRequest request, StreamObserver<ServerReadyResponse> answer) ->
                    one(
                        answer,
                        ServerReadyResponse.newBuilder().setReady(ready.getAsBoolean()).build())))
        .addMethod(
            GRPCInferenceServiceGrpc.getServerMetadataMethod(),
            ServerCalls.asyncUnaryCall(
                (ServerMetadataRequest request, StreamObserver<ServerMetadataResponse> answer) ->
                    one(answer, metadata())))
        .build();
  }

  ServerMetadataResponse metadata() {
    return ServerMetadataResponse.newBuilder()
        .setName("orlop")
        .setVersion(dispatcher.config.version())
        .build();
  }

  boolean serverReady() {
    return ready.getAsBoolean();
  }

  /**
   * Whether a model can be called, by the view alone.
   *
   * @return null when no model or alias has that name
   */
  @Nullable Boolean modelReady(Metadata headers, String name) {
    var view = dispatcher.registry.view();
    Named named = Named.resolve(view, headers, name);
    if (named == null) {
      return null;
    }
    Model model = named.model();
    return dispatcher.host.isLoaded(model.id())
        || Readiness.ready(view, model.id(), dispatcher.clock.nowMs());
  }

  private static <T> void one(StreamObserver<T> answer, T message) {
    answer.onNext(message);
    answer.onCompleted();
  }

  /** Answers from the view; needs the headers, which the stub API hides. */
  private final class ReadyDoor
      implements ServerCallHandler<ModelReadyRequest, ModelReadyResponse> {
    @Override
    public ServerCall.Listener<ModelReadyRequest> startCall(
        ServerCall<ModelReadyRequest, ModelReadyResponse> call, Metadata headers) {
      return ServerCalls.asyncUnaryCall(
              (ModelReadyRequest request, StreamObserver<ModelReadyResponse> answer) -> {
                Boolean is = modelReady(headers, request.getName());
                if (is == null) {
                  answer.onError(
                      Status.NOT_FOUND
                          .withDescription(
                              "no model or alias '"
                                  + Named.asked(headers, request.getName())
                                  + "' is registered")
                          .asRuntimeException());
                } else {
                  one(answer, ModelReadyResponse.newBuilder().setReady(is).build());
                }
              })
          .startCall(call, headers);
    }
  }

  /** Where calls that need a model come in. */
  private final class Door implements ServerCallHandler<byte[], byte[]> {
    private final Op op;

    Door(Op op) {
      this.op = op;
    }

    @Override
    public ServerCall.Listener<byte[]> startCall(
        ServerCall<byte[], byte[]> call, Metadata headers) {
      // One more than a unary call has, so that the library notices a second message and ends it.
      call.request(2);
      return new Visitor(op, call, headers);
    }
  }

  private final class Visitor extends ServerCall.Listener<byte[]> {
    private final Op op;
    private final ServerCall<byte[], byte[]> call;
    private final Metadata headers;
    private byte @Nullable [] message;
    private @Nullable Call running;

    Visitor(Op op, ServerCall<byte[], byte[]> call, Metadata headers) {
      this.op = op;
      this.call = call;
      this.headers = headers;
    }

    @Override
    public void onMessage(byte[] received) {
      message = received;
    }

    @Override
    public void onHalfClose() {
      byte[] request = message;
      message = null;
      if (request == null) {
        refuse("the call carries no request message");
        return;
      }
      String name;
      try {
        name = NameSplice.modelName(request);
      } catch (InvalidProtocolBufferException e) {
        refuse(String.valueOf(e.getMessage()));
        return;
      }
      running =
          dispatcher.begin(
              op, request, headers, name, Context.current().getDeadline(), this::reply);
    }

    @Override
    public void onCancel() {
      if (running != null) {
        running.cancel();
      }
    }

    private void refuse(String why) {
      call.close(Status.INVALID_ARGUMENT.withDescription(why), new Metadata());
    }

    private void reply(Status status, Metadata trailers, byte @Nullable [] answer) {
      if (call.isCancelled()) {
        return;
      }
      if (answer != null) {
        call.sendHeaders(new Metadata());
        call.sendMessage(answer);
      }
      call.close(status, trailers);
    }
  }
}
