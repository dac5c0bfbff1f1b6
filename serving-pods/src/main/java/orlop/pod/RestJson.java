package orlop.pod;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.BigIntegerNode;
import com.fasterxml.jackson.databind.node.BinaryNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.EnumValueDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/** How the REST front reads and writes JSON: UTF-8, bounded nesting, NaN and Infinity as words. */
final class RestJson {
  private static final int MAX_NESTING = 64;

  static final ObjectMapper MAPPER =
      new ObjectMapper(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(MAX_NESTING)
                          .maxStringLength(Integer.MAX_VALUE)
                          .build())
                  // Names come from callers, so they must neither be kept nor fail by collision.
                  .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                  .disable(JsonFactory.Feature.FAIL_ON_SYMBOL_HASH_OVERFLOW)
                  .enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER)
                  .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
                  .disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private RestJson() {}

  /** The bytes of a stream without a last copy. */
  static final class Bytes extends ByteArrayOutputStream {
    Bytes(int capacity) {
      super(capacity);
    }

    ByteBuffer view() {
      return ByteBuffer.wrap(buf, 0, count);
    }
  }

  static ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  /**
   * A parser over UTF-8.
   *
   * @throws RestError when the bytes are in another encoding, which JSON does not allow
   */
  static JsonParser parser(byte[] bytes, int from, int length) throws IOException, RestError {
    boolean first = length > 0 && (bytes[from] == 0 || (bytes[from] & 0xfe) == 0xfe);
    boolean second = length > 1 && bytes[from + 1] == 0;
    if (first || second) {
      throw RestError.bad("the body is not JSON in UTF-8");
    }
    return MAPPER.getFactory().createParser(bytes, from, length);
  }

  static JsonGenerator generator(Bytes out) throws IOException {
    return MAPPER.getFactory().createGenerator(out);
  }

  /**
   * A small body as a tree.
   *
   * @throws RestError when it is no JSON object
   */
  static ObjectNode tree(byte[] body) throws RestError {
    try (JsonParser parser = parser(body, 0, body.length)) {
      JsonNode root = MAPPER.readTree(parser);
      if (!(root instanceof ObjectNode object)) {
        throw RestError.bad("the body must be a JSON object");
      }
      if (parser.nextToken() != null) {
        throw RestError.bad("the body is not JSON: something follows the object");
      }
      return object;
    } catch (IOException e) {
      throw notJson(e);
    }
  }

  static RestError notJson(IOException e) {
    String text =
        e instanceof JsonProcessingException json ? json.getOriginalMessage() : e.getMessage();
    return RestError.bad("the body is not JSON: " + text);
  }

  static RestReply reply(int status, JsonNode body) {
    try {
      return RestReply.json(status, MAPPER.writeValueAsBytes(body));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree cannot be written as JSON", e);
    }
  }

  /**
   * A message as Triton writes it: fields under their names in the protocol file, plain ones also
   * when they have their default, integers as numbers, enumerations as names.
   */
  static ObjectNode of(Message message) {
    ObjectNode json = object();
    for (FieldDescriptor field : message.getDescriptorForType().getFields()) {
      if (field.isMapField()) {
        ObjectNode map = json.putObject(field.getName());
        for (Object entry : (List<?>) message.getField(field)) {
          Message pair = (Message) entry;
          FieldDescriptor value = pair.getDescriptorForType().findFieldByNumber(2);
          map.set(
              String.valueOf(pair.getField(pair.getDescriptorForType().findFieldByNumber(1))),
              value(value, pair.getField(value)));
        }
      } else if (field.isRepeated()) {
        ArrayNode array = json.putArray(field.getName());
        ((List<?>) message.getField(field)).forEach(each -> array.add(value(field, each)));
      } else if (!field.hasPresence() || message.hasField(field)) {
        json.set(field.getName(), value(field, message.getField(field)));
      }
    }
    return json;
  }

  private static JsonNode value(FieldDescriptor field, Object value) {
    return switch (value) {
      case Message inner -> of(inner);
      case EnumValueDescriptor chosen -> TextNode.valueOf(chosen.getName());
      case ByteString bytes -> BinaryNode.valueOf(bytes.toByteArray());
      case Long number when field.getType() == FieldDescriptor.Type.UINT64 ->
          BigIntegerNode.valueOf(RestTensor.unsigned(number));
      default -> MAPPER.valueToTree(value);
    };
  }

  /** Refuses half of a surrogate pair, which UTF-8 cannot carry. */
  static String requireText(String text, String where) throws RestError {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isSurrogate(c)) {
        boolean pair =
            Character.isHighSurrogate(c)
                && i + 1 < text.length()
                && Character.isLowSurrogate(text.charAt(i + 1));
        if (!pair) {
          throw RestError.bad(where + " holds half of a surrogate pair at character " + i);
        }
        i++;
      }
    }
    return text;
  }
}
