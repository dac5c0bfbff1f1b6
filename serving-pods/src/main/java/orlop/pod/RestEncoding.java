package orlop.pod;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Locale;
import java.util.zip.Deflater;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import java.util.zip.InflaterInputStream;
import org.jspecify.annotations.Nullable;

/** Content encodings of HTTP: gzip both ways, deflate inwards. Pure. Source: RFC 9110. */
final class RestEncoding {
  /** Below this an answer is not worth the time of compressing it. */
  private static final int LEAST_BYTES = 4_096;

  private RestEncoding() {}

  /**
   * The body as it was before the caller compressed it.
   *
   * @param most bytes that it may have; reading stops there, whatever the stream promises
   */
  static byte[] decoded(byte[] body, @Nullable String encoding, int most) throws RestError {
    String name = encoding == null ? "" : encoding.strip().toLowerCase(Locale.ROOT);
    if (name.isEmpty() || name.equals("identity")) {
      return body;
    }
    if (!name.equals("gzip") && !name.equals("x-gzip") && !name.equals("deflate")) {
      throw new RestError(
          415, "content encoding '" + encoding + "' is not served, expected gzip or deflate");
    }
    try (InputStream in =
        name.equals("deflate")
            ? new InflaterInputStream(new ByteArrayInputStream(body))
            : new GZIPInputStream(new ByteArrayInputStream(body), 8_192)) {
      byte[] plain = in.readNBytes(most);
      if (plain.length == most && in.read() >= 0) {
        throw new RestError(413, "the body has more than " + most + " bytes when decompressed");
      }
      return plain;
    } catch (IOException e) {
      throw RestError.bad("the body is not " + name + ": " + e.getMessage());
    }
  }

  /** Whether the caller takes gzip, by the values of {@code Accept-Encoding}. */
  static boolean acceptsGzip(List<String> accepted) {
    for (String line : accepted) {
      for (String item : line.toLowerCase(Locale.ROOT).split(",", -1)) {
        String[] parts = item.split(";", -1);
        if (parts[0].strip().equals("gzip")) {
          return parts.length < 2 || !parts[1].replace(" ", "").matches("q=0(\\.0*)?");
        }
      }
    }
    return false;
  }

  /** Compressed, if that is worth it; null when not. */
  static @Nullable RestReply gzipped(RestReply reply) {
    if (reply.bytes() < LEAST_BYTES) {
      return null;
    }
    RestJson.Bytes out = new RestJson.Bytes((int) Math.min(1 << 20, reply.bytes() / 2));
    try (GZIPOutputStream gzip =
        new GZIPOutputStream(out, 8_192) {
          {
            def.setLevel(Deflater.BEST_SPEED);
          }
        }) {
      byte[] chunk = new byte[8_192];
      for (ByteBuffer part : reply.parts()) {
        ByteBuffer rest = part.duplicate();
        while (rest.hasRemaining()) {
          int n = Math.min(chunk.length, rest.remaining());
          rest.get(chunk, 0, n);
          gzip.write(chunk, 0, n);
        }
      }
    } catch (IOException e) {
      throw new IllegalStateException("memory refused to be written", e);
    }
    return new RestReply(reply.status(), reply.type(), reply.headers(), List.of(out.view()));
  }
}
