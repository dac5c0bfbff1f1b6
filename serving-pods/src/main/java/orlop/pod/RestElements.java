package orlop.pod;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonParser.NumberType;
import com.fasterxml.jackson.core.JsonToken;
import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;

/**
 * One tensor's elements on their way from JSON into V2's raw form: row-major, little-endian, BYTES
 * each after its length in 4 bytes. Values go straight from the parser into the bytes, O(bytes),
 * and the nesting of arrays is kept to be compared with the shape. Owned by one thread.
 */
final class RestElements {
  private static final VarHandle SHORT = view(short[].class);
  private static final VarHandle INT = view(int[].class);
  private static final VarHandle LONG = view(long[].class);

  /** The one key of an object that stands for bytes which are no text, as V1 has it. */
  static final String ENCODED = "b64";

  private static final int MAX_DEPTH = 64;
  private static final int UNSEEN = -1;

  private final RestType type;
  private final String where;
  private final int mostBytes;
  private byte[] bytes = new byte[64];
  private int length;
  private long count;

  // The length of the arrays at each depth, and the depth at which the elements stand.
  private final long[] sizes = new long[MAX_DEPTH + 1];
  private int elementDepth = UNSEEN;

  /**
   * @param where names the tensor in errors
   * @param mostBytes that the raw form may take
   * @throws RestError when JSON has no form for the datatype
   */
  RestElements(RestType type, String where, int mostBytes) throws RestError {
    if (!type.inJson()) {
      throw RestError.bad(
          where + ": datatype " + type + " cannot travel in JSON, expected binary data");
    }
    this.type = type;
    this.where = where;
    this.mostBytes = mostBytes;
    Arrays.fill(sizes, UNSEEN);
  }

  private static VarHandle view(Class<?> array) {
    return MethodHandles.byteArrayViewVarHandle(array, ByteOrder.LITTLE_ENDIAN);
  }

  long count() {
    return count;
  }

  ByteString raw() {
    return UnsafeByteOperations.unsafeWrap(bytes, 0, length);
  }

  /** The lengths of the nested arrays, from the outermost in. */
  long[] sizes() {
    int depth = 0;
    while (depth < sizes.length && sizes[depth] != UNSEEN) {
      depth++;
    }
    return Arrays.copyOf(sizes, depth);
  }

  /** Compares what was read with the shape; a flat array fits every shape of as many elements. */
  void requireShape(long[] shape) throws RestError {
    long expected = elements(shape);
    if (count != expected) {
      throw RestError.bad(
          "%s: 'data' holds %d elements, shape %s needs %d"
              .formatted(where, count, Arrays.toString(shape), expected));
    }
    long[] found = sizes();
    boolean cut = found[found.length - 1] == 0 && found.length <= shape.length;
    long[] compared = cut ? Arrays.copyOf(shape, found.length) : shape;
    if (found.length > 1 && !Arrays.equals(found, compared)) {
      throw RestError.bad(
          "%s: 'data' is nested as %s, expected one flat array or shape %s"
              .formatted(where, Arrays.toString(found), Arrays.toString(shape)));
    }
  }

  /** How many elements a shape has; saturates. */
  static long elements(long[] shape) {
    long product = 1;
    for (long dimension : shape) {
      if (dimension == 0) {
        return 0;
      }
      product = product > Long.MAX_VALUE / dimension ? Long.MAX_VALUE : product * dimension;
    }
    return product;
  }

  /** Reads an array; the parser stands at its start and is left at its end. */
  void array(JsonParser json) throws IOException, RestError {
    array(json, 0);
  }

  /** Reads one row of a tensor whose rows come apart; the parser stands at its first token. */
  void row(JsonParser json) throws IOException, RestError {
    sizes[0] = Math.max(0, sizes[0]) + 1;
    item(json, json.currentToken(), 0);
  }

  private void array(JsonParser json, int depth) throws IOException, RestError {
    long items = 0;
    for (JsonToken token = json.nextToken();
        token != JsonToken.END_ARRAY;
        token = json.nextToken()) {
      item(json, token, depth);
      items++;
    }
    if (sizes[depth] == UNSEEN) {
      sizes[depth] = items;
    } else if (sizes[depth] != items) {
      throw RestError.bad(
          "%s: 'data' is ragged: before element %d an array has %d items, those beside it have %d"
              .formatted(where, count, items, sizes[depth]));
    }
  }

  private void item(JsonParser json, JsonToken token, int depth) throws IOException, RestError {
    if (token == JsonToken.START_ARRAY) {
      if (elementDepth != UNSEEN && elementDepth <= depth) {
        throw wrong("an array beside elements", "arrays or elements, not both");
      }
      array(json, depth + 1);
      return;
    }
    if (elementDepth == UNSEEN) {
      elementDepth = depth;
      if (sizes[depth + 1] != UNSEEN) {
        throw wrong("an element beside arrays", "arrays or elements, not both");
      }
    } else if (elementDepth != depth) {
      throw wrong("an element beside arrays", "arrays or elements, not both");
    }
    element(json, token);
    count++;
  }

