package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import org.jspecify.annotations.Nullable;

/**
 * Puts what the caller asked for into the gRPC answers of a call as they pass, where the runtime
 * has put the model's id. The tensors are not touched, and of a message no more is kept back than
 * stands before the name. Owned by one event loop.
 */
final class Rename {
  /** The most bytes of an answer that are kept back to look for its name. */
  static final int MAX_ANSWER_HEAD_BYTES = 64 << 10;

  private final String name;
  private final int[] path;
  private final int maxHeadBytes;
  private NamePeek peek;

  /** A copy, so that small parts do not hold the large blocks that they were received in. */
  private @Nullable ByteBuf head;

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

  /**
   * Takes the next part over.
   *
   * @return what can be passed on, with the name changed; null while a name is still to come
   */
  @Nullable ByteBuf next(ByteBuf data) {
    ByteBuf in = joined(data);
    Gather out = new Gather();
    while (in.isReadable()) {
      ByteBuf part = left > 0 ? rest(in) : begun(in);
      if (part == null) {
        head = in == data || in.readerIndex() > 0 ? Unpooled.buffer().writeBytes(in) : in.retain();
        break;
      }
      out.add(part);
    }
    in.release();
    return out.all();
  }

  private ByteBuf joined(ByteBuf data) {
    ByteBuf all = head;
    head = null;
    if (all == null) {
      return data;
    }
    Gather.copy(data, data.readableBytes(), all);
    data.release();
    return all;
  }

  private ByteBuf rest(ByteBuf in) {
    int bytes = (int) Math.min(left, in.readableBytes());
    left -= bytes;
    return in.readRetainedSlice(bytes);
  }

  /** What can be passed on of a message that begins here; null when more of it is needed. */
  private @Nullable ByteBuf begun(ByteBuf in) {
    if (in.readableBytes() < Wire.PREFIX_BYTES) {
      return null;
    }
    int start = in.readerIndex();
    int length = in.getInt(start + 1);
    if (in.getByte(start) != 0) {
      return passed(in, length);
    }
    ByteBuf message = in.slice(start + Wire.PREFIX_BYTES, in.readableBytes() - Wire.PREFIX_BYTES);
    NamePeek found = peek;
    try {
      NamePeek.Found far = found.look(message, length);
      if (far == NamePeek.Found.MORE && in.readableBytes() <= maxHeadBytes) {
        return null;
      }
      ByteBuf begun = passed(in, length);
      boolean changes = far == NamePeek.Found.NAME && !found.name().equals(name);
      return changes ? renamed(begun, found, name) : begun;
    } catch (InvalidProtocolBufferException e) {
      // Not ours to judge; whoever parses it will.
      return passed(in, length);
    }
  }

  private ByteBuf passed(ByteBuf in, int length) {
    int here = Math.min(length, in.readableBytes() - Wire.PREFIX_BYTES);
    left = length - here;
    peek = new NamePeek(path);
    return in.readRetainedSlice(Wire.PREFIX_BYTES + here);
  }

  /** What was kept back to the end; null when nothing was. */
  @Nullable ByteBuf rest() {
    ByteBuf kept = head;
    head = null;
    return kept;
  }

  /**
   * The beginning of a message with the name changed.
   *
   * @param message with its gRPC prefix, which this takes over
   * @param found where the name stands
   */
  static ByteBuf renamed(ByteBuf message, NamePeek found, String name) {
    int start = message.readerIndex();
    int body = start + Wire.PREFIX_BYTES;
    int[] path = found.path();
    int levels = path.length - 1;
    ByteBuf field = Unpooled.wrappedBuffer(Stamp.field(path, levels, name));
    int grown = field.readableBytes() - (found.to() - found.from());
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

  private static ByteBuf varint(int value) {
    ByteBuf out = Unpooled.buffer(5);
    Stamp.writeVarint(out, value);
    return out;
  }
}
