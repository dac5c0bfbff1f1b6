package orlop.runtime;

import java.io.IOException;
import java.nio.file.Path;

/** A file that is no model of its format. The message names file, field and what was expected. */
final class MalformedModelException extends IOException {
  private static final long serialVersionUID = 1L;

  MalformedModelException(Path file, String field, String what) {
    super(file + ": " + (field.isEmpty() ? "" : field + ": ") + what);
  }
}
