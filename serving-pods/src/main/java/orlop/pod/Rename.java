package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.CompositeByteBuf;
import io.netty.buffer.Unpooled;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Puts another name into the gRPC messages of one direction of a call as they pass: a runtime knows
 * its models by their ids alone, a caller by what it asked for. The tensors are not touched, and of
 * a message no more is kept back than stands before the name. Owned by one event loop.
 */
final class Rename {
  /** The most bytes of an answer that are kept back to look for its name. */
  static final int MAX_ANSWER_HEAD_BYTES = 64 << 10;

  private final String name;
  private final int[] path;
  private final int maxHeadBytes;
  private @Nullable CharSequence encoding;
  private Set<String> known = Set.of();
  private boolean adds;
  private NamePeek peek;
  private @Nullable CompositeByteBuf head;

  /** Bytes of the message under way that pass as they are. */
  private long left;

  /**
   * @param name that the messages are to carry
   * @param path of field numbers to where it stands, at least one
   * @param maxHeadBytes how much of a message is kept back at most; a name behind that stays
   */
  Rename(String name, int[] path, int maxHeadBytes) {
    this.name = name;
    this.path = path;
    this.maxHeadBytes = maxHeadBytes;
    this.peek = new NamePeek(path);
  }

  /** Reads compressed messages too, which then pass uncompressed. */
  Rename decompressing(@Nullable CharSequence grpcEncoding) {
    encoding = grpcEncoding;
    return this;
  }

  /** Puts the name also into messages that have none. */
  Rename adding() {
    adds = true;
    return this;
  }

  /** Refuses messages that carry another name than these; messages without a name are taken. */
  Rename only(Set<String> names) {
    known = names;
    return this;
  }

  /**
   * Takes the next part.
   *
   * @return what can be passed on, with the name changed; null while a name is still to come
   * @throws Compression.Unreadable also for a name that is not to be there
   */
  @Nullable ByteBuf next(ByteBuf data) throws Compression.Unreadable {
    CompositeByteBuf all = head;
    ByteBuf in;
    if (all == null) {
      in = data;
    } else {
      in = all.addComponent(true, data);
    }
    head = null;
    ByteBuf out = null;
    CompositeByteBuf gathered = null;
    try {
      while (in.isReadable()) {
        ByteBuf part = left > 0 ? rest(in) : begun(in);
        if (part == null) {
          head = kept(in, all, out != null);
          return out;
        }
        if (out == null) {
          out = part;
        } else {
          // Flat: a composite for each of very many messages would overflow the stack when written.
          CompositeByteBuf parts = gathered;
          if (parts == null) {
            parts = Unpooled.compositeBuffer(Integer.MAX_VALUE).addComponent(true, out);
            gathered = parts;
            out = parts;
          }
          parts.addComponent(true, part);
        }
      }
    } catch (Compression.Unreadable e) {
      in.release();
      if (out != null) {
        out.release();
      }
      throw e;
    }
    in.release();
    return out;
  }

  /**
   * What waits for more; a copy where other parts of the same memory have passed, which must not
   * stay for as long as a stream goes on.
   */
  private static CompositeByteBuf kept(ByteBuf in, @Nullable CompositeByteBuf all, boolean passed) {
    if (all != null && !passed) {
      return all;
    }
    CompositeByteBuf kept = Unpooled.compositeBuffer(Integer.MAX_VALUE);
    if (!passed) {
      return kept.addComponent(true, in);
    }
    kept.addComponent(true, Unpooled.copiedBuffer(in));
    in.release();
    return kept;
  }

  private ByteBuf rest(ByteBuf in) {
    int bytes = (int) Math.min(left, in.readableBytes());
    left -= bytes;
    return in.readRetainedSlice(bytes);
  }

  /** What can be passed on of a message that begins here; null when more of it is needed. */
  private @Nullable ByteBuf begun(ByteBuf in) throws Compression.Unreadable {
    if (in.readableBytes() < Wire.PREFIX_BYTES) {
      return null;
    }
    int start = in.readerIndex();
    int length = in.getInt(start + 1);
    if (in.getByte(start) != 0) {
      return encoding == null ? passed(in, length) : inflated(in, length, encoding);
    }
    ByteBuf message = in.slice(start + Wire.PREFIX_BYTES, in.readableBytes() - Wire.PREFIX_BYTES);
    try {
      if (peek.look(message, length) == NamePeek.Found.MORE) {
        return in.readableBytes() > maxHeadBytes ? passed(in, length) : null;
      }
    } catch (InvalidProtocolBufferException e) {
      // Not ours to judge; whoever parses it will.
      return passed(in, length);
    }
    NamePeek found = peek;
    String was = found.name();
    if (!known.isEmpty() && !was.isEmpty() && !known.contains(was)) {
      throw new Compression.Unreadable(
          Status.INVALID_ARGUMENT.withDescription(
              "a stream for model '%s' carries a request for '%s': open one for each"
                  .formatted(name, was)));
    }
    ByteBuf begun = passed(in, length);
    return put(begun, found);
  }

