package orlop.registry;

import org.jspecify.annotations.Nullable;

/** The store refused a write or did not answer in time; the message names it and the remedy. */
public final class RegistryException extends Exception {
  private static final long serialVersionUID = 1L;

  public RegistryException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
