package orlop.pod;

import io.grpc.Status;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;

/**
 * What gRPC says in HTTP/2's words: header names, time-outs, statuses and reset codes. Pure.
 *
 * <p>Source: the gRPC over HTTP/2 protocol description, and RFC 9113 for the error codes.
 */
final class Wire {
  static final AsciiString STATUS = AsciiString.cached("grpc-status");
  static final AsciiString MESSAGE = AsciiString.cached("grpc-message");
  static final AsciiString TIMEOUT = AsciiString.cached("grpc-timeout");
  static final AsciiString ENCODING = AsciiString.cached("grpc-encoding");
  static final AsciiString ACCEPT_ENCODING = AsciiString.cached("grpc-accept-encoding");
  static final AsciiString CONTENT_TYPE = AsciiString.cached("content-type");
  static final AsciiString GRPC = AsciiString.cached("application/grpc");
  static final AsciiString RETRY_PUSHBACK = AsciiString.cached("grpc-retry-pushback-ms");
  static final AsciiString FORWARDED_BY = AsciiString.cached(Headers.FORWARDED_BY);
  static final AsciiString PURPOSE = AsciiString.cached(Headers.PURPOSE);
  static final AsciiString REFUSED = AsciiString.cached(Headers.REFUSED);
  static final AsciiString NOT_HERE = AsciiString.cached("not-here");
  static final AsciiString BALANCED = AsciiString.cached(Headers.BALANCED);
  static final AsciiString MODEL = AsciiString.cached(Headers.MODEL_ID);
  static final AsciiString MODEL_BIN = AsciiString.cached(Headers.MODEL_ID + "-bin");
  static final AsciiString MODEL_OLD = AsciiString.cached(Headers.MODEL_ID_OLD);
  static final AsciiString REQUIRED = AsciiString.cached(Headers.REQUIRED);
  static final AsciiString ALIAS = AsciiString.cached(Headers.VMODEL_ID);
  static final AsciiString ALIAS_BIN = AsciiString.cached(Headers.VMODEL_ID + "-bin");

  /** Bytes before each message: whether it is compressed, and its length in big-endian order. */
  static final int PREFIX_BYTES = 5;

  /** How long a caller who was refused for overload should wait; see {@link Overload}. */
  static final AsciiString RETRY_AFTER = AsciiString.cached("100");

  /** Some 73 years: more, added to the time it is, could be a time that is over. */
  private static final long MOST_TIMEOUT_NS = Long.MAX_VALUE / 4;

  private static final AsciiString HTTP_OK = AsciiString.cached("200");
  private static final AsciiString ZERO = AsciiString.cached("0");
  private static final String HEX = "0123456789ABCDEF";

  private Wire() {}

  /** The headers before an answer that is made here. */
  static Http2Headers answer() {
    return new DefaultHttp2Headers(false, 4).status(HTTP_OK).set(CONTENT_TYPE, GRPC);
  }

  /** The end of an answer that is made here. */
  static Http2Headers ok() {
    return new DefaultHttp2Headers(false, 4).set(STATUS, ZERO);
  }

  /** A status as trailers. */
  static Http2Headers trailers(Status status, boolean refused) {
    Http2Headers trailers = new DefaultHttp2Headers(false, 8);
    trailers.set(STATUS, AsciiString.of(Integer.toString(status.getCode().value())));
    String text = Statuses.shortened(status).getDescription();
    if (text != null) {
      trailers.set(MESSAGE, percentEncoded(text));
    }
    if (refused) {
      trailers.set(REFUSED, NOT_HERE);
    }
    if (Overload.is(status)) {
      trailers.set(RETRY_PUSHBACK, RETRY_AFTER);
    }
    return trailers;
  }

  /** A status as the whole answer, in one header block. */
  static Http2Headers only(Status status, boolean refused) {
    return trailers(status, refused).status(HTTP_OK).set(CONTENT_TYPE, GRPC);
  }

  /** A refusal in HTTP's own terms, for what is no gRPC call at all. */
  static Http2Headers http(int status) {
    return new DefaultHttp2Headers(false, 4).status(AsciiString.of(Integer.toString(status)));
  }

  /** The status in trailers; UNKNOWN when they carry none. */
  static Status status(Http2Headers trailers) {
    CharSequence code = trailers.get(STATUS);
    if (code == null) {
      return Status.UNKNOWN.withDescription("the answer ended without a grpc-status");
    }
    if (code.length() == 1 && code.charAt(0) == '0') {
      return Status.OK;
    }
    int value = 0;
    for (int i = 0; i < code.length(); i++) {
      char c = code.charAt(i);
      if (c < '0' || c > '9' || value > 100) {
        return Status.UNKNOWN.withDescription("the answer's grpc-status is '" + code + "'");
      }
      value = 10 * value + c - '0';
    }
    CharSequence text = trailers.get(MESSAGE);
    boolean again = trailers.contains(RETRY_PUSHBACK, RETRY_AFTER);
    boolean exhausted = value == Status.Code.RESOURCE_EXHAUSTED.value();
    Status status = exhausted && again ? Overload.STATUS : Status.fromCodeValue(value);
    return text == null ? status : status.withDescription(percentDecoded(text));
  }

