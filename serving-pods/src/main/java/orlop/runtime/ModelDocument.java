package orlop.runtime;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * A tree of objects, arrays and scalars, read once from front to back: JSON or Universal Binary
 * JSON. Each reading method consumes exactly one value. Memory is bounded by the bytes really in
 * the file, whatever lengths it claims. Owned by one thread.
 */
abstract sealed class ModelDocument implements Closeable permits JsonDocument, UbjDocument {

  /** Deeper files are refused; XGBoost nests to seven. */
  static final int MAX_DEPTH = 64;

  /** Called for each field of an object; must consume its value. */
  interface Field {
    void read(String name) throws IOException;
  }

  /** Called for each element of an array; must consume it. */
  interface Element {
    void read(int index) throws IOException;
  }

  private final Path file;
  private final Deque<String> path = new ArrayDeque<>();

  ModelDocument(Path file) {
    this.file = file;
  }

  abstract void object(Field field) throws IOException;

  abstract void array(Element element) throws IOException;

  /** A string, or a number as its text. */
  abstract String text() throws IOException;

  /** An array of whole numbers; false and true are 0 and 1. */
  abstract int[] ints() throws IOException;

  abstract float[] floats() throws IOException;

  abstract void skip() throws IOException;

  /** A whole number, also when it stands in a string. */
  final int number() throws IOException {
    String text = text();
    try {
      return Integer.parseInt(text.strip());
    } catch (NumberFormatException e) {
      throw malformed("'" + text + "', expected a whole number");
    }
  }

  /** Refuses the value that is being read. */
  final MalformedModelException malformed(String what) {
    return new MalformedModelException(file, String.join("", path).replaceFirst("^\\.", ""), what);
  }

  final void enter(String name) throws MalformedModelException {
    path.addLast("." + name);
    bounded();
  }

  final void enter(int index) throws MalformedModelException {
    path.addLast("[" + index + "]");
    bounded();
  }

  final void leave() {
    path.removeLast();
  }

  private void bounded() throws MalformedModelException {
    if (path.size() > MAX_DEPTH) {
      throw malformed("nested deeper than " + MAX_DEPTH);
    }
  }
}
