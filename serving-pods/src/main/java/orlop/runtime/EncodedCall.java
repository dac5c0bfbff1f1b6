package orlop.runtime;

import java.nio.ByteBuffer;

/** One of the requests that {@link EncodedModel} runs, and where its answer goes. */
public interface EncodedCall {
  /** Admitted by the model that runs it. */
  EncodedRequest request();

  /** What the answer calls the model, in UTF-8. */
  byte[] modelName();

  /** What the answer says of the model's version, in UTF-8; may be empty. */
  byte[] modelVersion();

  /**
   * Memory for an answer of exactly so many bytes, which are written before the run returns. Asked
   * for before a run or after it; asked for again, the call takes the former memory back, and when
   * the run failed, what it gave last.
   *
   * @param aligned the index of the byte whose address should be a multiple of {@link
   *     Workspace#ALIGNMENT_BYTES}: then the engine may write there itself
   */
  ByteBuffer room(int bytes, int aligned);
}
