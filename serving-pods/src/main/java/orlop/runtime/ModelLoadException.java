package orlop.runtime;

import org.jspecify.annotations.Nullable;

/** A model could not be loaded. The message names model, path and cause. */
public final class ModelLoadException extends Exception {
  private static final long serialVersionUID = 1L;

  /** Why, in the terms that decide what to do next. */
  public enum Reason {
    /** The file is not a model that this runtime can run. Permanent: a retry fails alike. */
    BAD_MODEL,
    /** No file at the path, or none that is a model. */
    NOT_FOUND,
    /** The model is sound, but there was no memory for it now, here. */
    OUT_OF_MEMORY,
    /** Anything else: unreadable disk, engine or device trouble. A retry may help. */
    INTERNAL
  }

  private final Reason reason;

  public ModelLoadException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }
}