  static boolean refused(Http2Headers trailers) {
    CharSequence value = trailers.get(REFUSED);
    return value != null && AsciiString.contentEquals(NOT_HERE, value);
  }

  /** What a reset means to a gRPC caller. */
  static Status ofReset(long code) {
    Http2Error error = Http2Error.valueOf(code);
    Status base =
        switch (error == null ? Http2Error.INTERNAL_ERROR : error) {
          case REFUSED_STREAM -> Status.UNAVAILABLE;
          case CANCEL -> Status.CANCELLED;
          case ENHANCE_YOUR_CALM -> Overload.STATUS;
          case INADEQUATE_SECURITY -> Status.PERMISSION_DENIED;
          default -> Status.INTERNAL;
        };
    return base.withDescription(
        "the stream was reset with HTTP/2 error " + (error == null ? "code " + code : error));
  }

  /**
   * The nanoseconds of a {@code grpc-timeout}: at most 8 digits and a unit; no more than {@link
   * #MOST_TIMEOUT_NS}.
   *
   * @return -1 when the text is not one
   */
  static long timeoutNs(CharSequence text) {
    int digits = text.length() - 1;
    if (digits < 1 || digits > 8) {
      return -1;
    }
    long value = 0;
    for (int i = 0; i < digits; i++) {
      char c = text.charAt(i);
      if (c < '0' || c > '9') {
        return -1;
      }
      value = 10 * value + c - '0';
    }
    long ns =
        switch (text.charAt(digits)) {
          case 'n' -> value;
          case 'u' -> TimeUnit.MICROSECONDS.toNanos(value);
          case 'm' -> TimeUnit.MILLISECONDS.toNanos(value);
          case 'S' -> TimeUnit.SECONDS.toNanos(value);
          case 'M' -> TimeUnit.MINUTES.toNanos(value);
          case 'H' -> TimeUnit.HOURS.toNanos(value);
          default -> -1;
        };
    return Math.min(ns, MOST_TIMEOUT_NS);
  }

  /** As a {@code grpc-timeout}, rounded down to what fits. */
  static AsciiString timeout(long ns) {
    long left = Math.max(1, ns);
    String text;
    if (left < 100_000_000L) {
      text = left + "n";
    } else if (left < 100_000_000_000L) {
      text = left / 1_000 + "u";
    } else if (left < 100_000_000_000_000L) {
      text = left / 1_000_000 + "m";
    } else {
      text = Math.min(99_999_999, left / 1_000_000_000) + "S";
    }
    return AsciiString.of(text);
  }

  /** Bytes of UTF-8, those outside printable ASCII and the percent sign as {@code %XX}. */
  static AsciiString percentEncoded(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    StringBuilder out = new StringBuilder(bytes.length + 16);
    for (byte b : bytes) {
      if (b >= ' ' && b <= '~' && b != '%') {
        out.append((char) b);
      } else {
        out.append('%').append(HEX.charAt(b >> 4 & 15)).append(HEX.charAt(b & 15));
      }
    }
    return AsciiString.of(out);
  }

  /** The opposite; what is not well-formed stays as it is. */
  static String percentDecoded(CharSequence text) {
    byte[] out = new byte[text.length()];
    int length = 0;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '%' && i + 2 < text.length()) {
        int high = Character.digit(text.charAt(i + 1), 16);
        int low = Character.digit(text.charAt(i + 2), 16);
        if (high >= 0 && low >= 0) {
          out[length++] = (byte) (high << 4 | low);
          i += 2;
          continue;
        }
      }
      out[length++] = (byte) c;
    }
    return new String(out, 0, length, StandardCharsets.UTF_8);
  }

  /** Whether the value of {@code content-type} is gRPC with protobuf messages or of any kind. */
  static boolean isGrpc(@Nullable CharSequence contentType) {
    if (contentType == null
        || contentType.length() < GRPC.length()
        || !AsciiString.regionMatches(contentType, true, 0, GRPC, 0, GRPC.length())) {
      return false;
    }
    if (contentType.length() == GRPC.length()) {
      return true;
    }
    char next = contentType.charAt(GRPC.length());
    return next == '+' || next == ';';
  }
}
