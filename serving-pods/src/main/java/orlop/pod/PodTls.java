package orlop.pod;

import io.netty.handler.ssl.SslContext;
import java.util.function.LongSupplier;
import java.util.function.Predicate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSession;
import org.jspecify.annotations.Nullable;

/**
 * What a pod encrypts, and by what. Whoever makes these keeps them up to date with the files they
 * come from: a connection made later is made with what they hold then. Thread-safe.
 *
 * @param mesh null: calls come, go and are answered in the clear
 * @param metrics null: so are the metrics
 */
public record PodTls(@Nullable Mesh mesh, @Nullable SSLContext metrics) {
  /** Everything in the clear. */
  public static final PodTls NONE = new PodTls(null, null);

  /**
   * The ports for calls, and the connections to other pods. There is no way back to the clear: a
   * peer that does not speak TLS is not spoken to.
   *
   * @param front of the gRPC port: knows {@code h2}, and asks callers for a certificate
   * @param rest of the REST port
   * @param pods with which this pod calls others: shows its certificate, checks theirs
   * @param isPod whether the certificate that the other side has shown is a pod's
   * @param expiresMs when this pod's own certificate ends, milliseconds since the epoch
   */
  public record Mesh(
      SslContext front,
      SslContext rest,
      SslContext pods,
      Predicate<SSLSession> isPod,
      LongSupplier expiresMs) {}
}
