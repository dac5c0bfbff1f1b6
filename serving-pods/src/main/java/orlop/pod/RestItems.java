package orlop.pod;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.StringTokenizer;

/**
 * Texts, token ids or numbers of OpenAI's interface, as rows for a tensor. Pure.
 *
 * @param items in the order of the request
 */
record RestItems(RestType type, List<Item> items) {
  /** What one request may bring, as at OpenAI. */
  private static final int MAX_ITEMS = 2_048;

  /**
   * One row.
   *
   * @param raw its elements in V2's raw form
   * @param elements how many they are
   * @param tokens what it counts as: ids or numbers, of a text its words
   * @param text empty when it is none
   */
  record Item(ByteString raw, int elements, int tokens, String text) {}

  /** Reads a field that holds one item or an array of items. */
  static RestItems read(RestFields fields, String key, RestType type, int mostBytes)
      throws RestError {
    if (!type.inJson() || type == RestType.BOOL) {
      throw RestError.bad("the model takes " + type + ", which cannot be given here");
    }
    List<Item> items = new ArrayList<>();
    try (JsonParser json = fields.at(key)) {
      if (json.currentToken() != JsonToken.START_ARRAY) {
        items.add(text(json, key, type, mostBytes));
        return new RestItems(type, items);
      }
      JsonToken first = json.nextToken();
      if (first != null && first.isNumeric()) {
        return new RestItems(type, List.of(flat(fields, key, type, mostBytes)));
      }
      for (JsonToken token = first; token != JsonToken.END_ARRAY; token = json.nextToken()) {
        if (items.size() == MAX_ITEMS) {
          throw RestError.bad("'" + key + "' has more than " + MAX_ITEMS + " items");
        }
        items.add(
            token == JsonToken.START_ARRAY
                ? numbers(json, key, type, mostBytes)
                : text(json, key, type, mostBytes));
      }
    } catch (IOException e) {
      throw RestJson.notJson(e);
    }
    if (items.isEmpty()) {
      throw RestError.bad("'" + key + "' is empty");
    }
    return new RestItems(type, items);
  }

  /** The whole array is one row. */
  private static Item flat(RestFields fields, String key, RestType type, int mostBytes)
      throws IOException, RestError {
    try (JsonParser json = fields.at(key)) {
      return numbers(json, key, type, mostBytes);
    }
  }

  private static Item numbers(JsonParser json, String key, RestType type, int mostBytes)
      throws IOException, RestError {
    if (type == RestType.BYTES) {
      throw RestError.bad("'" + key + "' holds numbers, the model takes text");
    }
    RestElements elements = new RestElements(type, "'" + key + "'", mostBytes);
    elements.array(json);
    if (elements.sizes().length != 1 || elements.count() == 0) {
      throw RestError.bad("'" + key + "' must hold arrays of numbers, none of them empty");
    }
    int count = Math.toIntExact(elements.count());
    return new Item(elements.raw(), count, count, "");
  }

  private static Item text(JsonParser json, String key, RestType type, int mostBytes)
      throws IOException, RestError {
    String text = null;
    if (json.currentToken() == JsonToken.START_OBJECT) {
      // A document may come as {"text": "…"}.
      for (String field = json.nextFieldName(); field != null; field = json.nextFieldName()) {
        if (json.nextToken() == JsonToken.VALUE_STRING && field.equals("text")) {
          text = json.getText();
        } else {
          json.skipChildren();
        }
      }
    } else if (json.currentToken() == JsonToken.VALUE_STRING) {
      text = json.getText();
    }
    if (text == null) {
      throw RestError.bad("'" + key + "' must hold texts or arrays of numbers");
    }
    if (type != RestType.BYTES) {
      throw RestError.bad(
          "'" + key + "' holds text, the model takes " + type + ": send token ids or numbers");
    }
    RestJson.requireText(text, "'" + key + "'");
    ByteString utf8 = ByteString.copyFromUtf8(text);
    if (utf8.size() > mostBytes - 4) {
      throw new RestError(413, "'" + key + "' takes more than " + mostBytes + " bytes, the limit");
    }
    return new Item(framed(utf8), 1, new StringTokenizer(text).countTokens(), text);
  }

  private static ByteString framed(ByteString element) {
    int n = element.size();
    byte[] length = {(byte) n, (byte) (n >> 8), (byte) (n >> 16), (byte) (n >> 24)};
    return ByteString.copyFrom(length).concat(element);
  }
}
