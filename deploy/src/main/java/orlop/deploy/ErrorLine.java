package orlop.deploy;

import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Renders an error as one line: what failed and, where they add something, its causes. */
final class ErrorLine {
  private static final Pattern LINE_BREAKS = Pattern.compile("\\s*\\R\\s*");

  private ErrorLine() {}

  /**
   * {@code error: <message>: <message of the cause>…}, leaving out what an outer message says
   * already.
   */
  static String of(Throwable error) {
    var line = new StringBuilder();
    Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    for (Throwable at = error; at != null && seen.add(at); at = at.getCause()) {
      String says = says(at);
      if (!isWrapping(at) && (at.getMessage() == null || line.indexOf(flat(at.getMessage())) < 0)) {
        line.append(line.isEmpty() ? "" : ": ").append(says);
      }
      if (at instanceof CommandException) {
        break; // its message is complete by contract
      }
    }
    return "error: " + line;
  }

  /** A message without line breaks, so that it stays one line. */
  static String flat(@Nullable String message) {
    return message == null ? "" : LINE_BREAKS.matcher(message.strip()).replaceAll(" ");
  }

  /** An exception made from its cause alone repeats the cause's text as its message. */
  private static boolean isWrapping(Throwable error) {
    Throwable cause = error.getCause();
    return cause != null
        && (error.getMessage() == null || error.getMessage().equals(cause.toString()));
  }

  /**
   * Our own exceptions speak for themselves; a bare foreign message ("42", "foo.txt") needs its
   * type.
   */
  private static String says(Throwable error) {
    String message = flat(error.getMessage());
    boolean speaks =
        error instanceof IllegalArgumentException
            || error instanceof IllegalStateException
            || error.getClass().getName().startsWith("orlop.");
    String type = error.getClass().getSimpleName();
    if (message.isEmpty()) {
      return type;
    }
    return speaks && message.indexOf(' ') > 0 ? message : type + ": " + message;
  }
}
