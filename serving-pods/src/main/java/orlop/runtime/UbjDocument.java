package orlop.runtime;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * A model in Universal Binary JSON, draft 12: a type marker before each value, numbers big-endian,
 * arrays with an optional type and count. Claimed counts are believed only as far as there are
 * bytes left to back them.
 */
final class UbjDocument extends ModelDocument {
  private static final int MAX_NAME_BYTES = 1 << 16;

  private final DataInputStream in;
  private long leftBytes;
  private int peeked = -1;

  UbjDocument(Path file) throws IOException {
    super(file);
    this.leftBytes = Files.size(file);
    this.in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 16));
  }

  /**
   * The head of an array or object.
   *
   * @param type marker of all elements, 0 when each has its own
   * @param count -1 when the end is marked instead
   */
  private record Head(int type, long count) {}

  @Override
  void object(Field field) throws IOException {
    object(marker(), field);
  }

  private void object(int marker, Field field) throws IOException {
    expect(marker, '{', "an object");
    Head head = head();
    for (long i = 0; head.count < 0 || i < head.count; i++) {
      if (head.count < 0 && peek() == '}') {
        marker();
        return;
      }
      String name = string(length(marker()), MAX_NAME_BYTES);
      if (head.type != 0) {
        peeked = head.type;
      }
      enter(name);
      field.read(name);
      leave();
    }
  }

  @Override
  void array(Element element) throws IOException {
    array(marker(), element);
  }

  private void array(int marker, Element element) throws IOException {
    expect(marker, '[', "an array");
    Head head = head();
    for (long i = 0; head.count < 0 || i < head.count; i++) {
      if (head.count < 0 && peek() == ']') {
        marker();
        return;
      }
      if (head.type != 0) {
        peeked = head.type;
      }
      enter((int) i);
      element.read((int) i);
      leave();
    }
  }

  @Override
  String text() throws IOException {
    int marker = marker();
    return switch (marker) {
      case 'S', 'H' -> string(length(marker()), Integer.MAX_VALUE - 8);
      case 'C' -> Character.toString(take(1) & 0x7f);
      case 'd', 'D' -> Double.toString(real(marker));
      default -> Long.toString(whole(marker));
    };
  }

  @Override
  int[] ints() throws IOException {
    expect(marker(), '[', "an array of whole numbers");
    Head head = head();
    int[] numbers = new int[room(head)];
    int n = 0;
    while (more(head, n)) {
      if (n == numbers.length) {
        numbers = Arrays.copyOf(numbers, 2 * n + 16);
      }
      long value = whole(head.type == 0 ? marker() : head.type);
      if (value != (int) value) {
        throw malformed("element " + n + " is " + value + ", expected 32 bits");
      }
      numbers[n++] = (int) value;
    }
    return n == numbers.length ? numbers : Arrays.copyOf(numbers, n);
  }

  @Override
  float[] floats() throws IOException {
    expect(marker(), '[', "an array of numbers");
    Head head = head();
    float[] numbers = new float[room(head)];
    int n = 0;
    while (more(head, n)) {
      if (n == numbers.length) {
        numbers = Arrays.copyOf(numbers, 2 * n + 16);
      }
      numbers[n++] = (float) real(head.type == 0 ? marker() : head.type);
    }
    return n == numbers.length ? numbers : Arrays.copyOf(numbers, n);
  }

  @Override
  void skip() throws IOException {
    int marker = marker();
    switch (marker) {
      case '{' -> object(marker, name -> skip());
      case '[' -> skipArray();
      case 'S', 'H' -> skipBytes(length(marker()));
      case 'Z', 'N', 'T', 'F' -> {}
      default -> skipBytes(width(marker));
    }
  }

  private void skipArray() throws IOException {
    Head head = head();
    if (head.type == 0 || head.count < 0 || "{[SH".indexOf(head.type) >= 0) {
      for (int i = 0; more(head, i); i++) {
        if (head.type != 0) {
          peeked = head.type;
        }
        enter(i);
        skip();
        leave();
      }
    } else {
      skipBytes(head.count * width(head.type));
    }
  }

  @Override
  public void close() throws IOException {
    in.close();
  }

  /** Reads what stands between the opening marker and the first element. */
  private Head head() throws IOException {
    int type = 0;
    if (peek() == '$') {
      marker();
      type = marker();
      if (peek() != '#') {
        throw malformed("a typed array without a count, expected '#'");
      }
    }
    if (peek() != '#') {
      return new Head(0, -1);
    }
    marker();
    long count = length(marker());
    // Elements without a payload would let a few bytes claim any count.
    long width = type == 0 ? 1 : "{[SH".indexOf(type) >= 0 ? 1 : width(type);
    if (count > leftBytes / width) {
      throw malformed(count + " elements are claimed, but only " + leftBytes + " bytes are left");
    }
    if (count > Integer.MAX_VALUE - 8) {
      throw malformed(count + " elements, expected at most " + (Integer.MAX_VALUE - 8));
    }
    return new Head(type, count);
  }

  private boolean more(Head head, int n) throws IOException {
    if (head.count >= 0) {
      return n < head.count;
    }
    if (peek() == ']') {
      marker();
      return false;
    }
    return true;
  }

  private static int room(Head head) {
    return head.count < 0 ? 16 : (int) head.count;
  }

  private long whole(int marker) throws IOException {
    return switch (marker) {
      case 'i' -> (byte) take(1);
      case 'U' -> take(1) & 0xff;
      case 'I' -> (short) take(2);
      case 'l' -> (int) take(4);
      case 'L' -> takeLong();
      case 'T' -> 1;
      case 'F' -> 0;
      default -> throw malformed("type " + show(marker) + ", expected a whole number");
    };
  }

  private double real(int marker) throws IOException {
    return switch (marker) {
      case 'd' -> Float.intBitsToFloat(take(4));
      case 'D' -> Double.longBitsToDouble(takeLong());
      default -> whole(marker);
    };
  }

  private long length(int marker) throws IOException {
    long length = whole(marker);
    if (length < 0) {
      throw malformed("length " + length + ", expected 0 or more");
    }
    return length;
  }

  private String string(long bytes, int mostBytes) throws IOException {
    if (bytes > leftBytes || bytes > mostBytes) {
      throw malformed(
          "a string claims "
              + bytes
              + " bytes, expected at most "
              + Math.min(leftBytes, mostBytes));
    }
    leftBytes -= bytes;
    return new String(in.readNBytes((int) bytes), StandardCharsets.UTF_8);
  }

  private int width(int marker) throws IOException {
    return switch (marker) {
      case 'i', 'U', 'C' -> 1;
      case 'I' -> 2;
      case 'l', 'd' -> 4;
      case 'L', 'D' -> 8;
      default -> throw malformed("type " + show(marker) + " is not known here");
    };
  }

  /** The next marker; no-ops between values are passed over. */
  private int marker() throws IOException {
    int marker = peek();
    peeked = -1;
    return marker;
  }

  private int peek() throws IOException {
    while (peeked < 0 || peeked == 'N') {
      peeked = take(1) & 0xff;
    }
    return peeked;
  }

  private int take(int bytes) throws IOException {
    require(bytes);
    return switch (bytes) {
      case 1 -> in.readByte();
      case 2 -> in.readShort();
      default -> in.readInt();
    };
  }

  private long takeLong() throws IOException {
    require(8);
    return in.readLong();
  }

  private void skipBytes(long bytes) throws IOException {
    require(bytes);
    in.skipNBytes(bytes);
  }

  private void require(long bytes) throws IOException {
    if (bytes > leftBytes) {
      throw malformed("the file ends here, expected " + (bytes - leftBytes) + " bytes more");
    }
    leftBytes -= bytes;
  }

  private void expect(int actual, int expected, String what) throws MalformedModelException {
    if (actual != expected) {
      throw malformed("type " + show(actual) + ", expected " + what);
    }
  }

  private static String show(int marker) {
    return marker > ' ' && marker < 0x7f ? "'" + (char) marker + "'" : "byte " + marker;
  }
}
