package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** A value of ModelMesh's registry: JSON in which a field with its default is left out. */
sealed interface ModelMeshRecord {
  /** What a model without a type is to ModelMesh. */
  String DEFAULT_TYPE = "NLCLASSIFIER";

  /**
   * @param path empty when it has none
   * @param key empty when it has none
   * @param autoDelete goes with the last vmodel that refers to it
   * @param lastUsedMs 0 when it was never written down
   */
  record Model(String id, String type, String path, String key, boolean autoDelete, long lastUsedMs)
      implements ModelMeshRecord {}

  /** A vmodel; {@code target} equals {@code active} unless it was moving. */
  record VModel(String id, String owner, String active, String target) implements ModelMeshRecord {}

  /** The value is not what it should be; the message says why. */
  final class Unreadable extends Exception {
    private static final long serialVersionUID = 1;

    Unreadable(String message) {
      super(message);
    }
  }

  /** A value under {@code registry/}. */
  static Model model(String id, byte[] value) throws Unreadable {
    JsonNode json = object(id, value);
    String type = text(json, "type");
    long lastUsedMs = json.path("lu").asLong(0);
    return new Model(
        id,
        type.isEmpty() ? DEFAULT_TYPE : type,
        text(json, "mPath"),
        text(json, "encKey"),
        flag(json, "autoDel"),
        Math.max(0, lastUsedMs));
  }

  /** A value under {@code vmodels/}. */
  static VModel vmodel(String id, byte[] value) throws Unreadable {
    JsonNode json = object(id, value);
    String active = text(json, "amid");
    String target = text(json, "tmid");
    if (active.isEmpty() && target.isEmpty()) {
      throw new Unreadable("names neither an active model (amid) nor a target (tmid)");
    }
    return new VModel(
        id,
        text(json, "o"),
        active.isEmpty() ? target : active,
        target.isEmpty() ? active : target);
  }

  private static JsonNode object(String id, byte[] value) throws Unreadable {
    if (id.isEmpty() || id.length() > 512) {
      throw new Unreadable("the name has " + id.length() + " characters, allowed are 1 to 512");
    }
    if (value.length == 0) {
      throw new Unreadable("the value is empty");
    }
    JsonNode json;
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(value)).toString();
      json = Json.MAPPER.readTree(text);
    } catch (CharacterCodingException e) {
      throw new Unreadable("the value is not UTF-8");
    } catch (JsonProcessingException e) {
      throw new Unreadable("not valid JSON: " + ErrorLine.flat(e.getOriginalMessage()));
    } catch (IOException e) {
      throw new Unreadable("cannot be read: " + ErrorLine.flat(e.getMessage()));
    }
    if (json == null || !json.isObject()) {
      throw new Unreadable("not a JSON object");
    }
    return json;
  }

  private static String text(JsonNode json, String field) throws Unreadable {
    JsonNode value = json.path(field);
    if (value.isMissingNode() || value.isNull()) {
      return "";
    }
    if (!value.isTextual()) {
      throw new Unreadable("field '" + field + "' is " + value + ", expected text");
    }
    return value.textValue();
  }

  private static boolean flag(JsonNode json, String field) throws Unreadable {
    JsonNode value = json.path(field);
    if (!value.isMissingNode() && !value.isBoolean()) {
      throw new Unreadable("field '" + field + "' is " + value + ", expected true or false");
    }
    return value.asBoolean(false);
  }

  /** The parser; an interface cannot keep it to itself. */
  final class Json {
    private static final JsonMapper MAPPER =
        JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    private Json() {}
  }
}
