package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Puts the model's id at the end of each gRPC message of a call as they pass: of several values of
 * a field parsers take the last, so the runtime runs the model that was routed whatever else the
 * message says. Nothing is kept back but a message that is compressed. A message whose last field
 * is cut off is refused, for it would swallow the id. Owned by one event loop.
 */
final class Stamp {
  private static final int MAX_QUOTED_CHARS = 200;
  private static final byte[] NOTHING = {};

  private final String id;
  private final int[] path;
  private final byte[] idBytes;
  private final byte[] field;
  private final int maxMessageBytes;
  private @Nullable CharSequence encoding;
  private Set<String> known = Set.of();
  private final ByteBuf prefix = Unpooled.buffer(Wire.PREFIX_BYTES, Wire.PREFIX_BYTES);

  /** Over the message under way, unless that is compressed. */
  private @Nullable FieldWalk walk;

  private @Nullable ByteBuf packed;

  /** The last name that was seen. */
  private byte[] said = NOTHING;

  /** Bytes of the message under way that are still to come. */
  private long left;

  /**
   * @param path of field numbers to where the id is to stand, at least one
   * @param maxMessageBytes what a compressed message may become
   */
  Stamp(String id, int[] path, int maxMessageBytes) {
    this.id = id;
    this.path = path;
    this.idBytes = id.getBytes(StandardCharsets.UTF_8);
    this.field = field(path, 0, id);
    this.maxMessageBytes = maxMessageBytes;
  }

  /** Says how compressed messages are; they pass uncompressed. */
  Stamp decompressing(@Nullable CharSequence grpcEncoding) {
    encoding = grpcEncoding;
    return this;
  }

  /** Refuses messages that carry another name than these; messages without a name are taken. */
  Stamp only(Set<String> names) {
    known = names;
    return this;
  }

  /**
   * Takes the next part over.
   *
   * @return what can be passed on; null when more is needed
   * @throws Compression.Unreadable also for a message that is malformed or names what it must not
   */
  @Nullable ByteBuf next(ByteBuf data) throws Compression.Unreadable {
    Gather out = new Gather();
    try {
      while (data.isReadable()) {
        if (walk == null && packed == null) {
          begin(data, out);
        } else {
          goOn(data, out);
        }
      }
      return out.all();
    } catch (Compression.Unreadable e) {
      out.release();
      throw e;
    } catch (InvalidProtocolBufferException e) {
      out.release();
      throw refused(e.getMessage());
    } finally {
      data.release();
    }
  }

  /** No more comes; refuses what is not whole. */
  void end() throws Compression.Unreadable {
    if (walk != null || packed != null || prefix.isReadable()) {
      throw refused("the request message is cut off");
    }
  }

  /** What is kept back. */
  int keptBytes() {
    return packed == null ? 0 : packed.capacity();
  }

  private void begin(ByteBuf data, Gather out)
      throws Compression.Unreadable, InvalidProtocolBufferException {
    data.readBytes(prefix, Math.min(prefix.writableBytes(), data.readableBytes()));
    if (prefix.isWritable()) {
      return;
    }
    left = prefix.getUnsignedInt(1);
    boolean plain = prefix.getByte(0) == 0;
    prefix.clear();
    if (plain && left <= data.readableBytes()) {
      whole(data.readRetainedSlice((int) left), out);
    } else if (plain) {
      walk = new FieldWalk(path, left, this::named);
      out.add(prefixed(left + field.length));
    } else {
      packed = Unpooled.buffer(0);
      goOn(data, out);
    }
  }

  private void goOn(ByteBuf data, Gather out)
      throws Compression.Unreadable, InvalidProtocolBufferException {
    int bytes = (int) Math.min(left, data.readableBytes());
    FieldWalk on = walk;
    ByteBuf whole = packed;
    if (on != null) {
      on.pass(data, data.readerIndex(), bytes);
      out.add(data.readRetainedSlice(bytes));
    } else if (whole != null) {
      Gather.copy(data, bytes, whole);
    }
    left -= bytes;
    if (left == 0) {
      finish(out);
    }
  }

  private void finish(Gather out) throws Compression.Unreadable, InvalidProtocolBufferException {
    FieldWalk on = walk;
    ByteBuf whole = packed;
    walk = null;
    packed = null;
    if (on != null) {
      on.end();
      out.add(Unpooled.wrappedBuffer(field));
    } else if (whole != null) {
      // A runtime that takes a message marked as compressed as it is must not get it unread.
      CharSequence how = encoding == null ? "identity" : encoding;
      whole(Compression.inflated(whole, how, maxMessageBytes), out);
    }
  }

  /** A message that is all there, which this takes over; it stays as it is if it says the id. */
  private void whole(ByteBuf message, Gather out)
      throws Compression.Unreadable, InvalidProtocolBufferException {
    int bytes = message.readableBytes();
    said = NOTHING;
    try {
      FieldWalk over = new FieldWalk(path, bytes, this::named);
      over.pass(message, message.readerIndex(), bytes);
      over.end();
      boolean right = Arrays.equals(said, idBytes);
      out.add(prefixed(right ? bytes : bytes + field.length));
      out.add(message.retain());
      if (!right) {
        out.add(Unpooled.wrappedBuffer(field));
      }
    } finally {
      message.release();
    }
  }

  private void named(byte[] bytes) throws Compression.Unreadable {
    said = bytes;
    if (known.isEmpty() || bytes.length == 0) {
      return;
    }
    String name = new String(bytes, StandardCharsets.UTF_8);
    if (!known.contains(name)) {
      String quoted = name.substring(0, Math.min(name.length(), MAX_QUOTED_CHARS));
      throw refused(
          "a stream for model '%s' carries a request for '%s': open one for each"
              .formatted(id, quoted));
    }
  }

  private static Compression.Unreadable refused(@Nullable String why) {
    return new Compression.Unreadable(Status.INVALID_ARGUMENT.withDescription(why));
  }

  private static ByteBuf prefixed(long bytes) {
    return Unpooled.buffer(Wire.PREFIX_BYTES).writeByte(0).writeInt((int) bytes);
  }

  /** The name as a field, inside the messages of the path from {@code depth} on. */
  static byte[] field(int[] path, int depth, String name) {
    byte[] inner =
        depth == path.length - 1
            ? name.getBytes(StandardCharsets.UTF_8)
            : field(path, depth + 1, name);
    ByteBuf out = Unpooled.buffer(10 + inner.length);
    writeVarint(out, path[depth] << 3 | 2);
    writeVarint(out, inner.length);
    out.writeBytes(inner);
    byte[] field = new byte[out.readableBytes()];
    out.readBytes(field);
    return field;
  }

  static void writeVarint(ByteBuf out, int value) {
    int rest = value;
    while (rest >>> 7 != 0) {
      out.writeByte(rest & 0x7f | 0x80);
      rest >>>= 7;
    }
    out.writeByte(rest);
  }
}
