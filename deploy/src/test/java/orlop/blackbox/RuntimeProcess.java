package orlop.blackbox;

import com.google.protobuf.StringValue;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A running {@link RuntimeProgram}. It ends with this process. */
final class RuntimeProcess implements AutoCloseable {
  static final MethodDescriptor<StringValue, StringValue> CONTROL =
      MethodDescriptor.<StringValue, StringValue>newBuilder()
          .setType(MethodDescriptor.MethodType.UNARY)
          .setFullMethodName("blackbox.Control/Say")
          .setRequestMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
          .setResponseMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
          .build();

  private final int port;
  private final Path log;
  private final List<String> options;
  private final ManagedChannel channel;
  private Process process;

  /** Starts it on a free port, without waiting for it. */
  RuntimeProcess(Path log, int port, String... options) throws IOException {
    this.port = port;
    this.log = log;
    this.options = List.of(options);
    this.channel = NettyChannelBuilder.forAddress("127.0.0.1", port).usePlaintext().build();
    this.process = launch();
  }

  private Process launch(String... more) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Xshare:auto"));
    command.add(RuntimeProgram.class.getName());
    command.add("port=" + port);
    command.addAll(options);
    command.addAll(List.of(more));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()))
            .redirectErrorStream(true);
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    return builder.start();
  }

  int port() {
    return port;
  }

  /**
   * Asks the runtime itself: {@code forget ID} (it loses a model), {@code unknown triton}, {@code
   * clear}.
   *
   * @return what it was told so far, a line each
   */
  List<String> say(String what) {
    String told =
        ClientCalls.blockingUnaryCall(
                channel,
                CONTROL,
                io.grpc.CallOptions.DEFAULT
                    .withWaitForReady()
                    .withDeadlineAfter(Stage.PATIENCE_S, TimeUnit.SECONDS),
                StringValue.of(what))
            .getValue();
    return told.isEmpty() ? List.of() : List.of(told.split("\n", -1));
  }

  /** What it was told so far: {@code load ID TYPE PATH KEY}, {@code unload ID}, calls. */
  List<String> told() {
    return say("");
  }

  /** How often it was told something that begins so. */
  long told(String beginning) {
    return told().stream().filter(line -> line.startsWith(beginning)).count();
  }

  /** SIGKILL. */
  void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** Starts it again, at the same place, with nothing in memory, and with further options. */
  void restart(String... more) throws IOException, InterruptedException {
    kill();
    process = launch(more);
    channel.resetConnectBackoff();
  }

  @Override
  public void close() {
    channel.shutdownNow();
    process.destroyForcibly();
  }
}
