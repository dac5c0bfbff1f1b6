package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The REST decoder against {@link RestReference}: right and broken requests, a million of them. */
class RestFuzzTest {
  private static final int MOST_BYTES = 1 << 20;
  private static final String[] NUMBERS = {
    "0",
    "-0",
    "1",
    "-1",
    "127",
    "128",
    "-128",
    "-129",
    "255",
    "256",
    "32767",
    "32768",
    "-32769",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1.0",
    "1e2",
    "-2.5e-3",
    "1.17549435e-38",
    "3.4028235e38",
    "3.4028236e38",
    "1e39",
    "-1e400",
    "1e-400",
    "0.1",
    "16777217",
    "NaN",
    "Infinity",
    "-Infinity",
    "4.9e-324",
    "123456789012345678901234567890",
    "0.30000001192092895507812",
    "7.038531e-26"
  };
  private static final String[] STRINGS = {
    "\"\"",
    "\"a\"",
    "\"ä€😀\"",
    "\"\\n\\\"\\\\\\/\"",
    "\"\\u00e4\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\udc00x\"",
    "\"\\u0000\"",
    "\"x y z\""
  };
  private static final String[] SPLICES = {
    "",
    ",",
    "[",
    "]",
    "{",
    "}",
    "\"",
    ":",
    "null",
    "0",
    "-",
    ".",
    "e5",
    " ",
    "\n",
    "true",
    "\\",
    "\"id\":null,",
    "\"data\":[1],",
    "[]",
    "[[]]",
    "\t",
    "NaN",
    "/",
    "01",
    "\"x\":{\"y\":[1,{}]},"
  };

  private final SplittableRandom random;
  private int accepted;

  RestFuzzTest() {
    random = new SplittableRandom(20_261_120);
  }

  @Test
  void decodesAsTheReferenceDoes() throws Exception {
    run(60_000);
  }

  @Test
  @Tag("slow")
  void decodesAMillionRequestsAsTheReferenceDoes() throws Exception {
    run(1_200_000);
  }

  private void run(int inputs) throws Exception {
    for (int i = 0; i < inputs; i++) {
      ByteArrayOutputStream tail = new ByteArrayOutputStream();
      String json = request(tail);
      if (random.nextInt(3) > 0) {
        json = mutated(json);
      }
      compare(json.getBytes(StandardCharsets.UTF_8), tail.toByteArray());
    }
    assertTrue(accepted > inputs / 10, "only " + accepted + " requests were right");
    assertTrue(accepted < inputs * 9 / 10, "almost all requests were right: " + accepted);
  }

  private void compare(byte[] json, byte[] tail) throws Exception {
    byte[] body = new byte[json.length + tail.length];
    System.arraycopy(json, 0, body, 0, json.length);
    System.arraycopy(tail, 0, body, json.length, tail.length);
    boolean header = tail.length > 0 || random.nextBoolean();
    RestReference.@Nullable Request expected = null;
    String why = "";
    try {
      expected = RestReference.read(body, json.length);
    } catch (RestReference.Wrong e) {
      why = String.valueOf(e.getMessage());
    }
    try {
      RestReader.Infer found =
          RestReader.read(body, header ? Integer.toString(json.length) : null, "m", "", MOST_BYTES);
      if (expected == null) {
        fail("accepted though wrong (" + why + "): " + shown(json, tail));
      } else {
        assertSame(expected, found, shown(json, tail));
        accepted++;
      }
    } catch (RestError e) {
      assertEquals(400, e.status, shown(json, tail));
      if (expected != null) {
        fail("refused (" + e.text() + "): " + shown(json, tail));
      }
    } catch (RuntimeException e) {
      fail("crashed: " + shown(json, tail), e);
    }
  }

  private static String shown(byte[] json, byte[] tail) {
    return new String(json, StandardCharsets.UTF_8)
        + " + "
        + Base64.getEncoder().encodeToString(tail);
  }

  private static void assertSame(
      RestReference.Request expected, RestReader.Infer found, String shown) {
    var request = found.request();
    assertEquals(expected.id(), request.getId(), shown);
    assertEquals(expected.inputs().size(), request.getInputsCount(), shown);
    for (int i = 0; i < request.getInputsCount(); i++) {
      RestReference.Tensor tensor = expected.inputs().get(i);
      assertEquals(tensor.name(), request.getInputs(i).getName(), shown);
      assertEquals(tensor.datatype(), request.getInputs(i).getDatatype(), shown);
      assertEquals(tensor.shape(), request.getInputs(i).getShapeList(), shown);
      assertArrayEquals(tensor.raw(), request.getRawInputContents(i).toByteArray(), shown);
    }
    assertEquals(expected.outputs().size(), request.getOutputsCount(), shown);
    for (int i = 0; i < request.getOutputsCount(); i++) {
      assertEquals(expected.outputs().get(i).name(), request.getOutputs(i).getName(), shown);
    }
    if (request.getOutputsCount() == 1) {
      RestReference.Output output = expected.outputs().getFirst();
      assertEquals(output.binary(), found.wanted().binary(output.name()), shown);
    }
  }

  // ---- requests, mostly right

  private <T> T any(T[] from) {
    return from[random.nextInt(from.length)];
  }

