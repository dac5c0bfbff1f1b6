package orlop.pod;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import org.jspecify.annotations.Nullable;
import orlop.placement.Model;

/**
 * What a tensor model says it can do for clients of OpenAI's interface: the object {@code orlop} in
 * the JSON of its key, such as {@code {"orlop": {"task": "embedding", "output": "y"}}}.
 *
 * @param task {@code embedding} or {@code rerank}
 * @param input the tensor that takes texts, token ids or numbers; of a rerank model that reads
 *     query and document as one. Empty for its only one.
 * @param query of a rerank model, the tensor for the query; empty when it has one for both
 * @param document of a rerank model, the tensor for the document
 * @param mask a tensor to be filled with ones, as many as there are tokens; empty for none
 * @param types a tensor to be filled with zeros; empty for none
 * @param output the tensor that holds vectors or scores; empty for the first one
 * @param pooling how vectors of tokens become one: {@code mean} or {@code first}
 * @param normalize whether vectors are brought to length 1
 */
record RestTask(
    String task,
    String input,
    String query,
    String document,
    String mask,
    String types,
    String output,
    String pooling,
    boolean normalize) {
  static final String EMBEDDING = "embedding";
  static final String RERANK = "rerank";
  private static final String FIELD = "orlop";

  /** What the model declares; null when nothing, or nothing that is understood. */
  static @Nullable RestTask of(Model model) {
    if (!model.key().contains('"' + FIELD + '"')) {
      return null;
    }
    JsonNode said;
    try {
      said = RestJson.MAPPER.readTree(model.key()).path(FIELD);
    } catch (JsonProcessingException e) {
      return null;
    }
    String task = said.path("task").asText();
    if (!task.equals(EMBEDDING) && !task.equals(RERANK)) {
      return null;
    }
    return new RestTask(
        task,
        said.path("input").asText(""),
        said.path("query").asText(""),
        said.path("document").asText(""),
        said.path("mask").asText(""),
        said.path("types").asText(""),
        said.path("output").asText(""),
        said.path("pooling").asText("mean"),
        said.path("normalize").asBoolean(false));
  }
}
