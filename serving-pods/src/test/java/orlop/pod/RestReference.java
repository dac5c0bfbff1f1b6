package orlop.pod;

import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A second reader of V2 requests, slow and plain: a tree first, then the protocol's rules one by
 * one. It says only whether a request is right and what its tensors hold.
 */
final class RestReference {
  private static final Set<String> NUMBERS_AS_WORDS = Set.of("NaN", "Infinity", "-Infinity");

  /** The request does not follow the rules. */
  static final class Wrong extends Exception {
    private static final long serialVersionUID = 1L;

    Wrong(String why) {
      super(why, null, false, false);
    }
  }

  record Tensor(String name, String datatype, List<Long> shape, byte[] raw) {}

  record Output(String name, boolean binary) {}

  record Request(String id, List<Tensor> inputs, List<Output> outputs) {}

  // ---- the tree: Num, String, Boolean, List, Obj, or NULL

  private static final Object NULL = new Object();

  private record Num(String text) {
    boolean isInteger() {
      return text.matches("-?[0-9]+");
    }
  }

  private record Obj(List<String> keys, List<Object> values) {
    @Nullable Object last(String key) {
      int at = keys.lastIndexOf(key);
      return at < 0 ? null : values.get(at);
    }

    void atMostOnce(String... names) throws Wrong {
      for (String name : names) {
        if (keys.indexOf(name) != keys.lastIndexOf(name)) {
          throw new Wrong(name + " twice");
        }
      }
    }
  }

  private final String text;
  private int at;
  private int depth;

  private RestReference(String text) {
    this.text = text;
  }

  private static Object parse(String text) throws Wrong {
    RestReference reader = new RestReference(text);
    Object value = reader.value();
    reader.blank();
    if (reader.at != text.length()) {
      throw new Wrong("more text");
    }
    return value;
  }

  private void blank() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private char peek() throws Wrong {
    blank();
    if (at >= text.length()) {
      throw new Wrong("it ends");
    }
    return text.charAt(at);
  }

  private void expect(char c) throws Wrong {
    if (peek() != c) {
      throw new Wrong("no " + c);
    }
    at++;
  }

  private Object value() throws Wrong {
    char c = peek();
    if (c == '{' || c == '[') {
      if (++depth > 64) {
        throw new Wrong("too deep");
      }
      at++;
      Object nested = c == '{' ? object() : array();
      depth--;
      return nested;
    }
    if (c == '"') {
      return string();
    }
    int from = at;
    while (at < text.length() && "{}[],:\" \t\r\n".indexOf(text.charAt(at)) < 0) {
      at++;
    }
    String word = text.substring(from, at);
    return switch (word) {
      case "true" -> true;
      case "false" -> false;
      case "null" -> NULL;
      default -> {
        boolean number =
            word.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?")
                || NUMBERS_AS_WORDS.contains(word);
        if (!number) {
          throw new Wrong("word " + word);
        }
        yield new Num(word);
      }
    };
  }

  private Object object() throws Wrong {
    Obj object = new Obj(new ArrayList<>(), new ArrayList<>());
    if (peek() == '}') {
      at++;
      return object;
    }
    while (true) {
      if (peek() != '"') {
        throw new Wrong("no key");
      }
      object.keys.add(string());
      expect(':');
      object.values.add(value());
      if (peek() == '}') {
        at++;
        return object;
      }
      expect(',');
    }
  }

  private Object array() throws Wrong {
    List<Object> array = new ArrayList<>();
    if (peek() == ']') {
      at++;
      return array;
    }
    while (true) {
      array.add(value());
      if (peek() == ']') {
        at++;
        return array;
      }
      expect(',');
    }
  }

  private String string() throws Wrong {
    at++;
    StringBuilder out = new StringBuilder();
    while (at < text.length()) {
      char c = text.charAt(at++);
      if (c == '"') {
        return out.toString();
      } else if (c < ' ') {
        throw new Wrong("control character");
      } else if (c != '\\') {
        out.append(c);
      } else {
        if (at >= text.length()) {
          break;
        }
        char escaped = text.charAt(at++);
        if (escaped == 'u') {
          String hex = at + 4 <= text.length() ? text.substring(at, at + 4) : "";
          if (!hex.matches("[0-9a-fA-F]{4}")) {
            throw new Wrong("bad escape");
          }
          at += 4;
          out.append((char) Integer.parseInt(hex, 16));
        } else {
          int which = "\"\\/bfnrt".indexOf(escaped);
          if (which < 0) {
            throw new Wrong("bad escape");
          }
          out.append("\"\\/\b\f\n\r\t".charAt(which));
        }
      }
    }
    throw new Wrong("open string");
  }

  // ---- the protocol

