package orlop.pod;

import org.jspecify.annotations.Nullable;

/** The datatypes of V2. */
enum RestType {
  BOOL(1),
  INT8(1),
  INT16(2),
  INT32(4),
  INT64(8),
  UINT8(1),
  UINT16(2),
  UINT32(4),
  UINT64(8),
  FP16(2),
  BF16(2),
  FP32(4),
  FP64(8),
  BYTES(0);

  /** Bytes of one element, 0 where elements differ. */
  final int width;

  RestType(int width) {
    this.width = width;
  }

  static @Nullable RestType of(String wireName) {
    for (RestType type : values()) {
      if (type.name().equals(wireName)) {
        return type;
      }
    }
    return null;
  }

  /** Whether JSON has a form for its elements. */
  boolean inJson() {
    return this != FP16 && this != BF16;
  }

  /** As a model configuration of Triton names it. */
  String configName() {
    return "TYPE_" + (this == BYTES ? "STRING" : name());
  }

  /** Of integers the least value; meaningless for others. */
  long least() {
    return switch (this) {
      case INT8 -> Byte.MIN_VALUE;
      case INT16 -> Short.MIN_VALUE;
      case INT32 -> Integer.MIN_VALUE;
      case INT64 -> Long.MIN_VALUE;
      default -> 0;
    };
  }

  /** Of integers the greatest value; of UINT64 as an unsigned one. */
  long most() {
    return switch (this) {
      case INT8 -> Byte.MAX_VALUE;
      case INT16 -> Short.MAX_VALUE;
      case INT32 -> Integer.MAX_VALUE;
      case INT64 -> Long.MAX_VALUE;
      case UINT8 -> 0xFF;
      case UINT16 -> 0xFFFF;
      case UINT32 -> 0xFFFF_FFFFL;
      default -> -1;
    };
  }
}
