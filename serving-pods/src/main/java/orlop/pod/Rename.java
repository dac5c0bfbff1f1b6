package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.CompositeByteBuf;
import io.netty.buffer.Unpooled;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Set;
import java.util.stream.Collectors;
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
  private boolean requests;
  private CharSequence encoding = "identity";
  private Set<String> known = Set.of();
  private @Nullable Dispatcher pod;

  /** In the message under way; null between messages. */
  private @Nullable NamePeek peek;

  /** What waits for more: a copy, since small parts would keep the large blocks they came in. */
  private @Nullable ByteBuf head;

  /** Of the message under way. */
  private int length;

  /** Bytes of the message under way that are still to pass. */
  private long left;

  /**
   * @param name that the messages are to carry
   * @param path of field numbers to where it stands, at least one
   * @param maxHeadBytes how much of an answer is kept back at most, behind which a name stays; what
   *     a compressed request may become
   */
  Rename(String name, int[] path, int maxHeadBytes) {
    this.name = name;
    this.path = path;
    this.maxHeadBytes = maxHeadBytes;
  }

  /**
   * For requests: what runs must be what the name says. It is put also into messages that have
   * none; compressed ones pass uncompressed; those that cannot be read, or in which a second name
   * would overrule the first, are refused.
   *
   * @param grpcEncoding of compressed messages
   */
  Rename forRequests(@Nullable CharSequence grpcEncoding) {
    requests = true;
    encoding = grpcEncoding == null ? encoding : grpcEncoding;
    return this;
  }

  /** Counts decompressed messages against the pod's bytes until they have left. */
  Rename countedBy(Dispatcher counts) {
    pod = counts;
    return this;
  }

  /** Refuses messages that carry another name than these; messages without a name are taken. */
  Rename only(Set<String> names) {
    known = names;
    return this;
  }

  /**
   * Takes the next part over.
   *
   * @return what can be passed on, with the name changed; null while a name is still to come
   * @throws Compression.Unreadable for a request that is refused
   */
  @Nullable ByteBuf next(ByteBuf data) throws Compression.Unreadable {
    ByteBuf in = joined(data);
    ByteBuf out = null;
    CompositeByteBuf gathered = null;
    try {
      while (in.isReadable()) {
        ByteBuf part = left > 0 ? more(in) : begun(in);
        if (part == null) {
          head = in == data || out != null ? Unpooled.copiedBuffer(in) : in.retain();
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
      return out;
    } catch (Compression.Unreadable e) {
      if (out != null) {
        out.release();
      }
      throw e;
    } finally {
      in.release();
    }
  }

  /** What waited, and behind it the part, which this takes over. */
  private ByteBuf joined(ByteBuf part) {
    ByteBuf all = head;
    head = null;
    if (all == null) {
      return part;
    }
    long size = (long) all.writerIndex() + part.readableBytes();
    if (size > all.capacity()) {
      // By halves: in steps of a fixed size a large message would be copied over and over.
      all.capacity((int) Math.min(all.maxCapacity(), size + (size >> 1)));
    }
    all.writeBytes(part);
    part.release();
    return all;
  }

  /** What can be passed on of a message that begins here; null when more of it is needed. */
  private @Nullable ByteBuf begun(ByteBuf in) throws Compression.Unreadable {
    int start = in.readerIndex();
    int here = in.readableBytes() - Wire.PREFIX_BYTES;
    if (here < 0) {
      return null;
    }
    length = in.getInt(start + 1);
    boolean compressed = in.getByte(start) != 0;
    if (compressed && requests) {
      return inflated(in);
    }
    if (compressed || length < 0) {
      return begun(in, Long.MAX_VALUE);
    }
    NamePeek found = peek == null ? new NamePeek(path) : peek;
    peek = found;
    try {
      NamePeek.Found far = found.look(in.slice(start + Wire.PREFIX_BYTES, here), length);
      if (far == NamePeek.Found.MORE && (requests || in.readableBytes() <= maxHeadBytes)) {
        return null;
      }
    } catch (InvalidProtocolBufferException e) {
      if (requests) {
        throw refused(e.getMessage());
      }
      // Not ours to judge; whoever parses it will.
      return begun(in, Long.MAX_VALUE);
    }
    if (requests) {
      judge(found);
    }
    return put(begun(in, requests ? found.at() : Long.MAX_VALUE), found);
  }

  private ByteBuf begun(ByteBuf in, long most) {
    left = Integer.toUnsignedLong(length);
    return passed(in, Wire.PREFIX_BYTES, most);
  }

  /**
   * More of the message under way; null when it ends where a second name may begin.
   *
   * @param in may go on with further messages
   */
  private @Nullable ByteBuf more(ByteBuf in) throws Compression.Unreadable {
    NamePeek by = peek;
    if (!requests || by == null) {
      return passed(in, 0, left);
    }
    int from = length - (int) left;
    try {
      var unused = by.look(in, from, length);
    } catch (InvalidProtocolBufferException e) {
      throw refused(e.getMessage());
    }
    judge(by);
    return by.at() == from ? null : passed(in, 0, by.at() - from);
  }

  /** The next bytes of the message under way, at most so many, behind those of its prefix. */
  private ByteBuf passed(ByteBuf in, int prefix, long most) {
    int bytes = (int) Math.min(Math.min(left, most), in.readableBytes() - prefix);
    left -= bytes;
    peek = left == 0 ? null : peek;
    return in.readRetainedSlice(prefix + bytes);
  }

  private @Nullable ByteBuf inflated(ByteBuf in) throws Compression.Unreadable {
    if (in.readableBytes() - Wire.PREFIX_BYTES < length) {
      return null;
    }
    ByteBuf packed = in.skipBytes(Wire.PREFIX_BYTES).readSlice(length);
    ByteBuf plain = Answers.framed(Compression.inflated(packed, encoding, maxHeadBytes, pod));
    try {
      return begun(plain);
    } finally {
      plain.release();
    }
  }

  private void judge(NamePeek found) throws Compression.Unreadable {
    if (found.names() > 1) {
      String field = Arrays.stream(path).mapToObj(String::valueOf).collect(Collectors.joining("."));
      throw refused(
          "a request for model '%s' names a model %d times in field %s, expected once"
              .formatted(name, found.names(), field));
    }
    String was = found.name();
    if (!known.isEmpty() && !was.isEmpty() && !known.contains(was)) {
      throw refused(
          "a stream for model '%s' carries a request for '%s': open one for each"
              .formatted(name, was));
    }
  }

  private static Compression.Unreadable refused(@Nullable String why) {
    return new Compression.Unreadable(Status.INVALID_ARGUMENT.withDescription(why));
  }

  private ByteBuf put(ByteBuf begun, NamePeek found) {
    boolean there = found.to() > found.from();
    boolean right = found.name().equals(name) && (there || name.isEmpty());
    return right || !there && !requests ? begun : renamed(begun, found, name);
  }

  /** Bytes that are kept back. */
  int keptBytes() {
    return head == null ? 0 : head.capacity();
  }

  /** Whether what came so far ends within a message. */
  boolean cutOff() {
    return left > 0 || head != null;
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
