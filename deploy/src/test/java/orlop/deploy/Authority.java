package orlop.deploy;

import io.netty.pkitesting.CertificateBuilder;
import io.netty.pkitesting.X509Bundle;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;

/** Signs certificates for tests and writes them down as PEM files. */
public final class Authority {
  private final X509Bundle ca;
  private final Path dir;
  private final String name;

  public Authority(Path dir, String name) throws Exception {
    this.dir = dir;
    this.name = name;
    this.ca =
        new CertificateBuilder()
            .subject("CN=" + name)
            .setIsCertificateAuthority(true)
            .buildSelfSigned();
  }

  /** Certificate and key of somebody, in {@code <somebody>.crt} and {@code <somebody>.key}. */
  public record Written(Path certificate, Path key) {}

  public Path file() throws IOException {
    return Files.writeString(dir.resolve(name + ".ca"), ca.getCertificatePEM());
  }

  public X509Bundle sign(String somebody) throws Exception {
    return sign(somebody, Instant.now().plus(Duration.ofDays(1)));
  }

  /** As pods and clients have them: for localhost and 127.0.0.1, for servers and clients. */
  public X509Bundle sign(String somebody, Instant until) throws Exception {
    return new CertificateBuilder()
        .rsa2048()
        .subject("CN=" + somebody)
        .notBefore(until.minus(Duration.ofDays(2)))
        .notAfter(until)
        .addSanDnsName("localhost")
        .addSanIpAddress("127.0.0.1")
        .addExtendedKeyUsageServerAuth()
        .addExtendedKeyUsageClientAuth()
        .buildIssuedBy(ca);
  }

  /** Writes certificate and key to the files of that stem, each in one step. */
  public Written write(String stem, X509Bundle bundle) throws IOException {
    return new Written(
        replace(dir.resolve(stem + ".crt"), bundle.getCertificatePathPEM()),
        replace(dir.resolve(stem + ".key"), bundle.getPrivateKeyPEM()));
  }

  private static Path replace(Path file, String text) throws IOException {
    Path next = Files.writeString(file.resolveSibling(file.getFileName() + ".next"), text);
    return Files.move(next, file, java.nio.file.StandardCopyOption.REPLACE_EXISTING);
  }
}
