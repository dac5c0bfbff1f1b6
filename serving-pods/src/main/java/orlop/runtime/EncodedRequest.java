package orlop.runtime;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Where the parts of an encoded {@code ModelInferRequest} begin and end. Nothing is copied, so it
 * is good only as long as the message is. To be used again and again by one thread at a time.
 *
 * <p>It reads the plain form, in which nearly all requests come: tensors raw and in native memory,
 * names and id in ASCII, no version, no parameters, no fields that V2 does not have. {@link #read}
 * says no to everything else, and to whatever is not well-formed; protobuf is the judge of those.
 */
public final class EncodedRequest {
  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
  private static final int NAME = 1 << 3 | 2;
  private static final int VERSION = 2 << 3 | 2;
  private static final int ID = 3 << 3 | 2;
  private static final int INPUT = 5 << 3 | 2;
  private static final int OUTPUT = 6 << 3 | 2;
  private static final int RAW = 7 << 3 | 2;
  private static final int DATATYPE = 2 << 3 | 2;
  private static final int PACKED_SHAPE = 3 << 3 | 2;
  private static final int DIMENSION = 3 << 3;
  private static final int CONTENTS = 5 << 3 | 2;

  /** A range of the message: its first byte and the one after the last. */
  static final class Spans {
    private int[] ends = new int[8];
    private int count;

    private void add(int from, int to) {
      if (2 * count == ends.length) {
        ends = Arrays.copyOf(ends, 4 * count);
      }
      ends[2 * count] = from;
      ends[2 * count + 1] = to;
      count++;
    }

    private void set(int from, int to) {
      ends[2 * count - 2] = from;
      ends[2 * count - 1] = to;
    }

    int from(int i) {
      return ends[2 * i];
    }

    int to(int i) {
      return ends[2 * i + 1];
    }

    int bytes(int i) {
      return ends[2 * i + 1] - ends[2 * i];
    }

    int count() {
      return count;
    }
  }

  private static final MemorySegment NOTHING = MemorySegment.ofArray(new byte[0]);

  final Spans inputNames = new Spans();
  final Spans datatypes = new Spans();
  final Spans raws = new Spans();
  final Spans outputNames = new Spans();

  /** Which of the dimensions belong to an input. */
  final Spans shapes = new Spans();

  private long[] dimensions = new long[16];
  private MemorySegment message = NOTHING;
  private int at;
  private int dimensionCount;
  private int idFrom;
  private int idTo;

  /*
   * What the model that admits it finds: which of its inputs each input is, which of its outputs
   * are asked for, and how many rows each input has.
   */
  int[] inputs = new int[4];
  int[] outputs = new int[4];
  int outputCount;
  int rows;

  /**
   * Reads a message.
   *
   * @return whether it is in the plain form; when not, nothing may be asked of this
   */
  public boolean read(ByteBuffer encoded) {
    inputNames.count = 0;
    datatypes.count = 0;
    raws.count = 0;
    outputNames.count = 0;
    shapes.count = 0;
    dimensionCount = 0;
    idFrom = 0;
    idTo = 0;
    at = 0;
    if (!encoded.isDirect()) {
      return false;
    }
    message = MemorySegment.ofBuffer(encoded);
    return readFields((int) message.byteSize()) && raws.count > 0 && raws.count == inputNames.count;
  }

  /** The caller's own id for the request; empty when it has none. */
  public String id() {
    return idTo == idFrom ? "" : new String(idBytes(), StandardCharsets.ISO_8859_1);
  }

  /** Rows that each of its inputs has; 0 when it cannot run together with others. */
  public int rows() {
    return rows;
  }

  /** Bytes of the message. */
  public int bytes() {
    return (int) message.byteSize();
  }

  /** Whether the two, admitted by the same model, may run as one. */
  public boolean joins(EncodedRequest other) {
    if (rows == 0
        || other.rows == 0
        || outputCount != other.outputCount
        || !Arrays.equals(outputs, 0, outputCount, other.outputs, 0, outputCount)) {
      return false;
    }
    for (int i = 0; i < inputNames.count; i++) {
      if (inputs[i] != other.inputs[i]
          || !Arrays.equals(
              dimensions,
              shapes.from(i) + 1,
              shapes.to(i),
              other.dimensions,
              other.shapes.from(i) + 1,
              other.shapes.to(i))) {
        return false;
      }
    }
    return true;
  }

  /** Forgets the message. */
  public void forget() {
    message = NOTHING;
  }

  /** The sizes of all dimensions, input by input; {@link #shapes} says which are whose. */
  long[] dimensions() {
    return dimensions;
  }

  int dimensionCount() {
    return dimensionCount;
  }

  /** Makes place for that many inputs and outputs. */
  void reserve(int inputCount, int mostOutputs) {
    if (inputs.length < inputCount) {
      inputs = new int[inputCount];
    }
    if (outputs.length < mostOutputs) {
      outputs = new int[mostOutputs];
    }
  }

  MemorySegment message() {
    return message;
  }

  byte[] idBytes() {
    return message.asSlice(idFrom, idTo - idFrom).toArray(BYTE);
  }

  boolean hasId() {
    return idTo > idFrom;
  }

  /** Whether that range holds these bytes. */
  boolean holds(Spans spans, int i, byte[] expected) {
    if (spans.bytes(i) != expected.length) {
      return false;
    }
    int from = spans.from(i);
    for (int j = 0; j < expected.length; j++) {
      if (message.get(BYTE, from + j) != expected[j]) {
        return false;
      }
    }
    return true;
  }

  private boolean readFields(int end) {
    while (at < end) {
      int tag = message.get(BYTE, at++);
      int to = end(end);
      if (to < 0) {
        return false;
      }
      int from = at;
      at = to;
      boolean plain =
          switch (tag) {
            case NAME -> ascii(from, to);
            case VERSION -> from == to;
            case ID -> {
              idFrom = from;
              idTo = to;
              yield ascii(from, to);
            }
            case INPUT -> readInput(from, to);
            case OUTPUT -> readOutput(from, to);
            case RAW -> {
              raws.add(from, to);
              yield raws.count <= Workspace.MOST_TENSORS;
            }
            default -> false;
          };
      if (!plain) {
        return false;
      }
      at = to;
    }
    return true;
  }

  private boolean readInput(int from, int end) {
    if (inputNames.count == Workspace.MOST_TENSORS) {
      return false;
    }
    inputNames.add(from, from);
    datatypes.add(from, from);
    int firstDimension = dimensionCount;
    at = from;
    while (at < end) {
      int tag = message.get(BYTE, at++);
      if (tag == DIMENSION) {
        if (!readDimension(end)) {
          return false;
        }
        continue;
      }
      int to = end(end);
      if (to < 0) {
        return false;
      }
      int start = at;
      boolean plain =
          switch (tag) {
            case NAME -> {
              inputNames.set(start, to);
              yield ascii(start, to);
            }
            case DATATYPE -> {
              datatypes.set(start, to);
              yield ascii(start, to);
            }
            case PACKED_SHAPE -> readShape(to);
            case CONTENTS -> start == to;
            default -> false;
          };
      if (!plain) {
        return false;
      }
      at = to;
    }
    shapes.add(firstDimension, dimensionCount);
    return true;
  }

  private boolean readOutput(int from, int end) {
    if (outputNames.count == Workspace.MOST_TENSORS) {
      return false;
    }
    outputNames.add(from, from);
    at = from;
    while (at < end) {
      int tag = message.get(BYTE, at++);
      int to = end(end);
      if (to < 0 || tag != NAME || !ascii(at, to)) {
        return false;
      }
      outputNames.set(at, to);
      at = to;
    }
    return true;
  }

  private boolean readShape(int end) {
    while (at < end) {
      if (!readDimension(end)) {
        return false;
      }
    }
    return true;
  }

  private boolean readDimension(int end) {
    long value = varint(end);
    if (value < 0 || dimensionCount == Workspace.MOST_DIMENSIONS) {
      return false;
    }
    if (dimensionCount == dimensions.length) {
      dimensions = Arrays.copyOf(dimensions, 2 * dimensionCount);
    }
    dimensions[dimensionCount++] = value;
    return true;
  }

  /** Where a field that begins with its length ends; -1 when that lies beyond {@code end}. */
  private int end(int end) {
    long length = varint(end);
    return length < 0 || length > end - at ? -1 : at + (int) length;
  }

  /** A number of at most 63 bits, or -1. */
  private long varint(int end) {
    long value = 0;
    for (int shift = 0; shift < 63; shift += 7) {
      if (at >= end) {
        return -1;
      }
      byte b = message.get(BYTE, at++);
      value |= (long) (b & 0x7f) << shift;
      if (b >= 0) {
        return value;
      }
    }
    return -1;
  }

  private boolean ascii(int from, int to) {
    for (int i = from; i < to; i++) {
      if (message.get(BYTE, i) < 0) {
        return false;
      }
    }
    return true;
  }
}
