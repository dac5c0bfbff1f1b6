package orlop.runtime;

import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest.InferInputTensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * The numbers of one input tensor, read in ranges and converted on the way; nothing is copied
 * before. Immutable; borrows the request.
 */
final class FeatureTensor {
  private final TensorType type;
  private final int rows;
  private final @Nullable ByteBuffer raw;
  private final InferTensorContents contents;

  private FeatureTensor(
      TensorType type, int rows, @Nullable ByteBuffer raw, InferTensorContents contents) {
    this.type = type;
    this.rows = rows;
    this.raw = raw;
    this.contents = contents;
  }

  /**
   * Checks the tensor against what the model takes: any type of numbers will do.
   *
   * @param raw its raw contents; null when they are typed
   */
  static FeatureTensor of(
      Signature signature, TensorSpec declared, InferInputTensor input, @Nullable ByteString raw)
      throws InferenceException {
    TensorType type = TensorType.ofWireName(input.getDatatype());
    if (type == null || type == TensorType.BYTES) {
      throw signature.refuseInput(
          declared,
          "datatype '"
              + input.getDatatype()
              + "', expected "
              + declared.type()
              + " or another type of numbers");
    }
    TensorSpec spec = new TensorSpec(declared.name(), type, declared.shape(), true);
    TensorCheck check = TensorCheck.of(signature, spec, input);
    int rows = (int) check.shape()[0];
    if (raw == null) {
      check.requireContents(input.getContents());
      return new FeatureTensor(type, rows, null, input.getContents());
    }
    check.requireNoContents(input.getContents());
    check.requireRawLength(raw.size());
    ByteBuffer bytes = raw.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    return new FeatureTensor(type, rows, bytes, input.getContents());
  }

  int rows() {
    return rows;
  }

  /** Reads {@code count} numbers from index {@code from} on, as floats. */
  void floats(int from, int count, float[] into) {
    if (type == TensorType.FP32 && raw != null) {
      raw.slice(from * 4, count * 4)
          .order(ByteOrder.LITTLE_ENDIAN)
          .asFloatBuffer()
          .get(into, 0, count);
      return;
    }
    for (int i = 0; i < count; i++) {
      into[i] =
          switch (type) {
            case FP32 -> contents.getFp32Contents(from + i);
            case FP64 -> (float) real(from + i);
            case UINT64 -> (float) unsigned(whole(from + i));
            default -> type.field == null ? half(from + i) : whole(from + i);
          };
    }
  }

  /** Reads {@code count} numbers from index {@code from} on, as doubles. */
  void doubles(int from, int count, double[] into) {
    for (int i = 0; i < count; i++) {
      into[i] =
          switch (type) {
            case FP32, FP64 -> real(from + i);
            case UINT64 -> unsigned(whole(from + i));
            default -> type.field == null ? half(from + i) : whole(from + i);
          };
    }
  }

  private double real(int index) {
    ByteBuffer bytes = raw;
    if (bytes != null) {
      return type == TensorType.FP32 ? bytes.getFloat(4 * index) : bytes.getDouble(8 * index);
    }
    return type == TensorType.FP32
        ? contents.getFp32Contents(index)
        : contents.getFp64Contents(index);
  }

  private float half(int index) {
    ByteBuffer bytes = raw;
    if (bytes == null) {
      throw new IllegalStateException(type + " is never typed");
    }
    short bits = bytes.getShort(2 * index);
    return type == TensorType.FP16 ? Float.float16ToFloat(bits) : Float.intBitsToFloat(bits << 16);
  }

  private long whole(int index) {
    ByteBuffer bytes = raw;
    if (bytes == null) {
      return switch (type) {
        case BOOL -> contents.getBoolContents(index) ? 1 : 0;
        case INT64 -> contents.getInt64Contents(index);
        case UINT64 -> contents.getUint64Contents(index);
        case UINT8, UINT16, UINT32 -> Integer.toUnsignedLong(contents.getUintContents(index));
        default -> contents.getIntContents(index);
      };
    }
    return switch (type) {
      case BOOL -> bytes.get(index) == 0 ? 0 : 1;
      case INT8 -> bytes.get(index);
      case UINT8 -> bytes.get(index) & 0xff;
      case INT16 -> bytes.getShort(2 * index);
      case UINT16 -> bytes.getShort(2 * index) & 0xffff;
      case INT32 -> bytes.getInt(4 * index);
      case UINT32 -> Integer.toUnsignedLong(bytes.getInt(4 * index));
      default -> bytes.getLong(8 * index);
    };
  }

  /** The bits of an unsigned long; the lowest one sticks, so that rounding is right. */
  private static double unsigned(long bits) {
    return bits >= 0 ? bits : 2.0 * (bits >>> 1 | bits & 1);
  }
}
