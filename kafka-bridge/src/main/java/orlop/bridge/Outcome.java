package orlop.bridge;

import io.grpc.Status;
import org.jspecify.annotations.Nullable;

/** What became of one try to score a record. */
sealed interface Outcome {

  /** An outcome that can be written to a topic. */
  sealed interface Settled extends Outcome {}

  /**
   * A result for the output topic.
   *
   * @param model the model that ran
   * @param value the record's value; null for a tombstone that passes through
   */
  record Scored(String model, byte @Nullable [] value) implements Settled {}

  /**
   * A record for the dead-letter topic.
   *
   * @param code what the mesh said; {@code OK} when it was not asked
   */
  record Rejected(Reason reason, Status.Code code, String model, String message)
      implements Settled {}

  /** A failure that may pass. */
  record Later(Status.Code code, String model, String message) implements Outcome {}

  /** Why a record could not be scored; the value of the header {@code orlop-dlq-reason}. */
  enum Reason {
    /** The value or its content type cannot be read. */
    DECODE,
    /** The tensors contradict themselves. */
    SHAPE,
    /** Neither the record, nor its message, nor the stream names a model. */
    NO_MODEL,
    /** The mesh did not know the model for the whole grace period. */
    MODEL_NOT_FOUND,
    /** The mesh knows the model and cannot load it. */
    MODEL_LOAD_FAILED,
    /** The model refuses the input. */
    INVALID_ARGUMENT,
    /** The mesh refuses the call. */
    REFUSED,
    /** A failure that may pass did not pass. */
    ATTEMPTS_EXHAUSTED,
    /** The result is larger than the output topic takes. */
    OUTPUT_TOO_LARGE
  }
}