  private void element(JsonParser json, JsonToken token) throws IOException, RestError {
    switch (type) {
      case BOOL -> {
        if (token != JsonToken.VALUE_TRUE && token != JsonToken.VALUE_FALSE) {
          throw wrong(json, "true or false");
        }
        room(1);
        bytes[length++] = (byte) (token == JsonToken.VALUE_TRUE ? 1 : 0);
      }
      case FP32 -> {
        boolean number = real(json, token);
        float value = number ? json.getFloatValue() : (float) word(json);
        if (number && Float.isInfinite(value)) {
          throw wrong(json, "a number from " + -Float.MAX_VALUE + " to " + Float.MAX_VALUE);
        }
        putInt(Float.floatToRawIntBits(value == 0 && minus(json) ? -0f : value));
      }
      case FP64 -> {
        boolean number = real(json, token);
        double value = number ? json.getDoubleValue() : word(json);
        if (number && Double.isInfinite(value)) {
          throw wrong(json, "a number from " + -Double.MAX_VALUE + " to " + Double.MAX_VALUE);
        }
        putLong(Double.doubleToRawLongBits(value == 0 && minus(json) ? -0d : value));
      }
      case BYTES -> string(json, token);
      default -> integer(json, token);
    }
  }

  private void integer(JsonParser json, JsonToken token) throws IOException, RestError {
    long value;
    if (token != JsonToken.VALUE_NUMBER_INT) {
      throw wrong(json, range());
    } else if (json.getNumberType() == NumberType.BIG_INTEGER) {
      var big = json.getBigIntegerValue();
      if (type != RestType.UINT64 || big.signum() < 0 || big.bitLength() > 64) {
        throw wrong(json, range());
      }
      value = big.longValue();
    } else {
      value = json.getLongValue();
      if (type == RestType.UINT64 ? value < 0 : value < type.least() || value > type.most()) {
        throw wrong(json, range());
      }
    }
    switch (type.width) {
      case 1 -> {
        room(1);
        bytes[length++] = (byte) value;
      }
      case 2 -> {
        room(2);
        SHORT.set(bytes, length, (short) value);
        length += 2;
      }
      case 4 -> putInt((int) value);
      default -> putLong(value);
    }
  }

  private String range() {
    return "an integer from " + type.least() + " to " + Long.toUnsignedString(type.most());
  }

  /** Whether a number stands here; false for one of the words NaN, Infinity and -Infinity. */
  private boolean real(JsonParser json, JsonToken token) throws IOException, RestError {
    if (token == JsonToken.VALUE_NUMBER_INT) {
      return true;
    }
    if (token != JsonToken.VALUE_NUMBER_FLOAT) {
      throw wrong(json, "a number");
    }
    return !json.isNaN();
  }

  /** A zero written {@code -0} is read as an integer, which has no sign. */
  private static boolean minus(JsonParser json) throws IOException {
    return json.getTextCharacters()[json.getTextOffset()] == '-';
  }

  private double word(JsonParser json) throws IOException, RestError {
    return switch (json.getText()) {
      case "NaN" -> Double.NaN;
      case "Infinity" -> Double.POSITIVE_INFINITY;
      case "-Infinity" -> Double.NEGATIVE_INFINITY;
      default -> throw wrong(json, "a number, NaN, Infinity or -Infinity");
    };
  }

  private void string(JsonParser json, JsonToken token) throws IOException, RestError {
    if (token == JsonToken.START_OBJECT || token == JsonToken.FIELD_NAME) {
      encoded(json);
      return;
    }
    if (token != JsonToken.VALUE_STRING) {
      throw wrong(json, "a string");
    }
    String text = json.getText();
    RestJson.requireText(text, "%s: element %d".formatted(where, count));
    put(text.getBytes(StandardCharsets.UTF_8));
  }

  /** {@code {"b64": "…"}}; the parser stands at its start, or at the key. */
  private void encoded(JsonParser json) throws IOException, RestError {
    boolean begun = json.currentToken() == JsonToken.FIELD_NAME;
    boolean named = ENCODED.equals(begun ? json.currentName() : json.nextFieldName());
    String text = named ? json.nextTextValue() : null;
    if (text == null || json.nextToken() != JsonToken.END_OBJECT) {
      throw wrong("an object", "a string or {\"b64\": text}");
    }
    try {
      put(Base64.getDecoder().decode(text));
    } catch (IllegalArgumentException e) {
      throw wrong("b64 that is not Base64: " + e.getMessage(), "Base64");
    }
  }

  private void put(byte[] element) throws RestError {
    putInt(element.length);
    room(element.length);
    System.arraycopy(element, 0, bytes, length, element.length);
    length += element.length;
  }

  private void putInt(int value) throws RestError {
    room(4);
    INT.set(bytes, length, value);
    length += 4;
  }

  private void putLong(long value) throws RestError {
    room(8);
    LONG.set(bytes, length, value);
    length += 8;
  }

  private void room(int more) throws RestError {
    if (more <= bytes.length - length) {
      return;
    }
    if (more > mostBytes - length) {
      throw new RestError(
          413, "%s: 'data' takes more than %d bytes, the limit".formatted(where, mostBytes));
    }
    long doubled = Math.max(2L * bytes.length, (long) length + more);
    bytes = Arrays.copyOf(bytes, (int) Math.min(mostBytes, doubled));
  }

  private RestError wrong(JsonParser json, String expected) throws IOException {
    JsonToken token = json.currentToken();
    if (token == null) {
      return RestError.bad("the body is not JSON: it ends inside " + where);
    }
    String text =
        token.isScalarValue()
            ? json.getText()
            : token == JsonToken.START_OBJECT ? "an object" : token.name();
    String found = text.length() <= 60 ? text : text.substring(0, 60) + "…";
    return wrong(token == JsonToken.VALUE_STRING ? '"' + found + '"' : found, expected);
  }

  private RestError wrong(String found, String expected) {
    return RestError.bad(
        "%s: element %d of 'data' is %s, expected %s".formatted(where, count, found, expected));
  }
}
