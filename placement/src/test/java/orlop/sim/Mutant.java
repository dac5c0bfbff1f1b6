package orlop.sim;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.StringWriter;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/** The production core with one line changed, in a class loader that hides the original. */
final class Mutant extends ClassLoader {
  private static final Path SOURCES = Path.of("src", "main", "java");

  private final Map<String, byte[]> mutated;

  private Mutant(Map<String, byte[]> mutated) {
    super(Mutant.class.getClassLoader());
    this.mutated = mutated;
  }

  /** The class's source, in which the line stands exactly once. */
  static String source(String type, String line) throws IOException {
    Path file = SOURCES.resolve(type.replace('.', '/') + ".java");
    assertTrue(
        Files.exists(file),
        () -> file + " is gone: say in DESIGN.md where the line now is: " + line);
    String source = Files.readString(file).replaceAll("\\s+", " ");
    int at = source.indexOf(line);
    assertTrue(
        at >= 0 && source.indexOf(line, at + 1) < 0,
        () ->
            "%s must hold exactly once the line that DESIGN.md names: %s (white space apart)"
                .formatted(file, line));
    return Files.readString(file);
  }

  static Mutant of(String type, String line, String instead) throws IOException {
    String regex = pattern(line);
    String source = source(type, line).replaceFirst(regex, Matcher.quoteReplacement(instead));
    return new Mutant(compile(type, source));
  }

  /** The line, whatever its white space. */
  private static String pattern(String line) {
    StringBuilder regex = new StringBuilder();
    for (String word : line.split(" ", -1)) {
      regex.append(regex.isEmpty() ? "" : "\\s+").append(Pattern.quote(word));
    }
    return regex.toString();
  }

  private static Map<String, byte[]> compile(String type, String source) throws IOException {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    Map<String, ByteArrayOutputStream> outputs = new HashMap<>();
    StringWriter errors = new StringWriter();
    try (JavaFileManager files =
        new ForwardingJavaFileManager<>(compiler.getStandardFileManager(null, null, null)) {
          @Override
          public JavaFileObject getJavaFileForOutput(
              Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
            return new SimpleJavaFileObject(URI.create("mem:///" + name), kind) {
              @Override
              public OutputStream openOutputStream() {
                return outputs.computeIfAbsent(name, n -> new ByteArrayOutputStream());
              }
            };
          }
        }) {
      JavaFileObject file =
          new SimpleJavaFileObject(
              URI.create("mem:///" + type.replace('.', '/') + ".java"),
              JavaFileObject.Kind.SOURCE) {
            @Override
            public CharSequence getCharContent(boolean ignoreErrors) {
              return source;
            }
          };
      List<String> flags =
          List.of("-proc:none", "-nowarn", "-cp", System.getProperty("java.class.path"));
      boolean compiles = compiler.getTask(errors, files, null, flags, null, List.of(file)).call();
      assertTrue(compiles, () -> "a mutant of " + type + " does not compile:\n" + errors);
    }
    Map<String, byte[]> classes = new HashMap<>();
    outputs.forEach((name, bytes) -> classes.put(name, bytes.toByteArray()));
    return classes;
  }

  /** From a seed to what went wrong with it. */
  @SuppressWarnings("unchecked")
  LongFunction<String> simulation() {
    try {
      var constructor = loadClass(MutantRun.class.getName()).getDeclaredConstructor();
      constructor.setAccessible(true);
      return (LongFunction<String>) constructor.newInstance();
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }

  @Override
  protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
    if (!name.startsWith("orlop.placement.") && !name.startsWith("orlop.sim.")) {
      return super.loadClass(name, resolve);
    }
    synchronized (getClassLoadingLock(name)) {
      Class<?> known = findLoadedClass(name);
      if (known != null) {
        return known;
      }
      byte[] bytes = bytes(name);
      return defineClass(name, bytes, 0, bytes.length);
    }
  }

  private byte[] bytes(String name) throws ClassNotFoundException {
    byte[] changed = mutated.get(name);
    if (changed != null) {
      return changed;
    }
    try (InputStream in = getResourceAsStream(name.replace('.', '/') + ".class")) {
      if (in == null) {
        throw new ClassNotFoundException(name);
      }
      return in.readAllBytes();
    } catch (IOException e) {
      throw new ClassNotFoundException(name, e);
    }
  }
}
