package orlop.bridge;

import inference.ModelInferResponse;
import io.grpc.Status;

/** What the mesh said to one call. */
sealed interface Answer {
  record Scored(ModelInferResponse response) implements Answer {}

  record Failed(Status.Code code, String message) implements Answer {}
}
