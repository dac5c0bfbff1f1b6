package orlop.pod;

import io.grpc.Metadata;
import io.netty.handler.codec.http2.Http2Headers;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.jspecify.annotations.Nullable;

/** The headers of a call, whichever door it came in by. Immutable as long as their source is. */
interface RequestHeaders {
  /** No headers. */
  RequestHeaders NONE = name -> null;

  /** The value of a header, for a name that ends in {@code -bin} its bytes read as UTF-8. */
  @Nullable String get(CharSequence name);

  static RequestHeaders of(Metadata metadata) {
    return name -> {
      String text = name.toString();
      if (!binary(text)) {
        return metadata.get(Named.ascii(text));
      }
      byte[] bytes = metadata.get(Metadata.Key.of(text, Metadata.BINARY_BYTE_MARSHALLER));
      return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    };
  }

  static RequestHeaders of(Http2Headers headers) {
    return name -> {
      CharSequence value = headers.get(name);
      if (value == null) {
        return null;
      }
      return binary(name) ? decoded(value) : value.toString();
    };
  }

  private static boolean binary(CharSequence name) {
    int length = name.length();
    return length > 4
        && name.charAt(length - 4) == '-'
        && name.charAt(length - 3) == 'b'
        && name.charAt(length - 2) == 'i'
        && name.charAt(length - 1) == 'n';
  }

  private static @Nullable String decoded(CharSequence base64) {
    try {
      // Padding may be left out; of several values joined by commas the first counts.
      String text = base64.toString().split(",", 2)[0].strip();
      return new String(Base64.getDecoder().decode(text), StandardCharsets.UTF_8);
    } catch (IllegalArgumentException e) {
      return null;
    }
  }
}
