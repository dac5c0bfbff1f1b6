package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.netty.buffer.ByteBuf;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * Finds the model's name in the first bytes of a gRPC message that is still arriving: field 1, or
 * where a path of field numbers leads. The tensors are neither decoded nor waited for: fields
 * before the name are skipped by their lengths, and the first name counts. Where the whole message
 * is at hand the last one counts, as the protobuf specification demands. Once a name is known it
 * can look on and count further ones.
 *
 * <p>One per message; each byte is looked at once however small the pieces are. O(fields).
 */
final class NamePeek {
  /** How far it got. */
  enum Found {
    /** The name is known, and where it stands. */
    NAME,
    /** The message is complete and holds no name. */
    NONE,
    /** More bytes are needed. */
    MORE
  }

  /** To field 1. */
  static final int[] FIRST = {1};

  private static final int MAX_GROUP_DEPTH = 100;

  private final int[] path;

  /**
   * Where the messages end that lead to the name and are open now, and where their lengths stand.
   */
  private final int[] ends;

  private final int[] lengthsAt;
  private final int[] namedIn;
  private int level;

  /** Offset in the message of the first byte that belongs to no field read so far. */
  private int at;

  private int depth;
  private int names;
  private boolean whole;
  private String name = "";
  private int from;
  private int to;

  private static final long CUT = -1;

  NamePeek() {
    this(FIRST);
  }

  /**
   * @param path field numbers from the message down to the name, at least one
   */
  NamePeek(int[] path) {
    this.path = path;
    this.ends = new int[path.length - 1];
    this.lengthsAt = new int[path.length - 1];
    this.namedIn = new int[path.length - 1];
  }

  int[] path() {
    return path;
  }

  /**
   * Offset in the message of the length of the message that the name stands in, from the outermost;
   * it grows and shrinks with the name.
   */
  int lengthAt(int depth) {
    return namedIn[depth];
  }

  String name() {
    return name;
  }

  /** Offset in the message of the name's tag; equal to {@link #to} when there is no name. */
  int from() {
    return from;
  }

  /** Offset in the message of the byte after the name. */
  int to() {
    return to;
  }

  /** How many names have been seen so far. */
  int names() {
    return names;
  }

  /** Whether all of the message has been seen, and it names that and nothing else. */
  boolean saysOnly(String that) {
    return names == 1 && name.equals(that) && whole;
  }

  /** Offset in the message of the first byte that it needs to look on; its end when none. */
  int at() {
    return at;
  }

  /** Looks on in a message that is at hand from its first byte. */
  Found look(ByteBuf message, int length) throws InvalidProtocolBufferException {
    return look(message, 0, length);
  }

  /**
   * Looks on.
   *
   * @param message without the gRPC prefix, as far as it has arrived
   * @param offset in the message of the first byte that is at hand, at most {@link #at}
   * @param length of the whole message
   * @throws InvalidProtocolBufferException when it is not a well-formed protobuf message
   */
  Found look(ByteBuf message, int offset, int length) throws InvalidProtocolBufferException {
    int start = message.readerIndex() - offset;
    int here = (int) Math.min(length, offset + (long) message.readableBytes());
    whole = here == length;
    boolean known = names > 0;
    while (at < here) {
      leaveEnded();
      int limit = level == 0 ? length : ends[level - 1];
      long tag = varint(message, start, at, here, whole);
      if (tag == CUT) {
        return Found.MORE;
      }
      int after = at + varintBytes(message, start + at);
      if ((int) tag == (path[level] << 3 | 2) && depth == 0) {
        long size = varint(message, start, after, here, whole);
        if (size == CUT) {
          return Found.MORE;
        }
        int first = after + varintBytes(message, start + after);
        if (size > limit - first) {
          throw malformed("a length of " + size, after, limit);
        }
        int end = first + (int) size;
        if (level < ends.length) {
          lengthsAt[level] = after;
          ends[level++] = end;
          at = first;
          continue;
        }
        if (known) {
          names++;
          at = end;
          continue;
        }
        if (end > here) {
          return Found.MORE;
        }
        names++;
        name = text(message, start + first, (int) size, first, length);
        from = at;
        to = end;
        at = end;
        System.arraycopy(lengthsAt, 0, namedIn, 0, level);
        if (!whole) {
          return Found.NAME;
        }
      } else {
        int next = skip(message, start, (int) tag, after, here, limit, whole);
        if (next < 0) {
          return Found.MORE;
        }
        if (next > limit) {
          throw malformed("a field that is cut off", at, limit);
        }
        at = next;
      }
    }
    if (at < length) {
      return Found.MORE;
    }
    leaveEnded();
    if (depth > 0) {
      throw malformed("a group that does not end", at, length);
    }
    return to > from ? Found.NAME : Found.NONE;
  }

