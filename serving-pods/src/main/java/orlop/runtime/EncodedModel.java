package orlop.runtime;

import java.util.List;

/**
 * A model that also runs requests as they lie encoded in native memory, without an object for each
 * tensor. It takes those in the plain form of {@link EncodedRequest} only; what it does not admit,
 * whatever the reason, is run or refused by {@link LoadedModel#infer}, which answers admitted
 * requests with the very same bytes.
 */
public interface EncodedModel extends LoadedModel {
  /**
   * Checks a request against what the model takes, and ties it to the model.
   *
   * @return false to send it the other way
   */
  boolean admits(EncodedRequest request);

  /** Whether the model says that its tensors are rows, any number of them. */
  boolean takesRows();

  /**
   * Runs the calls on the calling thread; several of them as one, their rows in one tensor.
   *
   * @param calls of requests that {@link EncodedRequest#joins join} each other
   * @return false when the model did not answer with as many rows as it was given, and nothing has
   *     been written; never for a single call
   * @throws InferenceException when the run failed, for all of them; nothing has been written
   */
  boolean infer(List<? extends EncodedCall> calls, Workspace workspace, Cancellation cancellation)
      throws InferenceException;
}
