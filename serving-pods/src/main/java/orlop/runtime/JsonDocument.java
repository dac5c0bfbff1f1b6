package orlop.runtime;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.exc.StreamReadException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** A model in JSON, with the NaN and Infinity that XGBoost may write. */
final class JsonDocument extends ModelDocument {
  private static final JsonFactory FACTORY =
      new JsonFactoryBuilder()
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .streamReadConstraints(
              StreamReadConstraints.builder().maxNestingDepth(2 * MAX_DEPTH).build())
          .build();

  private final JsonParser parser;

  JsonDocument(Path file) throws IOException {
    super(file);
    this.parser = FACTORY.createParser(Files.newInputStream(file));
  }

  @Override
  void object(Field field) throws IOException {
    expect(next(), JsonToken.START_OBJECT, "an object");
    for (JsonToken token = next(); token != JsonToken.END_OBJECT; token = next()) {
      expect(token, JsonToken.FIELD_NAME, "the name of a field");
      String name = parser.currentName();
      enter(name);
      field.read(name);
      leave();
    }
  }

  @Override
  void array(Element element) throws IOException {
    expect(next(), JsonToken.START_ARRAY, "an array");
    // The element reads its own first token, so that one is peeked at and handed back.
    for (int i = 0; next() != JsonToken.END_ARRAY; i++) {
      peeked = parser.currentToken();
      enter(i);
      element.read(i);
      leave();
    }
  }

  @Override
  String text() throws IOException {
    JsonToken token = next();
    if (!token.isScalarValue()) {
      throw unexpected(token, "a string or a number");
    }
    return parser.getText();
  }

  @Override
  int[] ints() throws IOException {
    expect(next(), JsonToken.START_ARRAY, "an array of whole numbers");
    int[] numbers = new int[16];
    int n = 0;
    for (JsonToken token = next(); token != JsonToken.END_ARRAY; token = next()) {
      if (n == numbers.length) {
        numbers = Arrays.copyOf(numbers, 2 * n);
      }
      numbers[n++] = whole(token, n - 1);
    }
    return Arrays.copyOf(numbers, n);
  }

  private int whole(JsonToken token, int index) throws IOException {
    return switch (token) {
      case VALUE_TRUE -> 1;
      case VALUE_FALSE -> 0;
      case VALUE_NUMBER_INT -> {
        try {
          yield parser.getIntValue();
        } catch (StreamReadException e) {
          throw malformed("element " + index + " is " + parser.getText() + ", expected 32 bits");
        }
      }
      default -> throw unexpected(token, "a whole number as element " + index);
    };
  }

  @Override
  float[] floats() throws IOException {
    expect(next(), JsonToken.START_ARRAY, "an array of numbers");
    float[] numbers = new float[16];
    int n = 0;
    for (JsonToken token = next(); token != JsonToken.END_ARRAY; token = next()) {
      if (!token.isNumeric()) {
        throw unexpected(token, "a number as element " + n);
      }
      if (n == numbers.length) {
        numbers = Arrays.copyOf(numbers, 2 * n);
      }
      numbers[n++] = parser.getFloatValue();
    }
    return Arrays.copyOf(numbers, n);
  }

  @Override
  void skip() throws IOException {
    next();
    try {
      parser.skipChildren();
    } catch (StreamReadException e) {
      throw broken(e);
    }
  }

  @Override
  public void close() throws IOException {
    parser.close();
  }

  private @Nullable JsonToken peeked;

  private JsonToken next() throws IOException {
    JsonToken token = peeked;
    peeked = null;
    if (token != null) {
      return token;
    }
    try {
      token = parser.nextToken();
    } catch (StreamReadException e) {
      throw broken(e);
    }
    if (token == null) {
      throw malformed("the file ends here");
    }
    return token;
  }

  private MalformedModelException broken(StreamReadException e) {
    return malformed(
        "no JSON at byte "
            + parser.currentLocation().getByteOffset()
            + ": "
            + e.getOriginalMessage());
  }

  private void expect(JsonToken actual, JsonToken expected, String what)
      throws MalformedModelException {
    if (actual != expected) {
      throw unexpected(actual, what);
    }
  }

  private MalformedModelException unexpected(JsonToken actual, String expected) {
    return malformed(
        actual
            + " at byte "
            + parser.currentTokenLocation().getByteOffset()
            + ", expected "
            + expected);
  }
}
