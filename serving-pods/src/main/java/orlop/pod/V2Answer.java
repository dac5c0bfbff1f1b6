package orlop.pod;

import inference.InferParameter;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import java.util.Map;
import java.util.Set;

/** What every V2 answer says of itself, whatever runtime gave it. Pure. */
final class V2Answer {
  /** Parameters that direct the server, and tell the caller nothing when they come back. */
  private static final Set<String> DIRECTIONS =
      Set.of(
          "sequence_id",
          "sequence_start",
          "sequence_end",
          "priority",
          "timeout",
          "binary_data_output",
          "triton_enable_empty_final_response",
          "triton_final_response");

  private V2Answer() {}

  /** With the caller's names, version and id, and the request's parameters beside the answer's. */
  static ModelInferResponse of(ModelInferResponse response, ModelInferRequest request, Named to) {
    ModelInferResponse.Builder told =
        response.toBuilder()
            .setModelName(to.asked())
            .setModelVersion(Named.VERSION)
            .setId(request.getId());
    if (request.getParametersCount() > 0) {
      for (Map.Entry<String, InferParameter> parameter : request.getParametersMap().entrySet()) {
        String name = parameter.getKey();
        if (!DIRECTIONS.contains(name) && !response.containsParameters(name)) {
          told.putParameters(name, parameter.getValue());
        }
      }
    }
    return told.build();
  }
}