  static Request read(byte[] body, int jsonBytes) throws Wrong {
    String text;
    try {
      text =
          StandardCharsets.UTF_8
              .newDecoder()
              .decode(ByteBuffer.wrap(body, 0, jsonBytes))
              .toString();
    } catch (CharacterCodingException e) {
      throw new Wrong("not UTF-8");
    }
    Obj root = obj(parse(text));
    root.atMostOnce("id", "parameters", "inputs", "outputs");
    Object id = root.last("id");
    String idText = id == null || id == NULL ? "" : text(id);
    Obj parameters = parameters(root);
    boolean binaryByDefault = flag(parameters, "binary_data_output", false);
    List<Tensor> inputs = new ArrayList<>();
    int[] binaryAt = {jsonBytes};
    for (Object input : list(root.last("inputs"))) {
      inputs.add(tensor(obj(input), body, binaryAt));
    }
    if (inputs.isEmpty() || binaryAt[0] != body.length) {
      throw new Wrong("no inputs, or bytes left over");
    }
    List<Output> outputs = new ArrayList<>();
    Object wanted = root.last("outputs");
    for (Object output : wanted == null || wanted == NULL ? List.of() : list(wanted)) {
      Obj one = obj(output);
      one.atMostOnce("name", "parameters");
      boolean binary = flag(parameters(one), "binary_data", binaryByDefault);
      outputs.add(new Output(text(one.last("name")), binary));
    }
    return new Request(idText, inputs, outputs);
  }

  private static Tensor tensor(Obj input, byte[] body, int[] binaryAt) throws Wrong {
    input.atMostOnce("name", "datatype", "shape", "parameters", "data");
    String name = text(input.last("name"));
    String datatype = text(input.last("datatype"));
    RestType type = RestType.of(datatype);
    if (type == null) {
      throw new Wrong("datatype");
    }
    List<Long> shape = new ArrayList<>();
    BigInteger count = BigInteger.ONE;
    for (Object dimension : list(input.last("shape"))) {
      BigInteger size = integer(dimension);
      if (size.signum() < 0 || size.bitLength() > 63) {
        throw new Wrong("shape");
      }
      shape.add(size.longValue());
      count = count.multiply(size);
    }
    Object size = parameters(input).last("binary_data_size");
    Object data = input.last("data");
    boolean hasData = data != null && data != NULL;
    if (hasData == (size != null)) {
      throw new Wrong("both or none");
    }
    if (size != null) {
      byte[] raw = binary(type, count, integer(size), body, binaryAt);
      return new Tensor(name, datatype, shape, raw);
    }
    if (type == RestType.FP16 || type == RestType.BF16) {
      throw new Wrong("no JSON form");
    }
    List<Object> flat = new ArrayList<>();
    flatten(list(data), flat);
    if (!count.equals(BigInteger.valueOf(flat.size())) || !nestsAs(list(data), shape)) {
      throw new Wrong("shape and data");
    }
    ByteArrayOutputStream raw = new ByteArrayOutputStream();
    for (Object element : flat) {
      raw.writeBytes(element(type, element));
    }
    return new Tensor(name, datatype, shape, raw.toByteArray());
  }

  private static byte[] binary(
      RestType type, BigInteger count, BigInteger size, byte[] body, int[] binaryAt) throws Wrong {
    int left = body.length - binaryAt[0];
    if (size.signum() < 0 || size.compareTo(BigInteger.valueOf(left)) > 0) {
      throw new Wrong("binary size");
    }
    ByteBuffer raw = ByteBuffer.wrap(body, binaryAt[0], size.intValue());
    binaryAt[0] += size.intValue();
    byte[] bytes = new byte[size.intValue()];
    raw.duplicate().get(bytes);
    if (type != RestType.BYTES) {
      if (!count.multiply(BigInteger.valueOf(type.width)).equals(size)) {
        throw new Wrong("binary size and shape");
      }
      return bytes;
    }
    long found = 0;
    raw.order(ByteOrder.LITTLE_ENDIAN);
    while (raw.hasRemaining()) {
      int length = raw.remaining() >= 4 ? raw.getInt() : -1;
      if (length < 0 || length > raw.remaining()) {
        throw new Wrong("frame");
      }
      raw.position(raw.position() + length);
      found++;
    }
    if (!count.equals(BigInteger.valueOf(found))) {
      throw new Wrong("frames and shape");
    }
    return bytes;
  }

  private static void flatten(List<?> data, List<Object> flat) {
    for (Object item : data) {
      if (item instanceof List<?> nested) {
        flatten(nested, flat);
      } else {
        flat.add(item);
      }
    }
  }

