package orlop.puller;

import org.jspecify.annotations.Nullable;
import orlop.puller.PullException.Kind;

/**
 * Where a model lies, in words for messages.
 *
 * @param location as a URI, without secrets
 * @param endpoint the server or directory that is asked
 */
record Place(String location, String endpoint) {

  PullException failure(Kind kind, String reason) {
    return failure(kind, reason, null);
  }

  PullException failure(Kind kind, String reason, @Nullable Throwable cause) {
    return new PullException(kind, false, message(reason), cause);
  }

  /** What was listed is no longer what is there: only a pull from the start can help. */
  PullException stale(Kind kind, String reason) {
    return new PullException(kind, true, message(reason), null);
  }

  private String message(String reason) {
    return "cannot pull " + location + " from " + endpoint + ": " + reason;
  }
}
