package orlop.puller;

import java.io.IOException;
import java.net.ConnectException;
import java.net.UnknownHostException;
import java.security.GeneralSecurityException;
import javax.net.ssl.SSLException;
import javax.xml.stream.XMLStreamException;
import org.jspecify.annotations.Nullable;
import orlop.puller.PullException.Kind;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.core.exception.AbortedException;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.services.s3.model.S3Exception;

/** What an error of the S3 client means for a pull, in one line. */
final class S3Failures {
  /** Chains of causes are short; a longer one goes round in circles. */
  private static final int MAX_CAUSES = 20;

  private S3Failures() {}

  /**
   * @param asked what was being done, such as "listing"
   * @throws InterruptedException where the error is only the echo of an interrupt
   */
  static PullException translate(Place place, String asked, SdkException error)
      throws InterruptedException {
    if (Thread.interrupted() || error instanceof AbortedException) {
      throw new InterruptedException();
    }
    return error instanceof S3Exception answer
        ? answered(place, asked, answer)
        : unanswered(place, asked, error);
  }

  private static PullException answered(Place place, String asked, S3Exception answer) {
    AwsErrorDetails details = answer.awsErrorDetails();
    String code = details == null || details.errorCode() == null ? "" : details.errorCode();
    String text = details == null || details.errorMessage() == null ? "" : details.errorMessage();
    int status = answer.statusCode();
    String said =
        asked + " was answered with " + status + (code.isEmpty() ? "" : " " + code) + tail(text);
    if (status == 412 || status == 416) {
      return place.stale(Kind.TRANSIENT, "the content changed while it was being pulled");
    }
    if (status == 429 || status >= 500 || code.equals("RequestTimeout")) {
      return place.failure(Kind.TRANSIENT, said, answer);
    }
    if (status == 401
        || status == 403
        || code.equals("ExpiredToken")
        || code.equals("InvalidToken")) {
      return place.failure(Kind.FORBIDDEN, said + "; are the credentials right?", answer);
    }
    if (status == 404 && code.startsWith("NoSuch")) {
      return place.failure(Kind.NOT_FOUND, said, answer);
    }
    if (status == 404) {
      return place.failure(
          Kind.BAD_LOCATION, said + " that S3 would not send; is this an S3 endpoint?", answer);
    }
    return place.failure(Kind.BAD_LOCATION, said, answer);
  }

  private static PullException unanswered(Place place, String asked, SdkException error) {
    String line = asked + " failed: " + line(error);
    Throwable root = root(error);
    if (String.valueOf(error.getMessage()).startsWith("Unable to load credentials")) {
      return place.failure(
          Kind.FORBIDDEN,
          "no credentials: its storage names none and this machine has none of its own (a public"
              + " bucket needs \"anonymous\":\"true\")",
          error);
    }
    if (root instanceof UnknownHostException) {
      return place.failure(Kind.TRANSIENT, "the host name does not resolve: " + root.getMessage());
    }
    if (root instanceof ConnectException) {
      return place.failure(Kind.TRANSIENT, "the endpoint is unreachable: " + root.getMessage());
    }
    if (root instanceof SSLException || caused(error, GeneralSecurityException.class)) {
      return place.failure(Kind.BAD_LOCATION, line, error);
    }
    if (caused(error, XMLStreamException.class)) {
      return place.failure(
          Kind.BAD_LOCATION,
          asked + " was answered with something else than XML; is this an S3 endpoint?",
          error);
    }
    return place.failure(Kind.TRANSIENT, line, error);
  }

  private static boolean caused(SdkException error, Class<? extends Throwable> by) {
    @Nullable Throwable cause = error;
    for (int depth = 0; depth < MAX_CAUSES && cause != null; depth++) {
      if (by.isInstance(cause)) {
        return true;
      }
      cause = cause.getCause();
    }
    return false;
  }

  /** A connection that broke while a body was read. */
  static PullException broken(Place place, long got, long expected, IOException error)
      throws InterruptedException {
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
    return place.failure(
        Kind.TRANSIENT,
        "the connection ended after " + got + " of " + expected + " bytes: " + line(error),
        error);
  }

  private static String tail(String text) {
    return text.isEmpty() ? "" : " (" + oneLine(text) + ")";
  }

  /** The innermost cause in words. */
  static String line(Throwable error) {
    Throwable root = root(error);
    String message = root.getMessage();
    return message == null ? root.getClass().getSimpleName() : oneLine(message);
  }

  private static Throwable root(Throwable error) {
    Throwable root = error;
    for (int depth = 0; depth < MAX_CAUSES; depth++) {
      @Nullable Throwable cause = root.getCause();
      if (cause == null) {
        break;
      }
      root = cause;
    }
    return root;
  }

  private static String oneLine(String text) {
    String line = text.replaceAll("\\s+", " ").strip();
    return line.length() <= 300 ? line : line.substring(0, 300) + "…";
  }
}
