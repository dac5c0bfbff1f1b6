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
   * Memory for an answer of exactly so many bytes, which are written before the run returns. Called
   * at most once, and only when the run has succeeded.
   */
  ByteBuffer room(int bytes);
}
