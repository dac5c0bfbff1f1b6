package orlop.bench;

import inference.ModelInferRequest;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Those who call cold models, in a process of their own, so that they do not stand in the way of
 * the client that is measured.
 */
final class IsolationCrowd {
  private IsolationCrowd() {}

  static BenchProcess start(String port, Path request) throws java.io.IOException {
    return BenchProcess.startNice(
        IsolationCrowd.class, java.util.List.of("-Xmx256m"), port, request.toString());
  }

  /**
   * The pod's port and a file with a request without a name. Each line it is told, {@code models
   * first calls}, makes it call those models in turn within a second; it says how many failed, and
   * by how many milliseconds a call was late.
   */
  public static void main(String[] args) throws Exception {
    ModelInferRequest request = ModelInferRequest.parseFrom(Files.readAllBytes(Path.of(args[1])));
    ManagedChannel channel =
        NettyChannelBuilder.forAddress("127.0.0.1", Integer.parseInt(args[0]))
            .usePlaintext()
            .directExecutor()
            .build();
    BenchProcess.announce("here");
    BenchProcess.answer(
        line -> {
          String[] told = line.split(" ");
          int models = Integer.parseInt(told[0]);
          int first = Integer.parseInt(told[1]);
          int calls = Integer.parseInt(told[2]);
          byte[][] messages = new byte[models][];
          for (int i = 0; i < models; i++) {
            String name = IsolationPod.COLD + (first + i);
            messages[i] = request.toBuilder().setModelName(name).build().toByteArray();
          }
          Pace.Outcome outcome = Pace.run(channel, calls, calls, i -> messages[i % models]);
          String why = outcome.failed() == 0 ? "" : String.valueOf(outcome.firstFailure());
          return outcome.failed() + " " + Math.round(outcome.lateMillis()) + " " + why;
        });
    channel.shutdownNow();
  }
}
