package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufInputStream;
import io.netty.buffer.Unpooled;
import io.netty.buffer.UnpooledByteBufAllocator;
import io.netty.buffer.UnpooledDirectByteBuf;
import java.io.IOException;
import java.io.InputStream;
import java.util.zip.GZIPInputStream;
import java.util.zip.InflaterInputStream;
import org.jspecify.annotations.Nullable;

/** Reads compressed gRPC messages; refuses what would grow beyond the limits. */
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
   * @param pod whose bytes it counts against until it is released; null when nobody's
   * @throws Unreadable also when those are used up, with a status of {@link Overload}
   */
  static ByteBuf inflated(
      ByteBuf message, CharSequence encoding, int maxBytes, @Nullable Dispatcher pod)
      throws Unreadable {
    byte[] plain = inflated(message, encoding, maxBytes);
    return pod == null ? Unpooled.wrappedBuffer(plain) : Counted.of(pod, plain);
  }

  private static byte[] inflated(ByteBuf message, CharSequence encoding, int maxBytes)
      throws Unreadable {
    try (InputStream in = stream(new ByteBufInputStream(message.duplicate()), encoding)) {
      byte[] bytes = in.readNBytes(maxBytes + 1);
      if (bytes.length > maxBytes) {
        throw new Unreadable(
            Status.RESOURCE_EXHAUSTED.withDescription(
                "the decompressed message is larger than maxMessageBytes, which is " + maxBytes));
      }
      return bytes;
    } catch (IOException e) {
      throw new Unreadable(
          Status.INVALID_ARGUMENT.withDescription(
              "the message cannot be decompressed: " + e.getMessage()));
    }
  }

  /** Bytes that a pod holds until they are released; direct, so that a model can read them. */
  private static final class Counted extends UnpooledDirectByteBuf {
    private final Dispatcher pod;
    private final int bytes;

    private Counted(Dispatcher pod, int bytes) {
      super(UnpooledByteBufAllocator.DEFAULT, bytes, bytes);
      this.pod = pod;
      this.bytes = bytes;
    }

    static ByteBuf of(Dispatcher pod, byte[] plain) throws Unreadable {
      Counted counted = new Counted(pod, plain.length);
      if (!pod.hold(plain.length)) {
        Status full = Overload.STATUS.withDescription(pod.holdsTooMuch());
        counted.release();
        throw new Unreadable(full);
      }
      return counted.writeBytes(plain);
    }

    @Override
    protected void deallocate() {
      super.deallocate();
      pod.release(bytes);
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
