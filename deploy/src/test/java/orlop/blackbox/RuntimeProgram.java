package orlop.blackbox;

import com.google.protobuf.StringValue;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse;
import inference.ModelStreamInferResponse;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * A model server beside a pod, with models that do nothing but answer. What it says of itself comes
 * from its arguments, what a model does from the query in the model's path, and it keeps in mind
 * what it was told; see {@link RuntimeOptions}.
 */
final class RuntimeProgram {
  private static final int MAX_MESSAGE_BYTES = 64 << 20;
  static final Context.Key<String> MODEL_HEADER = Context.key("model");
  private static final Metadata.Key<String> MODEL_ID =
      Metadata.Key.of("mm-model-id", Metadata.ASCII_STRING_MARSHALLER);

  final RuntimeOptions options;
  final Map<String, RuntimeOptions> models = new ConcurrentHashMap<>();
  final Map<String, AtomicInteger> loads = new ConcurrentHashMap<>();
  final Map<String, AtomicInteger> running = new ConcurrentHashMap<>();
  private final ConcurrentLinkedQueue<String> told = new ConcurrentLinkedQueue<>();
  volatile String unknown;

  private RuntimeProgram(RuntimeOptions options) {
    this.options = options;
    this.unknown = options.text("unknown", "NOT_FOUND");
  }

  /** Serves until its standard input ends. */
  public static void main(String[] args) throws Exception {
    RuntimeOptions options = RuntimeOptions.of(String.join("&", args));
    RuntimeProgram program = new RuntimeProgram(options);
    program.serve(new InetSocketAddress("127.0.0.1", (int) options.number("port", 0)));
    String socket = options.text("socket", "");
    if (!socket.isEmpty()) {
      Files.deleteIfExists(Path.of(socket));
      program.serve(UnixDomainSocketAddress.of(socket));
    }
    System.out.println("ready");
    while (System.in.read() >= 0) {
      // Only the end counts.
    }
    System.exit(0);
  }

  private void serve(SocketAddress address) throws IOException {
    NettyServerBuilder builder = NettyServerBuilder.forAddress(address);
    if (address instanceof UnixDomainSocketAddress) {
      builder
          .channelType(NioServerDomainSocketChannel.class)
          .bossEventLoopGroup(new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory()))
          .workerEventLoopGroup(new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory()));
    }
    Server unused =
        builder
            .executor(Executors.newVirtualThreadPerTaskExecutor())
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .maxInboundMetadataSize(1 << 16)
            .intercept(new Headers())
            .addService(new RuntimeManagement(this))
            .addService(new Inference())
            .addService(new RuntimeGuess(this).service())
            .addService(control())
            .build()
            .start();
  }

  void tell(String line) {
    told.add(line);
  }

  /** Null when it is loaded, else how this runtime says that it is not. */
  @Nullable Status missing(String id) {
    if (models.containsKey(id)) {
      return null;
    }
    return switch (unknown) {
      case "triton" ->
          Status.UNAVAILABLE.withDescription(
              "Request for unknown model: '" + id + "' is not found");
      case "mlserver" -> Status.INVALID_ARGUMENT.withDescription("Model " + id + " not found");
      default -> Status.NOT_FOUND.withDescription("no such model");
    };
  }

  /** Takes the time that the model takes, and says how many did at once. */
  void run(String id) {
    AtomicInteger now = running.computeIfAbsent(id, k -> new AtomicInteger());
    tell("runs " + id + " " + now.incrementAndGet());
    try {
      RuntimeOptions model = models.get(id);
      Thread.sleep(model == null ? 0 : model.number("runMs", 0));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      now.decrementAndGet();
    }
  }

  private static final class Headers implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
      String id = headers.get(MODEL_ID);
      return Contexts.interceptCall(
          Context.current().withValue(MODEL_HEADER, id == null ? "" : id), call, headers, next);
    }
  }

  /** V2: every model answers with its own name and the bytes that it was sent. */
  private final class Inference extends GRPCInferenceServiceGrpc.GRPCInferenceServiceImplBase {
    @Override
    public void modelInfer(ModelInferRequest request, StreamObserver<ModelInferResponse> answer) {
      String id = request.getModelName();
      tell("ModelInfer header=" + MODEL_HEADER.get() + " inside=" + id);
      Status missing = missing(id);
      if (missing != null) {
        answer.onError(missing.asRuntimeException());
        return;
      }
      run(id);
      answer.onNext(answer(request));
      answer.onCompleted();
    }

    private ModelInferResponse answer(ModelInferRequest request) {
      return ModelInferResponse.newBuilder()
          .setModelName(request.getModelName())
          .setId(request.getId())
          .addAllRawOutputContents(request.getRawInputContentsList())
          .build();
    }

    @Override
    public StreamObserver<ModelInferRequest> modelStreamInfer(
        StreamObserver<ModelStreamInferResponse> answer) {
      return new StreamObserver<>() {
        @Override
        public void onNext(ModelInferRequest request) {
          tell("ModelStreamInfer inside=" + request.getModelName());
          answer.onNext(
              ModelStreamInferResponse.newBuilder().setInferResponse(answer(request)).build());
        }

        @Override
        public void onError(Throwable error) {}

        @Override
        public void onCompleted() {
          answer.onCompleted();
        }
      };
    }

    @Override
    public void modelMetadata(
        ModelMetadataRequest request, StreamObserver<ModelMetadataResponse> answer) {
      answer.onNext(
          ModelMetadataResponse.newBuilder()
              .setName(request.getName())
              .setPlatform("test")
              .build());
      answer.onCompleted();
    }
  }

  /** What the scenario asks of the runtime itself. */
  private ServerServiceDefinition control() {
    return ServerServiceDefinition.builder("blackbox.Control")
        .addMethod(
            RuntimeProcess.CONTROL,
            ServerCalls.asyncUnaryCall(
                (StringValue said, StreamObserver<StringValue> answer) -> {
                  answer.onNext(StringValue.of(obey(said.getValue())));
                  answer.onCompleted();
                }))
        .build();
  }

  private String obey(String said) {
    String[] words = said.split(" ", 2);
    switch (words[0]) {
      case "forget" -> models.remove(words[1]);
      case "unknown" -> unknown = words[1];
      case "clear" -> told.clear();
      default -> {}
    }
    return String.join("\n", told);
  }
}
