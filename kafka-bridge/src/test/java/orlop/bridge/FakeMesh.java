package orlop.bridge;

import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ServerLiveRequest;
import inference.ServerLiveResponse;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;

/**
 * A pod on a real socket whose model doubles its FP32 input {@code x} into the output {@code y},
 * row by row. A test decides for each call how late it answers and with what error.
 */
final class FakeMesh implements AutoCloseable {
  /** One call as it arrived; headers that were not sent are empty. */
  record Call(String modelHeader, String aliasHeader, ModelInferRequest request) {
    float firstX() {
      return request.getRawInputContentsCount() > 0
          ? floats(request.getRawInputContents(0)).getFloat(0)
          : request.getInputs(0).getContents().getFp32Contents(0);
    }
  }

  /** How to answer: with the doubled input when the status is OK. */
  record Reply(long delayMs, Status status) {
    static final Reply NOW = new Reply(0, Status.OK);

    static Reply failed(Status status) {
      return new Reply(0, status);
    }
  }

  private static final Metadata.Key<String> MODEL =
      Metadata.Key.of(Headers.MODEL_ID, Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> ALIAS =
      Metadata.Key.of(Headers.VMODEL_ID, Metadata.ASCII_STRING_MARSHALLER);
  private static final Context.Key<Metadata> SEEN = Context.key("seen");

  /** Tells of each call that a stop breaks off, with a stack trace; held, or its level is lost. */
  private static final Logger NOISE = Logger.getLogger("io.grpc.netty.NettyServerHandler");

  static {
    NOISE.setLevel(Level.OFF);
  }

  private final ScheduledExecutorService clock = Executors.newScheduledThreadPool(2);
  private final AtomicLong calls = new AtomicLong();
  private final AtomicLong rows = new AtomicLong();
  private volatile Function<Call, Reply> behaviour = call -> Reply.NOW;
  private int port;
  private @Nullable Server server;

  private FakeMesh() {}

  static FakeMesh start() {
    FakeMesh mesh = new FakeMesh();
    mesh.up();
    return mesh;
  }

  FakeMesh answering(Function<Call, Reply> behaviour) {
    this.behaviour = behaviour;
    return this;
  }

  String address() {
    return "127.0.0.1:" + port;
  }

  long calls() {
    return calls.get();
  }

  long rows() {
    return rows.get();
  }

  /** Stops listening; calls in progress break off. */
  void down() {
    Server running = server;
    if (running != null) {
      server = null;
      running.shutdownNow();
      try {
        running.awaitTermination(10, TimeUnit.SECONDS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Listens, again on the same port. */
  void up() {
    try {
      Server starting =
          NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
              .addService(new Service())
              .intercept(new HeaderKeeper())
              .build()
              .start();
      port = starting.getPort();
      server = starting;
    } catch (IOException e) {
      throw new IllegalStateException("no port for the fake mesh", e);
    }
  }

  @Override
  public void close() {
    down();
    clock.shutdownNow();
  }

  static ModelInferRequest request(String model, float... x) {
    ByteBuffer raw = ByteBuffer.allocate(4 * x.length).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : x) {
      raw.putFloat(value);
    }
    return ModelInferRequest.newBuilder()
        .setModelName(model)
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("x")
                .setDatatype("FP32")
                .addShape(x.length)
                .addShape(1))
        .addRawInputContents(ByteString.copyFrom(raw.flip()))
        .build();
  }

  static ByteBuffer floats(ByteString raw) {
    return raw.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  static ModelInferResponse doubled(ModelInferRequest request) {
    ModelInferRequest.InferInputTensor x = request.getInputs(0);
    ByteString raw =
        request.getRawInputContentsCount() > 0
            ? request.getRawInputContents(0)
            : Tensors.rawFp32(x.getContents());
    ByteBuffer in = floats(raw);
    ByteBuffer out = ByteBuffer.allocate(in.remaining()).order(ByteOrder.LITTLE_ENDIAN);
    while (in.hasRemaining()) {
      out.putFloat(2 * in.getFloat());
    }
    return ModelInferResponse.newBuilder()
        .setModelName(request.getModelName())
        .setId(request.getId())
        .addOutputs(
            ModelInferResponse.InferOutputTensor.newBuilder()
                .setName("y")
                .setDatatype("FP32")
                .addAllShape(x.getShapeList()))
        .addRawOutputContents(ByteString.copyFrom(out.flip()))
        .build();
  }

  private final class Service extends GRPCInferenceServiceGrpc.GRPCInferenceServiceImplBase {
    @Override
    public void modelInfer(ModelInferRequest request, StreamObserver<ModelInferResponse> observer) {
      calls.incrementAndGet();
      rows.addAndGet(RowBatch.rows(request));
      Metadata headers = SEEN.get();
      Reply reply = behaviour.apply(new Call(text(headers, MODEL), text(headers, ALIAS), request));
      Runnable answer =
          () -> {
            if (reply.status.isOk()) {
              observer.onNext(doubled(request));
              observer.onCompleted();
            } else {
              observer.onError(reply.status.asRuntimeException());
            }
          };
      if (reply.delayMs == 0) {
        answer.run();
      } else {
        clock.schedule(answer, reply.delayMs, TimeUnit.MILLISECONDS);
      }
    }

    @Override
    public void serverLive(ServerLiveRequest request, StreamObserver<ServerLiveResponse> observer) {
      observer.onNext(ServerLiveResponse.newBuilder().setLive(true).build());
      observer.onCompleted();
    }

    private static String text(Metadata headers, Metadata.Key<String> key) {
      String value = headers.get(key);
      return value == null ? "" : value;
    }
  }

  private static final class HeaderKeeper implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
      return Contexts.interceptCall(
          Context.current().withValue(SEEN, headers), call, headers, next);
    }
  }
}
