package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.netty.buffer.ByteBuf;
import org.jspecify.annotations.Nullable;

/**
 * Walks over the fields of a protobuf message while its bytes pass, and keeps none of them but a
 * name: whether the message ends where its last field does, and every name that stands at the end
 * of a path of field numbers. One per message. O(fields).
 */
final class FieldWalk {
  /** What hears of the names. */
  interface Names {
    void named(byte[] name) throws Compression.Unreadable;
  }

  /** A longer name is cut; nothing is called so, as it would fit into no header. */
  static final int MAX_NAME_BYTES = 8 << 10;

  private static final int MAX_VARINT_BYTES = 10;
  private static final int MAX_GROUP_DEPTH = 100;

  /** What the next number is. */
  private enum Reads {
    TAG,
    LENGTH,
    VALUE
  }

  private final int[] path;
  private final Names names;

  /** Where the message ends and those inside it that lead to the name and are open now. */
  private final long[] ends;

  private int level;
  private int depth;
  private Reads reads = Reads.TAG;
  private long number;
  private int numberBytes;
  private boolean leads;

  /** Bytes passed. */
  private long at;

  /** Bytes left of a value that is not looked into. */
  private long left;

  private byte @Nullable [] name;
  private int nameBytes;

  /**
   * @param length of the whole message
   */
  FieldWalk(int[] path, long length, Names names) {
    this.path = path;
    this.names = names;
    this.ends = new long[path.length];
    ends[0] = length;
  }

  /** Walks over the next bytes of the message, without reading them off the buffer. */
  void pass(ByteBuf data, int index, int bytes)
      throws InvalidProtocolBufferException, Compression.Unreadable {
    int i = index;
    int end = index + bytes;
    while (i < end) {
      if (left == 0) {
        leaveEnded();
        digit(data.getByte(i++));
        continue;
      }
      int here = (int) Math.min(left, end - i);
      value(data, i, here);
      i += here;
    }
  }

  /** The message is over; refuses one whose last field is not. */
  void end() throws InvalidProtocolBufferException {
    leaveEnded();
    if (left > 0) {
      throw malformed("a field that is cut off");
    }
    ended();
  }

  private void leaveEnded() throws InvalidProtocolBufferException {
    while (level > 0 && at == ends[level]) {
      ended();
      level--;
    }
  }

  private void ended() throws InvalidProtocolBufferException {
    if (reads != Reads.TAG || numberBytes > 0) {
      throw malformed("a number that is cut off");
    }
    if (depth > 0) {
      throw malformed("a group that does not end");
    }
  }

  private void digit(byte digit) throws InvalidProtocolBufferException, Compression.Unreadable {
    at++;
    number |= (long) (digit & 0x7f) << 7 * numberBytes++;
    if (digit < 0) {
      if (numberBytes == MAX_VARINT_BYTES) {
        throw malformed("a number of more than 10 bytes");
      }
      return;
    }
    // As parsers do, which leave out what is above 32 bits.
    int read = (int) number;
    number = 0;
    numberBytes = 0;
    switch (reads) {
      case TAG -> tag(read);
      case LENGTH -> length(read & 0xFFFF_FFFFL);
      case VALUE -> reads = Reads.TAG;
    }
  }

  private void tag(int tag) throws InvalidProtocolBufferException {
    if (tag >>> 3 == 0) {
      throw malformed("a field number of 0");
    }
    leads = depth == 0 && tag == (path[level] << 3 | 2);
    switch (tag & 7) {
      case 0 -> reads = Reads.VALUE;
      case 1 -> skip(Long.BYTES);
      case 2 -> reads = Reads.LENGTH;
      case 3 -> depth++;
      case 4 -> depth--;
      case 5 -> skip(Integer.BYTES);
      default -> throw malformed("a field of wire type " + (tag & 7));
    }
    if (depth < 0 || depth > MAX_GROUP_DEPTH) {
      throw malformed("groups nested to a depth of " + depth);
    }
  }

  private void length(long size) throws InvalidProtocolBufferException, Compression.Unreadable {
    reads = Reads.TAG;
    if (leads && level < path.length - 1) {
      fits(size);
      ends[++level] = at + size;
      return;
    }
    skip(size);
    if (leads && size == 0) {
      names.named(new byte[0]);
    } else if (leads) {
      name = new byte[(int) Math.min(size, MAX_NAME_BYTES)];
      nameBytes = 0;
    }
  }

  private void skip(long bytes) throws InvalidProtocolBufferException {
    fits(bytes);
    left = bytes;
  }

  private void fits(long bytes) throws InvalidProtocolBufferException {
    if (bytes > ends[level] - at) {
      throw malformed("a length of " + bytes);
    }
  }

  private void value(ByteBuf data, int index, int bytes) throws Compression.Unreadable {
    at += bytes;
    left -= bytes;
    byte[] into = name;
    if (into == null) {
      return;
    }
    int kept = Math.min(bytes, into.length - nameBytes);
    data.getBytes(index, into, nameBytes, kept);
    nameBytes += kept;
    if (left == 0) {
      name = null;
      names.named(into);
    }
  }

  private InvalidProtocolBufferException malformed(String what) {
    return new InvalidProtocolBufferException(
        "the request is not a well-formed protobuf message: %s at byte %d of %d"
            .formatted(what, at, ends[0]));
  }
}
