package orlop.runtime;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;

/**
 * Writes a {@code ModelInferResponse} with raw contents, byte for byte as protobuf would, into
 * memory of exactly its length: first all but the raw contents, for which the shapes are enough,
 * then those. Used once.
 */
final class EncodedAnswer {
  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
  private static final int MODEL_NAME = 1 << 3 | 2;
  private static final int MODEL_VERSION = 2 << 3 | 2;
  private static final int ID = 3 << 3 | 2;
  private static final int OUTPUT = 5 << 3 | 2;
  private static final int RAW = 6 << 3 | 2;
  private static final int SHAPE = 3 << 3 | 2;
  private static final byte[] NOTHING = {};

  /**
   * An output as it is told to the caller.
   *
   * @param header name and datatype, encoded
   * @param width bytes of one element
   */
  record Output(byte[] header, int width) {
    static Output of(TensorSpec spec) {
      byte[] name = spec.name().getBytes(StandardCharsets.UTF_8);
      byte[] type = spec.type().name().getBytes(StandardCharsets.US_ASCII);
      byte[] header = new byte[Math.toIntExact(fieldBytes(name.length) + fieldBytes(type.length))];
      EncodedAnswer out = new EncodedAnswer(MemorySegment.ofArray(header));
      out.bytes(1 << 3 | 2, name);
      out.bytes(2 << 3 | 2, type);
      return new Output(header, spec.type().width);
    }
  }

  /**
   * The rows of one caller.
   *
   * @param first how many rows stand before them
   * @param count how many they are
   * @param all rows that the run gave; the same as {@code count} for a caller who was alone
   */
  record Rows(long first, long count, long all) {
    boolean part() {
      return count != all;
    }

    long dimension(Workspace w, int at, int i) {
      return i == 0 && part() ? count : w.dimensions.getAtIndex(LONG, at + i);
    }
  }

  private final MemorySegment out;
  private long at;

  private EncodedAnswer(MemorySegment out) {
    this.out = out;
  }

  /**
   * Writes all but the raw contents of an answer, from the shapes in the workspace, and leaves
   * there at which byte of the answer each output's belong. The largest lie aligned, where the call
   * can do that.
   *
   * @return the answer
   */
  static MemorySegment begin(EncodedCall call, Output[] outputs, Workspace w, Rows rows) {
    EncodedRequest request = call.request();
    byte[] name = call.modelName();
    byte[] version = call.modelVersion();
    byte[] id = request.hasId() ? request.idBytes() : NOTHING;
    long length =
        (name.length == 0 ? 0 : fieldBytes(name.length))
            + (version.length == 0 ? 0 : fieldBytes(version.length))
            + (id.length == 0 ? 0 : fieldBytes(id.length));
    int dimension = 0;
    for (int i = 0; i < request.outputCount; i++) {
      length += fieldBytes(headerBytes(outputs[request.outputs[i]], w, i, dimension, rows));
      dimension += w.ranks[i];
    }
    dimension = 0;
    int largest = 0;
    for (int i = 0; i < request.outputCount; i++) {
      w.lengths[i] = dataBytes(outputs[request.outputs[i]], w, i, dimension, rows);
      length += fieldBytes(w.lengths[i]);
      w.places[i] = length - w.lengths[i];
      largest = w.lengths[i] > w.lengths[largest] ? i : largest;
      dimension += w.ranks[i];
    }
    int bytes = Math.toIntExact(length);
    EncodedAnswer answer =
        new EncodedAnswer(MemorySegment.ofBuffer(call.room(bytes, (int) w.places[largest])));
    answer.text(MODEL_NAME, name);
    answer.text(MODEL_VERSION, version);
    answer.text(ID, id);
    answer.write(request, outputs, w, rows);
    return answer.out;
  }

  private void write(EncodedRequest request, Output[] outputs, Workspace w, Rows rows) {
    int dimension = 0;
    for (int i = 0; i < request.outputCount; i++) {
      Output output = outputs[request.outputs[i]];
      tag(OUTPUT, headerBytes(output, w, i, dimension, rows));
      MemorySegment.copy(output.header, 0, out, BYTE, at, output.header.length);
      at += output.header.length;
      long shape = shapeBytes(w, i, dimension, rows);
      if (shape > 0) {
        tag(SHAPE, shape);
        for (int d = 0; d < w.ranks[i]; d++) {
          varint(rows.dimension(w, dimension, d));
        }
      }
      dimension += w.ranks[i];
    }
    for (int i = 0; i < request.outputCount; i++) {
      tag(RAW, w.lengths[i]);
      at += w.lengths[i];
    }
  }

  /**
   * Copies raw contents to where {@link #begin} said, from where the run has left them; those
   * without an address are there already.
   */
  static void end(MemorySegment answer, int outputCount, Workspace w, Rows rows) {
    for (int i = 0; i < outputCount; i++) {
      long length = w.lengths[i];
      long address = w.data.getAtIndex(LONG, i);
      if (length > 0 && address != 0) {
        long from = rows.part() ? length / rows.count * rows.first : 0;
        MemorySegment data = MemorySegment.ofAddress(address).reinterpret(from + length);
        MemorySegment.copy(data, from, answer, w.places[i], length);
      }
    }
  }

  private static long headerBytes(Output output, Workspace w, int i, int dimension, Rows rows) {
    long shape = shapeBytes(w, i, dimension, rows);
    return output.header.length + (shape == 0 ? 0 : fieldBytes(shape));
  }

  private static long shapeBytes(Workspace w, int i, int dimension, Rows rows) {
    long bytes = 0;
    for (int d = 0; d < w.ranks[i]; d++) {
      bytes += varintBytes(rows.dimension(w, dimension, d));
    }
    return bytes;
  }

  private static long dataBytes(Output output, Workspace w, int i, int dimension, Rows rows) {
    long bytes = output.width;
    for (int d = 0; d < w.ranks[i]; d++) {
      bytes *= rows.dimension(w, dimension, d);
    }
    return bytes;
  }

  /** A field of that many bytes, with its tag and its length. */
  private static long fieldBytes(long length) {
    return 1 + varintBytes(length) + length;
  }

  private static int varintBytes(long value) {
    return value == 0 ? 1 : (70 - Long.numberOfLeadingZeros(value)) / 7;
  }

  /** A text that is left out when it is empty. */
  private void text(int tag, byte[] content) {
    if (content.length > 0) {
      bytes(tag, content);
    }
  }

  private void bytes(int tag, byte[] content) {
    tag(tag, content.length);
    MemorySegment.copy(content, 0, out, BYTE, at, content.length);
    at += content.length;
  }

  private void tag(int tag, long length) {
    out.set(BYTE, at++, (byte) tag);
    varint(length);
  }

  private void varint(long value) {
    long rest = value;
    while (rest > 0x7f) {
      out.set(BYTE, at++, (byte) (rest & 0x7f | 0x80));
      rest >>>= 7;
    }
    out.set(BYTE, at++, (byte) rest);
  }
}
