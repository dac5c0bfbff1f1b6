package orlop.runtime;

import java.io.IOException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Where a runtime keeps files that it makes of a model's own, so that the next load is faster.
 * Thread-safe. What is found was written by a runtime and has not changed since.
 */
public interface Beside {
  /** Keeps nothing. */
  Beside NOWHERE =
      new Beside() {
        @Override
        public @Nullable Made find(String name) {
          return null;
        }

        @Override
        public void keep(String name, long mostBytes, Maker maker) {}
      };

  /** What was made under that name, there until it is closed; null when nothing was. */
  @Nullable Made find(String name);

  /** Has it made, soon and on another thread, where there is room for it. */
  void keep(String name, long mostBytes, Maker maker);

  /** A file that stays until it is closed. */
  interface Made extends AutoCloseable {
    Path path();

    @Override
    void close();
  }

  /** Makes one file. */
  interface Maker {
    void make(Path file) throws IOException;
  }
}