  private String request(ByteArrayOutputStream tail) {
    List<String> fields = new ArrayList<>();
    StringBuilder inputs = new StringBuilder();
    for (int i = 1 + random.nextInt(2); i > 0; i--) {
      inputs.append(inputs.isEmpty() ? "" : ",").append(input(tail));
    }
    fields.add("\"inputs\":[" + inputs + "]");
    if (random.nextInt(3) == 0) {
      fields.add("\"id\":" + (random.nextInt(4) == 0 ? "null" : any(STRINGS)));
    }
    if (random.nextInt(4) == 0) {
      fields.add("\"parameters\":" + parameters("\"binary_data_output\":" + flag()));
    }
    if (random.nextInt(4) == 0) {
      String own = random.nextBoolean() ? "" : ",\"parameters\":{\"binary_data\":" + flag() + "}";
      fields.add("\"outputs\":[{\"name\":" + any(STRINGS) + own + "}]");
    }
    if (random.nextInt(6) == 0) {
      fields.add("\"other\":" + (random.nextBoolean() ? any(NUMBERS) : "[{\"a\":[]},null]"));
    }
    return object(fields);
  }

  private String flag() {
    return random.nextInt(8) == 0 ? "1" : random.nextBoolean() ? "true" : "false";
  }

  private String parameters(String first) {
    return switch (random.nextInt(5)) {
      case 0 -> "null";
      case 1 -> "{" + first + ",\"p\":" + any(NUMBERS) + "}";
      case 2 -> "{\"q\":" + any(STRINGS) + "," + first + "}";
      default -> "{" + first + "}";
    };
  }

  private String object(List<String> fields) {
    for (int i = fields.size() - 1; i > 0; i--) {
      Collections.swap(fields, i, random.nextInt(i + 1));
    }
    return "{" + String.join(random.nextBoolean() ? "," : " ,\n", fields) + "}";
  }

  private String input(ByteArrayOutputStream tail) {
    RestType type = any(RestType.values());
    int rank = random.nextInt(4);
    int[] shape = new int[rank];
    int count = 1;
    for (int i = 0; i < rank; i++) {
      shape[i] = random.nextInt(8) == 0 ? 0 : 1 + random.nextInt(3);
      count *= shape[i];
    }
    List<String> fields = new ArrayList<>();
    fields.add("\"name\":\"" + "xyz".charAt(random.nextInt(3)) + "\"");
    fields.add("\"datatype\":\"" + type + "\"");
    fields.add("\"shape\":" + java.util.Arrays.toString(shape));
    if (!type.inJson() || random.nextInt(4) == 0) {
      int size = binary(type, count, tail);
      fields.add("\"parameters\":{\"binary_data_size\":" + size + "}");
    } else {
      boolean nested = rank > 0 && random.nextBoolean();
      String data = nested ? nested(type, shape, 0) : flat(type, count);
      fields.add("\"data\":" + data);
      if (random.nextInt(8) == 0) {
        fields.add("\"parameters\":" + parameters("\"r\":true"));
      }
    }
    return object(fields);
  }

  private int binary(RestType type, int count, ByteArrayOutputStream tail) {
    int before = tail.size();
    for (int i = 0; i < count; i++) {
      int length = type == RestType.BYTES ? random.nextInt(5) : type.width;
      if (type == RestType.BYTES) {
        int said = random.nextInt(40) == 0 ? random.nextInt() : length;
        tail.writeBytes(
            new byte[] {(byte) said, (byte) (said >> 8), (byte) (said >> 16), (byte) (said >> 24)});
      }
      for (int b = 0; b < length; b++) {
        tail.write(random.nextInt(256));
      }
    }
    return tail.size() - before;
  }

  private String flat(RestType type, int count) {
    List<String> elements = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      elements.add(element(type));
    }
    return "[" + String.join(",", elements) + "]";
  }

  private String nested(RestType type, int[] shape, int dimension) {
    if (dimension == shape.length) {
      return element(type);
    }
    List<String> items = new ArrayList<>();
    for (int i = 0; i < shape[dimension]; i++) {
      items.add(nested(type, shape, dimension + 1));
    }
    return "[" + String.join(", ", items) + "]";
  }

  private String element(RestType type) {
    if (random.nextInt(60) == 0) {
      return switch (random.nextInt(3)) {
        case 0 -> any(NUMBERS);
        case 1 -> any(STRINGS);
        default -> random.nextBoolean() ? "null" : "{}";
      };
    }
    return switch (type) {
      case BOOL -> random.nextBoolean() ? "true" : "false";
      case BYTES -> STRINGS[random.nextInt(random.nextInt(8) == 0 ? STRINGS.length : 6)];
      case FP32, FP64 ->
          switch (random.nextInt(4)) {
            case 0 -> any(NUMBERS);
            case 1 -> Double.toString(Double.longBitsToDouble(random.nextLong()));
            case 2 -> Float.toString(Float.intBitsToFloat(random.nextInt()));
            default -> Double.toString(random.nextDouble(-1e6, 1e6));
          };
      default -> {
        int bits = type.width * 8 - (type.name().startsWith("I") ? 1 : 0);
        long value = random.nextLong() >>> (64 - bits);
        String text = Long.toUnsignedString(value);
        yield random.nextInt(12) == 0
            ? any(NUMBERS)
            : type.name().startsWith("I") && random.nextBoolean() ? "-" + text : text;
      }
    };
  }

  private String mutated(String json) {
    StringBuilder out = new StringBuilder(json);
    for (int i = random.nextInt(3); i >= 0 && !out.isEmpty(); i--) {
      int at = random.nextInt(out.length());
      switch (random.nextInt(5)) {
        case 0 -> out.insert(at, any(SPLICES));
        case 1 -> out.deleteCharAt(at);
        case 2 -> out.setCharAt(at, (char) random.nextInt(128));
        case 3 -> out.replace(at, Math.min(out.length(), at + 1 + random.nextInt(6)), any(SPLICES));
        default -> out.setLength(random.nextInt(6) == 0 ? at : out.length());
      }
    }
    return out.toString();
  }
}
