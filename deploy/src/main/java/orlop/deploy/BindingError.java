package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import java.util.Collection;
import java.util.List;

/** Says in words of the configuration why a value does not become a component of a record. */
final class BindingError {
  private static final int MOST_CHARS = 60;

  private BindingError() {}

  /**
   * One line without the key.
   *
   * @param node what was bound; the path leads from it to the value
   */
  static String of(
      JsonProcessingException e, JsonNode node, List<JsonMappingException.Reference> path) {
    if (e.getCause() instanceof IllegalArgumentException refused) {
      return ErrorLine.flat(refused.getMessage());
    }
    if (e.getCause() instanceof NullPointerException) {
      return "a value that has no default is missing";
    }
    if (e instanceof MismatchedInputException mismatch && mismatch.getTargetType() != null) {
      return "expected " + kind(mismatch.getTargetType()) + found(node, path);
    }
    return e.getOriginalMessage().lines().findFirst().orElse("");
  }

  private static String kind(Class<?> type) {
    if (type == int.class || type == long.class) {
      return "a whole number";
    }
    if (type == double.class) {
      return "a number";
    }
    if (type == boolean.class) {
      return "true or false";
    }
    if (Collection.class.isAssignableFrom(type)) {
      return "a list";
    }
    return type == String.class ? "text" : "a mapping";
  }

  /** The value, unless it may be a secret. */
  private static String found(JsonNode node, List<JsonMappingException.Reference> path) {
    JsonNode at = node;
    for (JsonMappingException.Reference step : path) {
      String name = step.getFieldName();
      if (name != null && name.matches("password|storages|kafkaProperties")) {
        return "";
      }
      at = name == null ? at.path(step.getIndex()) : at.path(name);
    }
    String value = ErrorLine.flat(at.toString());
    return ", found "
        + (value.length() > MOST_CHARS ? value.substring(0, MOST_CHARS) + "…" : value);
  }
}
