package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufInputStream;
import io.netty.buffer.Unpooled;
import java.io.IOException;
import java.io.InputStream;
import java.util.zip.GZIPInputStream;
import java.util.zip.InflaterInputStream;

/** Reads compressed gRPC messages. Pure; refuses what would grow beyond the limit. */
final class Compression {
  private Compression() {}

  /** A message that cannot be read, as the status that says why. */
  static final class Unreadable extends Exception {
    private static final long serialVersionUID = 1L;
    private final transient Status status;

    Unreadable(Status status) {
      super(status.getDescription());
      this.status = status;
    }

    Status status() {
      return status;
    }
  }

  /**
   * The message as it was before it was compressed.
   *
   * @param encoding the value of {@code grpc-encoding}
   * @param maxBytes what it may become
   */
  static ByteBuf inflated(ByteBuf message, CharSequence encoding, int maxBytes) throws Unreadable {
    try (InputStream in = stream(new ByteBufInputStream(message.duplicate()), encoding)) {
      byte[] bytes = in.readNBytes(maxBytes + 1);
      if (bytes.length > maxBytes) {
        throw new Unreadable(
            Status.RESOURCE_EXHAUSTED.withDescription(
                "the decompressed message is larger than maxMessageBytes, which is " + maxBytes));
      }
      return Unpooled.wrappedBuffer(bytes);
    } catch (IOException e) {
      throw new Unreadable(
          Status.INVALID_ARGUMENT.withDescription(
              "the message cannot be decompressed: " + e.getMessage()));
    }
  }

  private static InputStream stream(InputStream in, CharSequence encoding)
      throws IOException, Unreadable {
    return switch (encoding.toString()) {
      case "gzip" -> new GZIPInputStream(in);
      case "deflate" -> new InflaterInputStream(in);
      case "identity" ->
          throw new Unreadable(
              Status.INTERNAL.withDescription(
                  "the message is marked as compressed, and grpc-encoding does not say how"));
      default ->
          throw new Unreadable(
              Status.UNIMPLEMENTED.withDescription(
                  "grpc-encoding is '" + encoding + "', known are identity, gzip and deflate"));
    };
  }
}