  private void leaveEnded() throws InvalidProtocolBufferException {
    while (level > 0 && at >= ends[level - 1]) {
      if (depth > 0) {
        throw malformed("a group that does not end", at, ends[level - 1]);
      }
      level--;
    }
  }

  /** Offset after the field's value, or -1 when bytes are missing. */
  private int skip(
      ByteBuf message, int start, int tag, int after, int here, int length, boolean whole)
      throws InvalidProtocolBufferException {
    if (tag >>> 3 == 0) {
      throw malformed("a field number of 0", at, length);
    }
    switch (tag & 7) {
      case 0 -> {
        return varint(message, start, after, here, whole) == CUT
            ? -1
            : after + varintBytes(message, start + after);
      }
      case 1 -> {
        return after + 8;
      }
      case 2 -> {
        long size = varint(message, start, after, here, whole);
        if (size == CUT) {
          return -1;
        }
        int first = after + varintBytes(message, start + after);
        if (size > length - first) {
          throw malformed("a length of " + size, after, length);
        }
        return first + (int) size;
      }
      case 3 -> {
        if (++depth > MAX_GROUP_DEPTH) {
          throw malformed("groups nested deeper than " + MAX_GROUP_DEPTH, at, length);
        }
        return after;
      }
      case 4 -> {
        if (--depth < 0) {
          throw malformed("the end of a group that did not begin", at, length);
        }
        return after;
      }
      case 5 -> {
        return after + 4;
      }
      default -> throw malformed("a field of wire type " + (tag & 7), at, length);
    }
  }

  /** The value as 32 bits without sign, or CUT when it does not end in what is at hand. */
  private static long varint(ByteBuf message, int start, int offset, int here, boolean whole)
      throws InvalidProtocolBufferException {
    long value = 0;
    for (int i = 0; i < 10; i++) {
      if (offset + i >= here) {
        if (whole) {
          throw malformed("a number that is cut off", offset, here);
        }
        return CUT;
      }
      byte b = message.getByte(start + offset + i);
      value |= (long) (b & 0x7f) << 7 * i;
      if (b >= 0) {
        return value & 0xFFFF_FFFFL;
      }
    }
    throw malformed("a number of more than 10 bytes", offset, here);
  }

  /** A number that is known to be whole. */
  static int number(ByteBuf message, int index) {
    int value = 0;
    for (int i = 0; ; i++) {
      byte b = message.getByte(index + i);
      value |= (b & 0x7f) << 7 * i;
      if (b >= 0) {
        return value;
      }
    }
  }

  static int varintBytes(ByteBuf message, int index) {
    int i = index;
    while (message.getByte(i) < 0) {
      i++;
    }
    return i + 1 - index;
  }

  private static String text(ByteBuf message, int index, int size, int offset, int length)
      throws InvalidProtocolBufferException {
    byte[] bytes = new byte[size];
    message.getBytes(index, bytes);
    for (byte b : bytes) {
      if (b < 0) {
        try {
          return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException e) {
          throw malformed("a model name that is not UTF-8", offset, length);
        }
      }
    }
    return new String(bytes, StandardCharsets.ISO_8859_1);
  }

  private static InvalidProtocolBufferException malformed(String what, int offset, int length) {
    return new InvalidProtocolBufferException(
        "the request is not a well-formed protobuf message: %s at byte %d of %d"
            .formatted(what, offset, length));
  }
}
