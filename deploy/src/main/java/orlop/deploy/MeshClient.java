package orlop.deploy;

import inference.GRPCInferenceServiceGrpc;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import io.netty.handler.ssl.SslContext;
import java.util.concurrent.TimeUnit;
import mmesh.ModelMeshGrpc;
import org.jspecify.annotations.Nullable;
import orlop.api.PodControlGrpc;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** One connection of the command line to any pod of a mesh. Thread-safe. */
final class MeshClient implements AutoCloseable {
  private static final int MAX_MESSAGE_BYTES = 64 << 20;

  /** The options that every client command shares. */
  static final class Target {
    @Option(
        names = "--mesh",
        paramLabel = "HOST:PORT",
        defaultValue = "127.0.0.1:8033",
        description = "A pod of the mesh; any will do. Default: ${DEFAULT-VALUE}.")
    String address = "127.0.0.1:8033";

    @Option(
        names = "--timeout",
        paramLabel = "SECONDS",
        defaultValue = "60",
        description = "Give up after so long, 1 to 3600. Default: ${DEFAULT-VALUE}.")
    int timeoutSeconds = 60;

    @Mixin TlsOptions tls = new TlsOptions();

    /** What the address came from, for the line that refuses it. */
    String option = "--mesh";

    MeshClient connect() {
      if (timeoutSeconds < 1 || timeoutSeconds > 3600) {
        throw new CommandException(
            "--timeout is " + timeoutSeconds + " seconds", "give a number from 1 to 3600");
      }
      if (!address.matches("[^:]+:\\d{1,5}|\\[.*]:\\d{1,5}")) {
        throw new CommandException(
            option + " '" + address + "' is not HOST:PORT",
            "for example " + option + " 127.0.0.1:8033");
      }
      return new MeshClient(address, timeoutSeconds, tls.context(), tls.serverName);
    }
  }

  private final String address;
  private final int timeoutSeconds;
  private final ManagedChannel channel;

  MeshClient(String address, int timeoutSeconds) {
    this(address, timeoutSeconds, null, "");
  }

  /**
   * @param tls null: in the clear
   * @param serverName in the pod's certificate; empty: the one of the address
   */
  MeshClient(String address, int timeoutSeconds, @Nullable SslContext tls, String serverName) {
    this.address = address;
    this.timeoutSeconds = timeoutSeconds;
    NettyChannelBuilder builder = NettyChannelBuilder.forTarget(address);
    if (!serverName.isEmpty()) {
      builder.overrideAuthority(serverName);
    }
    this.channel =
        (tls == null ? builder.usePlaintext() : builder.sslContext(tls))
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .build();
  }

  ModelMeshGrpc.ModelMeshBlockingStub management() {
    return ModelMeshGrpc.newBlockingStub(channel)
        .withDeadlineAfter(timeoutSeconds, TimeUnit.SECONDS);
  }

  PodControlGrpc.PodControlBlockingStub pod() {
    return PodControlGrpc.newBlockingStub(channel)
        .withDeadlineAfter(timeoutSeconds, TimeUnit.SECONDS);
  }

  GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub inference() {
    return GRPCInferenceServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(timeoutSeconds, TimeUnit.SECONDS);
  }

  /** As {@link #inference()}, with one header on every call. */
  GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub inference(String header, String value) {
    Metadata headers = new Metadata();
    headers.put(Metadata.Key.of(header, Metadata.ASCII_STRING_MARSHALLER), value);
    return GRPCInferenceServiceGrpc.newBlockingStub(
            ClientInterceptors.intercept(
                channel, MetadataUtils.newAttachHeadersInterceptor(headers)))
        .withDeadlineAfter(timeoutSeconds, TimeUnit.SECONDS);
  }

  /** A refused or failed call as one line with what to do about it. */
  CommandException explain(StatusRuntimeException e) {
    Status status = e.getStatus();
    String said = status.getDescription() == null ? "" : ": " + status.getDescription();
    // What a pod itself says comes without a cause.
    if (status.getCode() == Status.Code.UNAVAILABLE && status.getCause() != null) {
      return new CommandException(
          "no mesh answers at " + address + ": " + root(status.getCause()),
          "start one with ./orlop dev, or name a pod with --mesh HOST:PORT",
          e);
    }
    return switch (status.getCode()) {
      case DEADLINE_EXCEEDED ->
          new CommandException(
              "%s did not answer within %d s".formatted(address, timeoutSeconds),
              "raise --timeout, or look at the pod's log",
              e);
      default ->
          new CommandException(
              status.getCode() + said, "./orlop status NAME shows what the mesh knows", e);
    };
  }

  private static String root(Throwable error) {
    Throwable root = error;
    while (root.getCause() != null && root.getCause() != root) {
      root = root.getCause();
    }
    return ErrorLine.flat(root.getMessage());
  }

  @Override
  public void close() {
    channel.shutdownNow();
  }
}
