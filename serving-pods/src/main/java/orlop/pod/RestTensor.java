package orlop.pod;

import com.fasterxml.jackson.core.JsonGenerator;
import inference.InferTensorContents;
import inference.ModelInferResponse;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * One output tensor in raw form, whatever form the runtime gave it.
 *
 * @param raw little-endian, from its position to its limit; reading elements moves the position
 */
record RestTensor(String name, RestType type, long[] shape, ByteBuffer raw) {

  /**
   * @throws RestError with status 500 when the response does not follow the protocol
   */
  static List<RestTensor> of(ModelInferResponse response) throws RestError {
    List<RestTensor> tensors = new ArrayList<>(response.getOutputsCount());
    int raws = response.getRawOutputContentsCount();
    if (raws > 0 && raws != response.getOutputsCount()) {
      throw new RestError(
          500, "the runtime gave " + response.getOutputsCount() + " outputs and " + raws + " data");
    }
    for (int i = 0; i < response.getOutputsCount(); i++) {
      ModelInferResponse.InferOutputTensor output = response.getOutputs(i);
      RestType type = RestType.of(output.getDatatype());
      if (type == null) {
        throw broken(output.getName(), "is of the unknown datatype " + output.getDatatype());
      }
      ByteBuffer raw =
          raws > 0
              ? response.getRawOutputContents(i).asReadOnlyByteBuffer()
              : raw(type, output.getContents());
      if (output.containsParameters(Extended.REGION)) {
        raw = ByteBuffer.allocate(0);
      }
      long[] shape = output.getShapeList().stream().mapToLong(Long::longValue).toArray();
      RestTensor tensor =
          new RestTensor(output.getName(), type, shape, raw.order(ByteOrder.LITTLE_ENDIAN));
      if (!output.containsParameters(Extended.REGION)) {
        tensor.requireWhole();
      }
      tensors.add(tensor);
    }
    return tensors;
  }

  private void requireWhole() throws RestError {
    long elements = RestElements.elements(shape);
    if (type != RestType.BYTES) {
      if (elements > Integer.MAX_VALUE || elements * type.width != raw.remaining()) {
        throw broken(name, "has " + raw.remaining() + " bytes for " + elements + " elements");
      }
      return;
    }
    try {
      requireFrames(raw.duplicate(), elements, "output '" + name + "'");
    } catch (RestError e) {
      throw new RestError(500, e.text());
    }
  }

  /** Walks over BYTES elements, each after its length, O(elements). */
  static void requireFrames(ByteBuffer data, long elements, String where) throws RestError {
    ByteBuffer frames = data.order(ByteOrder.LITTLE_ENDIAN);
    long found = 0;
    while (frames.hasRemaining()) {
      int length = frames.remaining() < 4 ? -1 : frames.getInt();
      if (length < 0 || length > frames.remaining()) {
        throw RestError.bad(
            "%s: the length of BYTES element %d does not fit the %d bytes behind it"
                .formatted(where, found, frames.remaining()));
      }
      frames.position(frames.position() + length);
      found++;
    }
    if (found != elements) {
      throw RestError.bad(
          "%s: holds %d BYTES elements, its shape needs %d".formatted(where, found, elements));
    }
  }

  private static RestError broken(String output, String what) {
    return new RestError(500, "output '" + output + "' of the runtime " + what);
  }

  /** Typed contents in raw form. */
  static ByteBuffer raw(RestType type, InferTensorContents typed) {
    long bytes =
        (long) type.width
            * (switch (type) {
              case BOOL -> typed.getBoolContentsCount();
              case INT8, INT16, INT32 -> typed.getIntContentsCount();
              case INT64 -> typed.getInt64ContentsCount();
              case UINT8, UINT16, UINT32 -> typed.getUintContentsCount();
              case UINT64 -> typed.getUint64ContentsCount();
              case FP32 -> typed.getFp32ContentsCount();
              case FP64 -> typed.getFp64ContentsCount();
              case FP16, BF16, BYTES -> 0;
            });
    for (var element : typed.getBytesContentsList()) {
      bytes += 4L + element.size();
    }
    ByteBuffer raw = ByteBuffer.allocate(Math.toIntExact(bytes)).order(ByteOrder.LITTLE_ENDIAN);
    switch (type) {
      case BOOL -> typed.getBoolContentsList().forEach(v -> raw.put((byte) (v ? 1 : 0)));
      case INT8 -> typed.getIntContentsList().forEach(v -> raw.put(v.byteValue()));
      case INT16 -> typed.getIntContentsList().forEach(v -> raw.putShort(v.shortValue()));
      case INT32 -> typed.getIntContentsList().forEach(raw::putInt);
      case INT64 -> typed.getInt64ContentsList().forEach(raw::putLong);
      case UINT8 -> typed.getUintContentsList().forEach(v -> raw.put(v.byteValue()));
      case UINT16 -> typed.getUintContentsList().forEach(v -> raw.putShort(v.shortValue()));
      case UINT32 -> typed.getUintContentsList().forEach(raw::putInt);
      case UINT64 -> typed.getUint64ContentsList().forEach(raw::putLong);
      case FP32 -> typed.getFp32ContentsList().forEach(raw::putFloat);
      case FP64 -> typed.getFp64ContentsList().forEach(raw::putDouble);
      case FP16, BF16 -> {}
      case BYTES ->
          typed
              .getBytesContentsList()
              .forEach(
                  v -> {
                    raw.putInt(v.size());
                    v.copyTo(raw);
                  });
    }
    return raw.flip();
  }

