package orlop.deploy;

import io.netty.handler.ssl.SslContext;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options of commands that call a pod which may speak TLS. */
final class TlsOptions {
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
      description = "Name in the pod's certificate, where it is not the one that is called.")
  String serverName = "";

  /**
   * @return null: the pod is called in the clear
   * @throws CommandException when they do not fit together, or naming option, file and reason
   */
  @Nullable SslContext context() {
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
