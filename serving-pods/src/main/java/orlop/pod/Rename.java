package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Puts another name into field 1 of a gRPC message as it passes: a runtime knows its models by
 * their ids alone, a caller by what it asked for. The tensors are not touched. Owned by one event
 * loop.
 */
final class Rename {
  /** The most bytes before the name that are kept back to look for it. */
  private static final int MAX_HEAD_BYTES = 64 << 10;

  private final String name;
  private final NamePeek peek = new NamePeek();
  private final List<Link.Credit> credits = new ArrayList<>(1);
  private @Nullable ByteBuf head;

  /**
   * @param name that answers are to carry
   */
  Rename(String name) {
    this.name = name;
  }

  /**
   * The beginning of a message with the name changed.
   *
   * @param message with its gRPC prefix, which this takes over
   * @param found where the name stands
   */
  static ByteBuf renamed(ByteBuf message, NamePeek found, String name) {
    byte[] utf8 = name.getBytes(StandardCharsets.UTF_8);
    ByteBuf field = Unpooled.buffer(utf8.length + 6);
    field.writeByte(1 << 3 | 2);
    int rest = utf8.length;
    while (rest > 0x7f) {
      field.writeByte(rest & 0x7f | 0x80);
      rest >>>= 7;
    }
    field.writeByte(rest).writeBytes(utf8);
    int start = message.readerIndex();
    int length = message.getInt(start + 1) - (found.to() - found.from()) + field.readableBytes();
    ByteBuf prefix = Unpooled.buffer(Wire.PREFIX_BYTES).writeByte(0).writeInt(length);
    int before = start + Wire.PREFIX_BYTES;
    int after = before + found.to();
    ByteBuf renamed =
        Unpooled.wrappedBuffer(
            prefix,
            message.retainedSlice(before, found.from()),
            field,
            message.retainedSlice(after, message.writerIndex() - after));
    message.release();
    return renamed;
  }

  /**
   * Takes the next part of an answer.
   *
   * @return what can be passed on, with the name changed; null while the name is still to come
   */
  @Nullable ByteBuf next(ByteBuf data, Link.Credit credit) {
    credits.add(credit);
    ByteBuf all = head == null ? data : Unpooled.wrappedBuffer(head, data);
    head = null;
    int start = all.readerIndex();
    if (all.readableBytes() >= Wire.PREFIX_BYTES && all.getByte(start) != 0) {
      return all;
    }
    if (all.readableBytes() > Wire.PREFIX_BYTES) {
      ByteBuf message =
          all.slice(start + Wire.PREFIX_BYTES, all.readableBytes() - Wire.PREFIX_BYTES);
      try {
        NamePeek.Found found = peek.look(message, all.getInt(start + 1));
        if (found == NamePeek.Found.NAME) {
          return renamed(all, peek, name);
        }
        if (found == NamePeek.Found.NONE) {
          return all;
        }
      } catch (InvalidProtocolBufferException e) {
        // Not ours to judge; the caller's parser will.
        return all;
      }
    }
    if (all.readableBytes() > MAX_HEAD_BYTES) {
      return all;
    }
    head = all;
    return null;
  }

  /** The credit for what {@link #next} gave. */
  Link.Credit credit() {
    return () -> credits.forEach(Link.Credit::give);
  }

  /** What was kept back to the end; null when nothing was. */
  @Nullable ByteBuf rest() {
    ByteBuf kept = head;
    head = null;
    return kept;
  }
}
