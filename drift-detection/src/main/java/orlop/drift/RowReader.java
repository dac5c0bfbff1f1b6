package orlop.drift;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * Takes one row out of a V2 inference request: the first dimension of a tensor counts rows, the
 * others, flattened, are its features. Only the chosen row's elements are decoded.
 *
 * <p>Numbers and booleans of every width are read, typed or raw, as 32-bit floats. BYTES tensors
 * and rows of more than {@link #MAX_COLUMNS} columns are left out. Stateless.
 */
final class RowReader {
  /** Wider rows are images and embeddings, which a detector per column does not suit. */
  static final int MAX_COLUMNS = 1024;

  private RowReader() {}

  /**
   * The row that {@code seed} chooses; it has no features when no tensor suits.
   *
   * @throws InvalidProtocolBufferException when the bytes are no request, or a tensor's contents do
   *     not have the size that its shape says
   */
  static Row read(byte[] request, long seed) throws InvalidProtocolBufferException {
    ModelInferRequest message = ModelInferRequest.parseFrom(request);
    List<FeatureKey> keys = new ArrayList<>();
    float[] values = new float[16];
    for (int t = 0; t < message.getInputsCount(); t++) {
      InferInputTensor tensor = message.getInputs(t);
      long rows = tensor.getShapeCount() == 0 ? 1 : tensor.getShape(0);
      long columns = columns(tensor);
      if (rows == 0 || columns == 0 || columns > MAX_COLUMNS || isText(tensor)) {
        continue;
      }
      long first = Hash.row(seed, rows) * columns;
      Elements elements = elements(message, t, tensor, rows * columns);
      for (int c = 0; c < columns; c++) {
        if (keys.size() == values.length) {
          values = java.util.Arrays.copyOf(values, 2 * values.length);
        }
        values[keys.size()] = elements.at((int) first + c);
        keys.add(new FeatureKey(tensor.getName(), c));
      }
    }
    return new Row(seed, keys, java.util.Arrays.copyOf(values, keys.size()));
  }

  @FunctionalInterface
  private interface Elements {
    float at(int index);
  }

  private static boolean isText(InferInputTensor tensor) {
    return tensor.getDatatype().equals("BYTES");
  }

  private static long columns(InferInputTensor tensor) throws InvalidProtocolBufferException {
    long columns = 1;
    for (int d = 0; d < tensor.getShapeCount(); d++) {
      long size = tensor.getShape(d);
      if (size < 0 || size > Integer.MAX_VALUE) {
        throw wrong(tensor, "dimension " + d + " is " + size + ", allowed is 0 to 2147483647");
      }
      // Beyond the limit the exact number does not matter, and it must not overflow.
      columns = d == 0 ? 1 : Math.min(columns * size, Integer.MAX_VALUE);
    }
    return columns;
  }

  private static Elements elements(
      ModelInferRequest message, int index, InferInputTensor tensor, long count)
      throws InvalidProtocolBufferException {
    if (message.getRawInputContentsCount() == 0) {
      return typed(tensor, count);
    }
    if (index >= message.getRawInputContentsCount()) {
      throw wrong(tensor, "has no raw contents though others have");
    }
    return raw(tensor, message.getRawInputContents(index), count);
  }

  private static Elements raw(InferInputTensor tensor, ByteString bytes, long count)
      throws InvalidProtocolBufferException {
    ByteBuffer data = bytes.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    int width =
        switch (tensor.getDatatype()) {
          case "BOOL", "INT8", "UINT8" -> 1;
          case "INT16", "UINT16", "FP16", "BF16" -> 2;
          case "INT32", "UINT32", "FP32" -> 4;
          case "INT64", "UINT64", "FP64" -> 8;
          default -> throw wrong(tensor, "has the unknown datatype " + tensor.getDatatype());
        };
    if (bytes.size() != count * width) {
      throw wrong(tensor, "has " + bytes.size() + " raw bytes, its shape says " + count * width);
    }
    return switch (tensor.getDatatype()) {
      case "BOOL", "UINT8" -> i -> data.get(i) & 0xFF;
      case "INT8" -> i -> data.get(i);
      case "INT16" -> i -> data.getShort(2 * i);
      case "UINT16" -> i -> data.getShort(2 * i) & 0xFFFF;
      case "FP16" -> i -> Float.float16ToFloat(data.getShort(2 * i));
      case "BF16" -> i -> Float.intBitsToFloat(data.getShort(2 * i) << 16);
      case "INT32" -> i -> data.getInt(4 * i);
      case "UINT32" -> i -> data.getInt(4 * i) & 0xFFFF_FFFFL;
      case "FP32" -> i -> data.getFloat(4 * i);
      case "INT64" -> i -> data.getLong(8 * i);
      case "UINT64" -> i -> unsigned(data.getLong(8 * i));
      default -> i -> (float) data.getDouble(8 * i);
    };
  }

  private static Elements typed(InferInputTensor tensor, long count)
      throws InvalidProtocolBufferException {
    InferTensorContents contents = tensor.getContents();
    int size =
        switch (tensor.getDatatype()) {
          case "BOOL" -> contents.getBoolContentsCount();
          case "INT8", "INT16", "INT32" -> contents.getIntContentsCount();
          case "INT64" -> contents.getInt64ContentsCount();
          case "UINT8", "UINT16", "UINT32" -> contents.getUintContentsCount();
          case "UINT64" -> contents.getUint64ContentsCount();
          case "FP32" -> contents.getFp32ContentsCount();
          case "FP64" -> contents.getFp64ContentsCount();
          default -> throw wrong(tensor, "has typed contents of datatype " + tensor.getDatatype());
        };
    if (size != count) {
      throw wrong(tensor, "has " + size + " elements, its shape says " + count);
    }
    return switch (tensor.getDatatype()) {
      case "BOOL" -> i -> contents.getBoolContents(i) ? 1 : 0;
      case "INT8", "INT16", "INT32" -> contents::getIntContents;
      case "INT64" -> contents::getInt64Contents;
      case "UINT8", "UINT16", "UINT32" -> i -> contents.getUintContents(i) & 0xFFFF_FFFFL;
      case "UINT64" -> i -> unsigned(contents.getUint64Contents(i));
      case "FP32" -> contents::getFp32Contents;
      default -> i -> (float) contents.getFp64Contents(i);
    };
  }

  private static float unsigned(long value) {
    return value >= 0 ? value : (float) ((value >>> 1) | (value & 1)) * 2f;
  }

  private static InvalidProtocolBufferException wrong(InferInputTensor tensor, String what) {
    return new InvalidProtocolBufferException("input tensor " + tensor.getName() + " " + what);
  }
}
