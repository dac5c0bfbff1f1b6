package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * Reads the model's name out of an encoded V2 request without decoding the rest.
 *
 * <p>In {@code ModelInferRequest}, {@code ModelMetadataRequest} and {@code ModelReadyRequest} the
 * name is the string in field 1. As the protobuf specification demands, the last occurrence wins,
 * so all top-level fields are walked; each is skipped by its length, O(fields) and not O(bytes).
 * What lies inside other fields is not looked at. Source: the protobuf encoding specification.
 */
final class NameSplice {
  private static final int NAME_FIELD = 1;
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int LENGTH = 2;
  private static final int START_GROUP = 3;
  private static final int END_GROUP = 4;
  private static final int FIXED32 = 5;
  private static final int MAX_GROUP_DEPTH = 100;

  private final byte[] bytes;
  private int at;

  private NameSplice(byte[] bytes) {
    this.bytes = bytes;
  }

  /**
   * The name, empty when the message carries none.
   *
   * @throws InvalidProtocolBufferException when the top level is not well-formed
   */
  static String modelName(byte[] message) throws InvalidProtocolBufferException {
    return new NameSplice(message).scan();
  }

  private String scan() throws InvalidProtocolBufferException {
    int start = 0;
    int end = 0;
    while (at < bytes.length) {
      int tag = (int) varint();
      if (tag == (NAME_FIELD << 3 | LENGTH)) {
        int length = length();
        start = at;
        at += length;
        end = at;
        // A later field replaces this one, yet a parser would already have refused bad text.
        if (!isAscii(start, end)) {
          text(start, end);
        }
      } else {
        skip(tag, 0);
      }
    }
    return start == end ? "" : text(start, end);
  }

  private void skip(int tag, int depth) throws InvalidProtocolBufferException {
    if (tag >>> 3 == 0) {
      throw malformed("a field number of 0");
    }
    switch (tag & 7) {
      case VARINT -> varint();
      case FIXED64 -> forward(8);
      case LENGTH -> forward(length());
      case FIXED32 -> forward(4);
      case START_GROUP -> skipGroup(tag >>> 3, depth + 1);
      default -> throw malformed("a field of wire type " + (tag & 7));
    }
  }

  private void skipGroup(int field, int depth) throws InvalidProtocolBufferException {
    if (depth >= MAX_GROUP_DEPTH) {
      throw malformed("groups nested deeper than " + MAX_GROUP_DEPTH);
    }
    while (true) {
      int tag = (int) varint();
      if ((tag & 7) == END_GROUP) {
        if (tag >>> 3 != field) {
          throw malformed("a group that another one ends");
        }
        return;
      }
      skip(tag, depth);
    }
  }

  private int length() throws InvalidProtocolBufferException {
    int length = (int) varint();
    if (length < 0 || length > bytes.length - at) {
      throw malformed("a length of " + Integer.toUnsignedString(length));
    }
    return length;
  }

  private void forward(int count) throws InvalidProtocolBufferException {
    if (count > bytes.length - at) {
      throw malformed("a field that is cut off");
    }
    at += count;
  }

  private long varint() throws InvalidProtocolBufferException {
    long value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at == bytes.length) {
        throw malformed("a number that is cut off");
      }
      byte b = bytes[at++];
      value |= (long) (b & 0x7f) << shift;
      if (b >= 0) {
        return value;
      }
    }
    throw malformed("a number of more than 10 bytes");
  }

  private boolean isAscii(int start, int end) {
    for (int i = start; i < end; i++) {
      if (bytes[i] < 0) {
        return false;
      }
    }
    return true;
  }

  private String text(int start, int end) throws InvalidProtocolBufferException {
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(bytes, start, end - start))
          .toString();
    } catch (CharacterCodingException e) {
      throw malformed("a model name that is not UTF-8");
    }
  }

  private InvalidProtocolBufferException malformed(String what) {
    return new InvalidProtocolBufferException(
        "the request is not a well-formed protobuf message: "
            + what
            + " at byte "
            + at
            + " of "
            + bytes.length);
  }
}
