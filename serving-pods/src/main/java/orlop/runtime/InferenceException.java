package orlop.runtime;

import org.jspecify.annotations.Nullable;

/** An inference was refused or failed. The message names model, tensor, expected and actual. */
public final class InferenceException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What went wrong; most names are those of the gRPC statuses that they become. */
  public enum Code {
    /** The request does not fit the model. */
    INVALID_ARGUMENT,
    /** There was no memory for the run. */
    RESOURCE_EXHAUSTED,
    /** The result is larger than an answer can be; RESOURCE_EXHAUSTED, however often it is run. */
    TOO_LARGE,
    /** The caller's {@link Cancellation} ended the run. */
    CANCELLED,
    /** The engine failed, or the model is closed. */
    INTERNAL
  }

  private final Code code;

  public InferenceException(Code code, String message) {
    this(code, message, null);
  }

  public InferenceException(Code code, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.code = code;
  }

  public Code code() {
    return code;
  }
}