  private ByteBuf put(ByteBuf begun, NamePeek found) {
    boolean there = found.to() > found.from();
    boolean right = found.name().equals(name) && (there || name.isEmpty());
    return right || !there && !adds ? begun : renamed(begun, found, name);
  }

  private ByteBuf passed(ByteBuf in, int length) {
    int here = Math.min(length, in.readableBytes() - Wire.PREFIX_BYTES);
    left = length - here;
    peek = new NamePeek(path);
    return in.readRetainedSlice(Wire.PREFIX_BYTES + here);
  }

  private @Nullable ByteBuf inflated(ByteBuf in, int length, CharSequence encoding)
      throws Compression.Unreadable {
    if (in.readableBytes() < Wire.PREFIX_BYTES + length) {
      return null;
    }
    ByteBuf packed = in.slice(in.readerIndex() + Wire.PREFIX_BYTES, length);
    ByteBuf plain = Compression.inflated(packed, encoding, maxHeadBytes);
    in.skipBytes(Wire.PREFIX_BYTES + length);
    ByteBuf framed = Answers.framed(plain);
    NamePeek found = new NamePeek(path);
    try {
      found.look(plain, plain.readableBytes());
      return put(framed, found);
    } catch (InvalidProtocolBufferException e) {
      return framed;
    }
  }

  /** What was kept back to the end; null when nothing was. */
  @Nullable ByteBuf rest() {
    ByteBuf kept = head;
    head = null;
    return kept;
  }

  /**
   * The beginning of a message with the name changed, or put there when it has none.
   *
   * @param message with its gRPC prefix, which this takes over
   * @param found where the name stands
   */
  static ByteBuf renamed(ByteBuf message, NamePeek found, String name) {
    int start = message.readerIndex();
    int body = start + Wire.PREFIX_BYTES;
    boolean there = found.to() > found.from();
    int[] path = found.path();
    ByteBuf field = field(path, there ? path.length - 1 : 0, name);
    int grown = field.readableBytes() - (found.to() - found.from());
    int levels = there ? path.length - 1 : 0;
    ByteBuf[] parts = new ByteBuf[4 + 2 * levels];
    int end = found.from();
    int last = parts.length - 1;
    parts[last--] =
        message.retainedSlice(body + found.to(), message.writerIndex() - body - found.to());
    parts[last--] = field;
    for (int i = levels - 1; i >= 0; i--) {
      int at = found.lengthAt(i);
      int bytes = NamePeek.varintBytes(message, body + at);
      ByteBuf length = varint(NamePeek.number(message, body + at) + grown);
      parts[last--] = message.retainedSlice(body + at + bytes, end - at - bytes);
      parts[last--] = length;
      grown += length.readableBytes() - bytes;
      end = at;
    }
    ByteBuf prefix = Unpooled.buffer(Wire.PREFIX_BYTES);
    parts[0] = prefix.writeByte(0).writeInt(message.getInt(start + 1) + grown);
    parts[1] = message.retainedSlice(body, end);
    ByteBuf renamed = Unpooled.wrappedBuffer(parts);
    message.release();
    return renamed;
  }

  /** The name as a field, inside the messages of the path from {@code depth} on. */
  private static ByteBuf field(int[] path, int depth, String name) {
    ByteBuf inner =
        depth == path.length - 1
            ? Unpooled.wrappedBuffer(name.getBytes(StandardCharsets.UTF_8))
            : field(path, depth + 1, name);
    return Unpooled.wrappedBuffer(
        varint(path[depth] << 3 | 2), varint(inner.readableBytes()), inner);
  }

  private static ByteBuf varint(int value) {
    ByteBuf out = Unpooled.buffer(5);
    int rest = value;
    while (rest >>> 7 != 0) {
      out.writeByte(rest & 0x7f | 0x80);
      rest >>>= 7;
    }
    return out.writeByte(rest);
  }
}
