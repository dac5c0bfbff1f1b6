package orlop.bench;

import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import mmesh.LoadModelRequest;
import mmesh.LoadModelResponse;
import mmesh.ModelRuntimeGrpc;
import mmesh.RuntimeStatusRequest;
import mmesh.RuntimeStatusResponse;
import mmesh.UnloadModelRequest;
import mmesh.UnloadModelResponse;

/**
 * A model server beside a pod that answers each inference with the bytes it was sent, so that what
 * is measured is the way there and back. Its own process; speaks {@code mmesh.ModelRuntime}.
 */
final class EchoServer {
  /** Models of this type are its own. */
  static final String TYPE = "echo";

  private static final int MAX_MESSAGE_BYTES = 64 << 20;

  private EchoServer() {}

  /** Listens on a free port until its standard input ends. */
  public static void main(String[] args) throws Exception {
    Server server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .directExecutor()
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .addService(echo())
            .addService(new Runtime())
            .build()
            .start();
    BenchProcess.announce("127.0.0.1:" + server.getPort());
    BenchProcess.awaitEnd();
    server.shutdownNow();
  }

  private static ServerServiceDefinition echo() {
    return ServerServiceDefinition.builder("inference.GRPCInferenceService")
        .addMethod(
            Raw.INFER,
            ServerCalls.asyncUnaryCall(
                (byte[] request, StreamObserver<byte[]> answer) -> {
                  answer.onNext(request);
                  answer.onCompleted();
                }))
        .build();
  }

  private static final class Runtime extends ModelRuntimeGrpc.ModelRuntimeImplBase {
    @Override
    public void loadModel(LoadModelRequest request, StreamObserver<LoadModelResponse> answer) {
      answer.onNext(LoadModelResponse.newBuilder().setSizeInBytes(1_000).build());
      answer.onCompleted();
    }

    @Override
    public void unloadModel(
        UnloadModelRequest request, StreamObserver<UnloadModelResponse> answer) {
      answer.onNext(UnloadModelResponse.getDefaultInstance());
      answer.onCompleted();
    }

    @Override
    public void runtimeStatus(
        RuntimeStatusRequest request, StreamObserver<RuntimeStatusResponse> answer) {
      answer.onNext(
          RuntimeStatusResponse.newBuilder()
              .setStatus(RuntimeStatusResponse.Status.READY)
              .setDefaultModelSizeInBytes(1_000)
              .build());
      answer.onCompleted();
    }
  }

  /** Messages as they are. */
  enum Raw implements MethodDescriptor.Marshaller<byte[]> {
    INSTANCE;

    static final MethodDescriptor<byte[], byte[]> INFER =
        MethodDescriptor.<byte[], byte[]>newBuilder()
            .setType(MethodDescriptor.MethodType.UNARY)
            .setFullMethodName("inference.GRPCInferenceService/ModelInfer")
            .setRequestMarshaller(INSTANCE)
            .setResponseMarshaller(INSTANCE)
            .build();

    @Override
    public InputStream stream(byte[] value) {
      return new ByteArrayInputStream(value);
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
