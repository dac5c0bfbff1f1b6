package orlop.pod;

import inference.ModelInferRequest;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A real gRPC server beside the pods. Unary calls and both-way streams echo; {@code FLOOD} sends
 * without end as fast as it is let; {@code SINK} reads nothing until it is told to.
 */
final class FakeSidecar implements AutoCloseable {
  static final MethodDescriptor<byte[], byte[]> STREAM =
      Bytes.method(
          MethodDescriptor.MethodType.BIDI_STREAMING,
          "inference.GRPCInferenceService/ModelStreamInfer");
  static final MethodDescriptor<byte[], byte[]> FLOOD =
      Bytes.method(MethodDescriptor.MethodType.SERVER_STREAMING, "test.Runtime/Flood");
  static final MethodDescriptor<byte[], byte[]> SINK =
      Bytes.method(MethodDescriptor.MethodType.CLIENT_STREAMING, "test.Runtime/Sink");
  static final int FLOOD_MESSAGE_BYTES = 10_000;
  static final Metadata.Key<String> TRAILER = Named.ascii("x-trailer");

  final AtomicInteger calls = new AtomicInteger();
  final AtomicInteger cancelled = new AtomicInteger();
  final AtomicInteger ended = new AtomicInteger();
  final AtomicLong flooded = new AtomicLong();
  final List<Metadata> headers = new CopyOnWriteArrayList<>();
  final List<String> namesInside = new CopyOnWriteArrayList<>();
  final List<Long> deadlinesMs = new CopyOnWriteArrayList<>();
  final List<ServerCall<byte[], byte[]>> sinks = new CopyOnWriteArrayList<>();
  volatile @Nullable Status answer;

  /** Beside {@link #TRAILER}. */
  volatile Metadata trailers = new Metadata();

  /** Makes an answer of a message that is to be echoed. */
  volatile UnaryOperator<byte[]> echo = UnaryOperator.identity();

  volatile boolean silent;
  private final Server server;

  FakeSidecar() throws IOException {
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .directExecutor()
            .maxInboundMessageSize(64 << 20)
            .addService(
                ServerServiceDefinition.builder("inference.GRPCInferenceService")
                    .addMethod(Bytes.INFER, handler(Kind.ECHO))
                    .addMethod(STREAM, handler(Kind.ECHO))
                    .build())
            .addService(
                ServerServiceDefinition.builder("test.Runtime")
                    .addMethod(FLOOD, handler(Kind.FLOOD))
                    .addMethod(SINK, handler(Kind.SINK))
                    .build())
            .build()
            .start();
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  private enum Kind {
    ECHO,
    FLOOD,
    SINK
  }

  private ServerCallHandler<byte[], byte[]> handler(Kind kind) {
    return (call, received) -> {
      calls.incrementAndGet();
      headers.add(received);
      var deadline = Context.current().getDeadline();
      if (deadline != null) {
        deadlinesMs.add(deadline.timeRemaining(java.util.concurrent.TimeUnit.MILLISECONDS));
      }
      if (kind == Kind.SINK) {
        sinks.add(call);
      } else {
        call.request(1);
      }
      return new Listener(kind, call);
    };
  }

  private final class Listener extends ServerCall.Listener<byte[]> {
    private final Kind kind;
    private final ServerCall<byte[], byte[]> call;
    private boolean sent;
    private boolean flooding;

    Listener(Kind kind, ServerCall<byte[], byte[]> call) {
      this.kind = kind;
      this.call = call;
    }

    @Override
    public void onMessage(byte[] message) {
      try {
        namesInside.add(ModelInferRequest.parseFrom(message).getModelName());
      } catch (com.google.protobuf.InvalidProtocolBufferException e) {
        namesInside.add("?");
      }
      if (silent || answer != null) {
        return;
      }
      if (kind == Kind.ECHO) {
        headers();
        call.sendMessage(echo.apply(message));
      }
      if (kind != Kind.FLOOD && call.getMethodDescriptor() != Bytes.INFER) {
        call.request(1);
      }
    }

    private void headers() {
      if (!sent) {
        sent = true;
        call.sendHeaders(new Metadata());
      }
    }

    @Override
    public void onHalfClose() {
      if (silent) {
        return;
      }
      if (kind == Kind.FLOOD) {
        headers();
        flooding = true;
        onReady();
        return;
      }
      Status status = answer;
      Metadata trailers = new Metadata();
      trailers.put(TRAILER, "the end");
      trailers.merge(FakeSidecar.this.trailers);
      if (status == null && kind == Kind.SINK) {
        headers();
        call.sendMessage(new byte[] {1});
      }
      ended.incrementAndGet();
      call.close(status == null ? Status.OK : status, trailers);
    }

    @Override
    public void onReady() {
      while (flooding && call.isReady()) {
        byte[] message = new byte[FLOOD_MESSAGE_BYTES];
        message[0] = (byte) flooded.getAndIncrement();
        call.sendMessage(message);
      }
    }

    @Override
    public void onCancel() {
      flooding = false;
      cancelled.incrementAndGet();
    }
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}
