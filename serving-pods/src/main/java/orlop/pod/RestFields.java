package orlop.pod;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/**
 * The top-level values of a JSON object, found in one pass and read when they are asked for, so
 * that a large one is never held as a tree. The bytes must not change meanwhile.
 */
final class RestFields {
  private final byte[] body;
  private final Map<String, Integer> at = new HashMap<>();

  /** Values that do not stand alone as JSON: whole numbers, true and false. */
  private final Map<String, Object> scalars = new HashMap<>();

  RestFields(byte[] body) throws RestError {
    this.body = body;
    try (JsonParser json = RestJson.parser(body, 0, body.length)) {
      if (json.nextToken() != JsonToken.START_OBJECT) {
        throw RestError.bad("the body must be a JSON object");
      }
      for (String key = json.nextFieldName(); key != null; key = json.nextFieldName()) {
        boolean isNull = json.nextToken() == JsonToken.VALUE_NULL;
        long offset = json.currentTokenLocation().getByteOffset();
        if (json.currentToken() == JsonToken.VALUE_NUMBER_INT
            && json.getNumberType() == JsonParser.NumberType.INT) {
          scalars.put(key, json.getIntValue());
        } else if (json.currentToken().isBoolean()) {
          scalars.put(key, json.getBooleanValue());
        }
        json.skipChildren();
        if (!isNull && at.put(key, (int) offset) != null) {
          throw RestError.bad("the request: '" + key + "' stands twice");
        }
      }
      if (json.currentToken() != JsonToken.END_OBJECT || json.nextToken() != null) {
        throw RestError.bad("the body is not JSON: something follows the object");
      }
    } catch (IOException e) {
      throw RestJson.notJson(e);
    }
  }

  boolean has(String key) {
    return at.containsKey(key);
  }

  /** Stands at the value's first token; the caller closes it. */
  JsonParser at(String key) throws IOException, RestError {
    Integer offset = at.get(key);
    if (offset == null) {
      throw RestError.bad("'" + key + "' is missing");
    }
    JsonParser json = RestJson.parser(body, offset, body.length - offset);
    json.nextToken();
    return json;
  }

  String text(String key, String absent) throws RestError {
    if (!has(key)) {
      return absent;
    }
    try (JsonParser json = at(key)) {
      return RestReader.text(json, key, "the request");
    } catch (IOException e) {
      throw RestJson.notJson(e);
    }
  }

  int positive(String key, int absent) throws RestError {
    if (!has(key)) {
      return absent;
    }
    if (!(scalars.get(key) instanceof Integer value) || value < 1) {
      throw RestError.bad("'" + key + "' must be an integer from 1");
    }
    return value;
  }

  boolean flag(String key, boolean absent) throws RestError {
    if (!has(key)) {
      return absent;
    }
    if (!(scalars.get(key) instanceof Boolean value)) {
      throw RestError.bad("'" + key + "' must be true or false");
    }
    return value;
  }
}
