package orlop.runtime;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * One model in memory, ready to run. Thread-safe: any number of threads may infer at once.
 *
 * <p>To close it after the last inference is the caller's duty. An inference that begins after the
 * close is refused with {@link InferenceException.Code#INTERNAL}; one that is running when the
 * model is closed is allowed to finish, and the memory is given back when it has.
 */
public interface LoadedModel extends AutoCloseable {

  /** Names, datatypes and shapes of the tensors, -1 for a dimension of any size. */
  ModelMetadataResponse metadata();

  /**
   * Resident bytes of the loaded model, estimated or measured, without the working memory of
   * inferences.
   */
  long sizeBytes();

  /**
   * What {@link ModelRuntime#predictSizeBytes} says of it. Where {@link #sizeBytes} was measured
   * and is more, the model is served all the same wherever this fits: measuring is not exact.
   */
  default long predictedSizeBytes() {
    return sizeBytes();
  }

  /**
   * Runs the model on the calling thread.
   *
   * <p>The response repeats model name, version and id of the request. Inputs that came raw are
   * answered raw, typed ones typed, except that one FP16 or BF16 output makes the whole response
   * raw, because typed contents cannot carry them.
   *
   * @param cancellation lets another thread stop the run; {@link Cancellation#NEVER} when nobody
   *     will
   */
  ModelInferResponse infer(ModelInferRequest request, Cancellation cancellation)
      throws InferenceException;

  /**
   * Whether a run only computes, and never waits for anything: then it may run on a thread that
   * must not stand still, provided that it is short.
   */
  default boolean computesOnly() {
    return false;
  }

  /**
   * The same for raw inputs that lie in memory of somebody else, who keeps it until this returns
   * and may change it meanwhile. Numbers in native memory are read where they are, where the model
   * can.
   *
   * @param request without raw contents
   * @param raws the raw contents, one for each input
   */
  default ModelInferResponse infer(
      ModelInferRequest request, List<ByteBuffer> raws, Cancellation cancellation)
      throws InferenceException {
    ModelInferRequest.Builder whole = request.toBuilder();
    raws.forEach(raw -> whole.addRawInputContents(ByteString.copyFrom(raw.duplicate())));
    return infer(whole.build(), cancellation);
  }

  /** Gives the memory back. Idempotent; see the type for inferences that are running. */
  @Override
  void close();
}