  /** Writes all elements, without brackets. */
  void flat(JsonGenerator json) throws IOException, RestError {
    while (raw.hasRemaining()) {
      element(json);
    }
  }

  /** Writes the elements from a dimension on in nested arrays. */
  void nested(JsonGenerator json, int dimension) throws IOException, RestError {
    if (dimension == shape.length) {
      element(json);
      return;
    }
    json.writeStartArray();
    for (long i = 0; i < shape[dimension]; i++) {
      nested(json, dimension + 1);
    }
    json.writeEndArray();
  }

  private void element(JsonGenerator json) throws IOException, RestError {
    switch (type) {
      case BOOL -> json.writeBoolean(raw.get() != 0);
      case INT8 -> json.writeNumber((int) raw.get());
      case INT16 -> json.writeNumber((int) raw.getShort());
      case INT32 -> json.writeNumber(raw.getInt());
      case INT64 -> json.writeNumber(raw.getLong());
      case UINT8 -> json.writeNumber(Byte.toUnsignedInt(raw.get()));
      case UINT16 -> json.writeNumber(Short.toUnsignedInt(raw.getShort()));
      case UINT32 -> json.writeNumber(Integer.toUnsignedLong(raw.getInt()));
      case UINT64 -> json.writeNumber(unsigned(raw.getLong()));
      case FP32 -> json.writeNumber(raw.getFloat());
      case FP64 -> json.writeNumber(raw.getDouble());
      case BYTES -> json.writeString(text());
      case FP16, BF16 ->
          throw RestError.bad(
              "output '%s' has datatype %s, which cannot travel in JSON; ask for binary data"
                  .formatted(name, type));
    }
  }

  /** A real number, of the datatypes that have them. */
  double real() {
    return switch (type) {
      case FP16 -> Float.float16ToFloat(raw.getShort());
      case BF16 -> Float.intBitsToFloat(raw.getShort() << 16);
      case FP32 -> raw.getFloat();
      case FP64 -> raw.getDouble();
      default -> throw new IllegalStateException(name + " is " + type + ", which is not real");
    };
  }

  /** The next number, of the datatypes that hold numbers. */
  Number number() {
    return switch (type) {
      case INT8 -> (int) raw.get();
      case INT16 -> (int) raw.getShort();
      case INT32 -> raw.getInt();
      case INT64 -> raw.getLong();
      case UINT8 -> Byte.toUnsignedInt(raw.get());
      case UINT16 -> Short.toUnsignedInt(raw.getShort());
      case UINT32 -> Integer.toUnsignedLong(raw.getInt());
      case UINT64 -> unsigned(raw.getLong());
      case FP16, BF16, FP32, FP64 -> real();
      case BOOL, BYTES -> throw new IllegalStateException(name + " is " + type + ", no number");
    };
  }

  private String text() throws RestError {
    int length = raw.getInt();
    ByteBuffer element = raw.slice(raw.position(), length);
    raw.position(raw.position() + length);
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(element).toString();
    } catch (CharacterCodingException e) {
      throw RestError.bad(
          "output '" + name + "' holds bytes that are not UTF-8; ask for binary data");
    }
  }

  static BigInteger unsigned(long value) {
    return value >= 0
        ? BigInteger.valueOf(value)
        : BigInteger.valueOf(value).add(BigInteger.ONE.shiftLeft(64));
  }
}
