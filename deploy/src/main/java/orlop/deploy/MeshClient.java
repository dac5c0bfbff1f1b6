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
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import mmesh.ModelMeshGrpc;
import org.jspecify.annotations.Nullable;
import orlop.api.PodControlGrpc;
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

    @Option(
        names = "--tls-trust",
        paramLabel = "FILE|system",
        defaultValue = "",
        description = "Call the pod by TLS; the authorities (PEM) that sign its certificate.")
    String trust = "";

    @Option(
        names = "--tls-certificate",
        paramLabel = "FILE",
        defaultValue = "",
        description = "Certificate (PEM) to show, where the mesh asks for one.")
    String certificate = "";

    @Option(
        names = "--tls-key",
        paramLabel = "FILE",
        defaultValue = "",
        description = "Its private key (PEM).")
    String key = "";

    @Option(
        names = "--tls-passphrase-file",
        paramLabel = "FILE",
        defaultValue = "",
        description = "File whose first line decrypts the key.")
    String passphraseFile = "";

    @Option(
        names = "--tls-server-name",
        paramLabel = "NAME",
        defaultValue = "",
        description = "Name in the pod's certificate, where it is not the one in --mesh.")
    String serverName = "";

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
      return new MeshClient(address, timeoutSeconds, tls(), serverName);
    }

    private @Nullable SslContext tls() {
      if (trust.isEmpty()) {
        if (!(certificate + key + passphraseFile + serverName).isEmpty()) {
          throw new CommandException(
              "--tls-trust is missing", "name the authorities that sign the pod, or system");
        }
        return null;
      }
      TlsConfig config;
      try {
        config =
            new TlsConfig(
                certificate,
                key,
                passphrase(),
                TlsConfig.ClientAuth.NONE,
                "",
                "",
                trust,
                serverName,
                "",
                3_600_000);
      } catch (IllegalArgumentException e) {
        throw new CommandException(
            "--tls-certificate and --tls-key go together", "give both or none", e);
      }
      try (Certificates certificates = Certificates.open(config)) {
        return certificates == null ? null : certificates.client();
      }
    }

    private String passphrase() {
      if (passphraseFile.isEmpty()) {
        return "";
      }
      try (Stream<String> lines = Files.lines(Path.of(passphraseFile))) {
        return lines.findFirst().orElse("");
      } catch (IOException | UncheckedIOException e) {
        throw new CommandException(
            "--tls-passphrase-file " + passphraseFile + " cannot be read",
            "name a text file whose first line is the passphrase",
            e);
      }
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