  /** Flat, or nested just as the shape says; below an empty dimension nothing can be nested. */
  private static boolean nestsAs(List<?> data, List<Long> shape) {
    boolean flat = data.stream().noneMatch(item -> item instanceof List<?>);
    return flat || nested(data, shape);
  }

  private static boolean nested(Object data, List<Long> shape) {
    if (shape.isEmpty()) {
      return !(data instanceof List<?>);
    }
    if (!(data instanceof List<?> items) || items.size() != shape.getFirst()) {
      return false;
    }
    List<Long> rest = shape.subList(1, shape.size());
    return items.stream().allMatch(item -> nested(item, rest));
  }

  private static byte[] element(RestType type, Object element) throws Wrong {
    ByteBuffer out = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
    switch (type) {
      case BOOL -> {
        if (!(element instanceof Boolean value)) {
          throw new Wrong("boolean");
        }
        return new byte[] {(byte) (value ? 1 : 0)};
      }
      case BYTES -> {
        byte[] bytes = text(element).getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(4 + bytes.length)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putInt(bytes.length)
            .put(bytes)
            .array();
      }
      case FP32, FP64 -> {
        if (!(element instanceof Num number)) {
          throw new Wrong("number");
        }
        boolean word = NUMBERS_AS_WORDS.contains(number.text);
        double value =
            type == RestType.FP32 ? Float.parseFloat(number.text) : Double.parseDouble(number.text);
        if (Double.isInfinite(value) && !word) {
          throw new Wrong("too large");
        }
        return type == RestType.FP32
            ? java.util.Arrays.copyOf(out.putFloat((float) value).array(), 4)
            : out.putDouble(value).array();
      }
      default -> {
        BigInteger value = integer(element);
        boolean signed = type.name().startsWith("INT");
        int bits = type.width * 8;
        boolean fits =
            signed ? value.bitLength() < bits : value.signum() >= 0 && value.bitLength() <= bits;
        if (!fits) {
          throw new Wrong("range");
        }
        return java.util.Arrays.copyOf(out.putLong(value.longValue()).array(), type.width);
      }
    }
  }

  private static Obj parameters(Obj holder) throws Wrong {
    Object value = holder.last("parameters");
    if (value == null || value == NULL) {
      return new Obj(List.of(), List.of());
    }
    Obj parameters = obj(value);
    for (int i = 0; i < parameters.keys.size(); i++) {
      text(parameters.keys.get(i));
      Object one = parameters.values.get(i);
      if (one == NULL || one instanceof Obj || one instanceof List<?>) {
        throw new Wrong("parameter");
      }
      if (one instanceof String string) {
        text(string);
      }
      if (one instanceof Num number && number.isInteger()) {
        BigInteger integer = new BigInteger(number.text);
        if (integer.bitLength() > (integer.signum() < 0 ? 63 : 64)) {
          throw new Wrong("parameter");
        }
      }
      if (parameters.keys.get(i).equals("binary_data_size")
          && (integer(one).signum() < 0 || integer(one).bitLength() > 63)) {
        throw new Wrong("binary_data_size");
      }
      if (Set.of("binary_data", "binary_data_output").contains(parameters.keys.get(i))) {
        requireFlag(parameters.keys.get(i), holder, one);
      }
    }
    return parameters;
  }

  private static void requireFlag(String name, Obj holder, Object value) throws Wrong {
    // Each of the two means something in one place only.
    boolean inRequest = holder.keys.contains("inputs");
    boolean inInput = holder.keys.contains("datatype");
    boolean meant = name.equals("binary_data_output") ? inRequest : !inRequest && !inInput;
    if (meant && !(value instanceof Boolean)) {
      throw new Wrong(name);
    }
  }

  private static boolean flag(Obj parameters, String name, boolean absent) {
    return parameters.last(name) instanceof Boolean value ? value : absent;
  }

  private static BigInteger integer(@Nullable Object value) throws Wrong {
    if (!(value instanceof Num number) || !number.isInteger()) {
      throw new Wrong("integer");
    }
    return new BigInteger(number.text);
  }

  private static Obj obj(@Nullable Object value) throws Wrong {
    if (!(value instanceof Obj object)) {
      throw new Wrong("object");
    }
    return object;
  }

  private static List<?> list(@Nullable Object value) throws Wrong {
    if (!(value instanceof List<?> list)) {
      throw new Wrong("array");
    }
    return list;
  }

  private static String text(@Nullable Object value) throws Wrong {
    if (!(value instanceof String string)) {
      throw new Wrong("string");
    }
    Set<Integer> halves = new HashSet<>();
    string.codePoints().filter(c -> c >= 0xD800 && c <= 0xDFFF).forEach(halves::add);
    if (!halves.isEmpty()) {
      throw new Wrong("half a surrogate pair");
    }
    return string;
  }
}
