package orlop.runtime;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.TensorInfo.OnnxTensorType;
import inference.InferTensorContents;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The V2 datatypes, each with the ONNX element type it stands for. The constant names are the wire
 * names.
 */
enum TensorType {
  BOOL(1, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, OnnxJavaType.BOOL, Field.BOOL),
  UINT8(1, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, OnnxJavaType.UINT8, Field.UINT),
  UINT16(2, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, OnnxJavaType.INT16, Field.UINT),
  UINT32(4, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, OnnxJavaType.INT32, Field.UINT),
  UINT64(8, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, OnnxJavaType.INT64, Field.UINT64),
  INT8(1, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, OnnxJavaType.INT8, Field.INT),
  INT16(2, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, OnnxJavaType.INT16, Field.INT),
  INT32(4, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, OnnxJavaType.INT32, Field.INT),
  INT64(8, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, OnnxJavaType.INT64, Field.INT64),
  FP16(2, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, OnnxJavaType.FLOAT16, null),
  BF16(2, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, OnnxJavaType.BFLOAT16, null),
  FP32(4, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, OnnxJavaType.FLOAT, Field.FP32),
  FP64(8, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, OnnxJavaType.DOUBLE, Field.FP64),
  /** Of no fixed width: each element is a byte string. */
  BYTES(0, OnnxTensorType.ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, OnnxJavaType.STRING, Field.BYTES);

  /** The fields of {@code InferTensorContents}. */
  enum Field {
    BOOL("bool_contents"),
    INT("int_contents"),
    INT64("int64_contents"),
    UINT("uint_contents"),
    UINT64("uint64_contents"),
    FP32("fp32_contents"),
    FP64("fp64_contents"),
    BYTES("bytes_contents");

    final String wireName;

    Field(String wireName) {
      this.wireName = wireName;
    }

    int count(InferTensorContents contents) {
      return switch (this) {
        case BOOL -> contents.getBoolContentsCount();
        case INT -> contents.getIntContentsCount();
        case INT64 -> contents.getInt64ContentsCount();
        case UINT -> contents.getUintContentsCount();
        case UINT64 -> contents.getUint64ContentsCount();
        case FP32 -> contents.getFp32ContentsCount();
        case FP64 -> contents.getFp64ContentsCount();
        case BYTES -> contents.getBytesContentsCount();
      };
    }
  }

  private static final Map<String, TensorType> BY_NAME = new HashMap<>();
  private static final Map<OnnxTensorType, TensorType> BY_ONNX = new HashMap<>();

  static {
    for (TensorType type : values()) {
      BY_NAME.put(type.name(), type);
      BY_ONNX.put(type.onnx, type);
    }
  }

  /** Bytes of one element in raw contents; 0 for {@link #BYTES}. */
  final int width;

  final OnnxTensorType onnx;

  /** The type with which the Java API makes such a tensor, before {@link #needsCast}. */
  final OnnxJavaType javaType;

  /** Where typed contents carry it; null when only raw contents can. */
  final @Nullable Field field;

  TensorType(int width, OnnxTensorType onnx, OnnxJavaType javaType, @Nullable Field field) {
    this.width = width;
    this.onnx = onnx;
    this.javaType = javaType;
    this.field = field;
  }

  /** The number of this element type in ONNX files (TensorProto.DataType). */
  int onnxCode() {
    return switch (this) {
      case FP32 -> 1;
      case UINT8 -> 2;
      case INT8 -> 3;
      case UINT16 -> 4;
      case INT16 -> 5;
      case INT32 -> 6;
      case INT64 -> 7;
      case BYTES -> 8;
      case BOOL -> 9;
      case FP16 -> 10;
      case FP64 -> 11;
      case UINT32 -> 12;
      case UINT64 -> 13;
      case BF16 -> 16;
    };
  }

  /**
   * The Java API has no way to make these; {@link UnsignedCast} turns the signed ones into them.
   */
  boolean needsCast() {
    return this == UINT16 || this == UINT32 || this == UINT64;
  }

  /** Null when V2 knows no such datatype. */
  static @Nullable TensorType ofWireName(String name) {
    return BY_NAME.get(name);
  }

  /** Null when V2 has no name for it: complex and 8-bit floats. */
  static @Nullable TensorType ofOnnx(OnnxTensorType onnx) {
    return BY_ONNX.get(onnx);
  }
}
