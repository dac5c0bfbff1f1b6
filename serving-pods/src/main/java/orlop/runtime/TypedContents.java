package orlop.runtime;

import inference.InferTensorContents;
import java.nio.ByteBuffer;

/** Copies numbers between the typed fields of V2 and native tensor memory. Stateless. */
final class TypedContents {

  private TypedContents() {}

  /** Appends {@code count} elements to {@code data}, whose order is little-endian. */
  static void write(TensorCheck check, InferTensorContents contents, int count, ByteBuffer data)
      throws InferenceException {
    TensorType type = check.spec().type();
    switch (type) {
      case BOOL -> {
        for (int i = 0; i < count; i++) {
          data.put((byte) (contents.getBoolContents(i) ? 1 : 0));
        }
      }
      case INT8, INT16, INT32 -> {
        for (int i = 0; i < count; i++) {
          putSigned(check, contents.getIntContents(i), i, data);
        }
      }
      case UINT8, UINT16, UINT32 -> {
        for (int i = 0; i < count; i++) {
          putUnsigned(check, contents.getUintContents(i), i, data);
        }
      }
      case INT64 -> {
        for (int i = 0; i < count; i++) {
          data.putLong(contents.getInt64Contents(i));
        }
      }
      case UINT64 -> {
        for (int i = 0; i < count; i++) {
          data.putLong(contents.getUint64Contents(i));
        }
      }
      case FP32 -> {
        for (int i = 0; i < count; i++) {
          data.putFloat(contents.getFp32Contents(i));
        }
      }
      case FP64 -> {
        for (int i = 0; i < count; i++) {
          data.putDouble(contents.getFp64Contents(i));
        }
      }
      case FP16, BF16, BYTES -> throw new IllegalArgumentException(type + " is not such a number");
    }
  }

  /** Reads all of {@code data}, whose order is little-endian. */
  static InferTensorContents read(TensorType type, ByteBuffer data) {
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    while (data.hasRemaining()) {
      switch (type) {
        case BOOL -> contents.addBoolContents(data.get() != 0);
        case INT8 -> contents.addIntContents(data.get());
        case INT16 -> contents.addIntContents(data.getShort());
        case INT32 -> contents.addIntContents(data.getInt());
        case UINT8 -> contents.addUintContents(data.get() & 0xff);
        case UINT16 -> contents.addUintContents(data.getShort() & 0xffff);
        case UINT32 -> contents.addUintContents(data.getInt());
        case INT64 -> contents.addInt64Contents(data.getLong());
        case UINT64 -> contents.addUint64Contents(data.getLong());
        case FP32 -> contents.addFp32Contents(data.getFloat());
        case FP64 -> contents.addFp64Contents(data.getDouble());
        case FP16, BF16, BYTES ->
            throw new IllegalArgumentException(type + " is not such a number");
      }
    }
    return contents.build();
  }

  private static void putSigned(TensorCheck check, int value, int index, ByteBuffer data)
      throws InferenceException {
    int bits = check.spec().type().width * 8;
    int max = Integer.MAX_VALUE >> (32 - bits);
    int min = Integer.MIN_VALUE >> (32 - bits);
    if (value < min || value > max) {
      throw check.refuse(outOfRange(check, Integer.toString(value), index, min + " to " + max));
    }
    switch (bits) {
      case 8 -> data.put((byte) value);
      case 16 -> data.putShort((short) value);
      default -> data.putInt(value);
    }
  }

  private static void putUnsigned(TensorCheck check, int value, int index, ByteBuffer data)
      throws InferenceException {
    int bits = check.spec().type().width * 8;
    int max = -1 >>> (32 - bits);
    if (Integer.compareUnsigned(value, max) > 0) {
      throw check.refuse(outOfRange(check, Integer.toUnsignedString(value), index, "0 to " + max));
    }
    switch (bits) {
      case 8 -> data.put((byte) value);
      case 16 -> data.putShort((short) value);
      default -> data.putInt(value);
    }
  }

  private static String outOfRange(TensorCheck check, String value, int index, String range) {
    return "element "
        + index
        + " is "
        + value
        + ", expected "
        + range
        + " for "
        + check.spec().type();
  }
}
