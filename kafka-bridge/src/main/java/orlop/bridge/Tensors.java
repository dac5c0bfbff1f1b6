package orlop.bridge;

import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** Sizes of V2 tensors and their raw form: row-major, little-endian. Pure. */
final class Tensors {
  private Tensors() {}

  /**
   * Bytes of one element; 0 for {@code BYTES} and for datatypes that the protocol does not name.
   */
  static int elementBytes(String datatype) {
    return switch (datatype) {
      case "BOOL", "INT8", "UINT8" -> 1;
      case "INT16", "UINT16", "FP16", "BF16" -> 2;
      case "INT32", "UINT32", "FP32" -> 4;
      case "INT64", "UINT64", "FP64" -> 8;
      default -> 0;
    };
  }

  /** Number of elements of a shape. */
  static long elements(List<Long> shape) throws BadRecordException {
    long elements = 1;
    for (long dimension : shape) {
      if (dimension < 0) {
        throw new BadRecordException(
            Outcome.Reason.SHAPE, "shape " + shape + " has a negative dimension");
      }
      try {
        elements = Math.multiplyExact(elements, dimension);
      } catch (ArithmeticException e) {
        throw new BadRecordException(Outcome.Reason.SHAPE, "shape " + shape + " overflows");
      }
    }
    return elements;
  }

  /** Refuses a request whose tensors hold another number of elements than their shapes say. */
  static void check(ModelInferRequest request) throws BadRecordException {
    if (request.getInputsCount() == 0) {
      throw new BadRecordException(Outcome.Reason.SHAPE, "the request has no input tensor");
    }
    int raw = request.getRawInputContentsCount();
    if (raw != 0 && raw != request.getInputsCount()) {
      throw new BadRecordException(
          Outcome.Reason.SHAPE,
          "raw_input_contents has " + raw + " entries for " + request.getInputsCount() + " inputs");
    }
    for (int i = 0; i < request.getInputsCount(); i++) {
      ModelInferRequest.InferInputTensor input = request.getInputs(i);
      long expected = elements(input.getShapeList());
      if (raw == 0) {
        requireEqual(input, count(input.getContents()), expected, "elements");
      } else if (elementBytes(input.getDatatype()) != 0) {
        long bytes = elementBytes(input.getDatatype());
        requireEqual(input, request.getRawInputContents(i).size(), expected * bytes, "bytes");
      }
    }
  }

  private static void requireEqual(
      ModelInferRequest.InferInputTensor input, long actual, long expected, String unit)
      throws BadRecordException {
    if (actual != expected) {
      throw new BadRecordException(
          Outcome.Reason.SHAPE,
          "input "
              + input.getName()
              + " of shape "
              + input.getShapeList()
              + " and datatype "
              + input.getDatatype()
              + " has "
              + actual
              + " "
              + unit
              + ", expected "
              + expected);
    }
  }

  /** Number of typed elements; one field is in use at a time. */
  static int count(InferTensorContents contents) {
    return contents.getBoolContentsCount()
        + contents.getIntContentsCount()
        + contents.getInt64ContentsCount()
        + contents.getUintContentsCount()
        + contents.getUint64ContentsCount()
        + contents.getFp32ContentsCount()
        + contents.getFp64ContentsCount()
        + contents.getBytesContentsCount();
  }

  /** Typed FP32 elements as raw bytes. */
  static ByteString rawFp32(InferTensorContents contents) {
    ByteBuffer raw =
        ByteBuffer.allocate(contents.getFp32ContentsCount() * Float.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < contents.getFp32ContentsCount(); i++) {
      raw.putFloat(contents.getFp32Contents(i));
    }
    return ByteString.copyFrom(raw.flip());
  }
}
