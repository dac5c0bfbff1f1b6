package orlop.puller;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Why a model could not be brought to local disk. The message is one line that names the location,
 * the place that was asked and the cause; it holds no secret.
 */
public final class PullException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What the caller can do about it. */
  public enum Kind {
    /** The store answered, and nothing is there. */
    NOT_FOUND,
    /** The store, or the file system, refuses these credentials. */
    FORBIDDEN,
    /** The location or the storage it names cannot be right; trying again cannot help. */
    BAD_LOCATION,
    /** The model fits neither the cache beside what is in use, nor the disk. */
    NO_SPACE,
    /** The store is away, slow or changing; a later try may succeed. */
    TRANSIENT,
    /** The bytes that arrived are not the bytes that the store promised. */
    CORRUPT
  }

  /** Which kind of failure. */
  private final Kind kind;

  /** Whether the listing is out of date, so that only a pull from the start can help. */
  private final boolean stale;

  PullException(Kind kind, boolean stale, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.kind = kind;
    this.stale = stale;
  }

  /** A failure that has no store behind it: the location itself is wrong. */
  static PullException badLocation(String location, String reason) {
    return new PullException(
        Kind.BAD_LOCATION, false, "cannot pull '" + location + "': " + reason, null);
  }

  /** One line: the location, the place that was asked, the cause. */
  @Override
  public String getMessage() {
    return Objects.requireNonNull(super.getMessage());
  }

  /** Which kind of failure. */
  public Kind kind() {
    return kind;
  }

  boolean stale() {
    return stale;
  }

  boolean worthAnotherTry() {
    return kind == Kind.TRANSIENT && !stale;
  }
}
