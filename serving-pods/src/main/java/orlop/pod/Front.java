package orlop.pod;

import inference.GRPCInferenceServiceGrpc;
import inference.ModelReadyRequest;
import inference.ModelReadyResponse;
import inference.ServerLiveRequest;
import inference.ServerLiveResponse;
import inference.ServerMetadataRequest;
import inference.ServerMetadataResponse;
import inference.ServerReadyRequest;
import inference.ServerReadyResponse;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerServiceDefinition;
import io.grpc.ServiceDescriptor;
import io.grpc.Status;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Model;

/**
 * Those methods of the V2 gRPC service that need no model in memory; the {@link StreamRouter} sends
 * the others where their model is. Runs on the transport's event loops and never blocks.
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
            .addMethod(GRPCInferenceServiceGrpc.getModelReadyMethod())
            .addMethod(GRPCInferenceServiceGrpc.getServerLiveMethod())
            .addMethod(GRPCInferenceServiceGrpc.getServerReadyMethod())
            .addMethod(GRPCInferenceServiceGrpc.getServerMetadataMethod())
            .build();
    return ServerServiceDefinition.builder(descriptor)
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
    Named named = Named.Asked.in(RequestHeaders.of(headers)).resolve(view, name, false);
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
                                  + Named.Asked.in(RequestHeaders.of(headers))
                                      .name(request.getName())
                                  + "' is registered")
                          .asRuntimeException());
                } else {
                  one(answer, ModelReadyResponse.newBuilder().setReady(is).build());
                }
              })
          .startCall(call, headers);
    }
  }
}
