package orlop.pod;

import java.lang.System.Logger.Level;
import java.util.ArrayDeque;
import java.util.Deque;

/** What a start has opened so far, to be closed in reverse when the rest of it fails. */
final class Undo {
  private static final System.Logger LOG = System.getLogger(Undo.class.getName());
  private final Deque<AutoCloseable> opened = new ArrayDeque<>();

  Undo add(AutoCloseable one) {
    opened.push(one);
    return this;
  }

  void all() {
    while (!opened.isEmpty()) {
      AutoCloseable one = opened.pop();
      try {
        one.close();
      } catch (Exception e) {
        LOG.log(Level.WARNING, "could not close {0}: {1}", one, e);
      }
    }
  }
}
