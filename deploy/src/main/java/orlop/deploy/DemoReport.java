package orlop.deploy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What the demo tells: steps as they happen, figures, and checks that held or did not. Used by the
 * demo's own thread alone.
 */
final class DemoReport {
  private final PrintWriter out;
  private final long startNs;
  private final Map<String, Object> figures = new LinkedHashMap<>();
  private final List<Check> checks = new ArrayList<>();

  private record Check(String what, boolean held) {}

  DemoReport(PrintWriter out, long startNs) {
    this.out = out;
    this.startNs = startNs;
  }

  void step(int number, String title) {
    out.println();
    out.println("[%5.1f s] %d. %s".formatted(seconds(), number, title));
    out.flush();
  }

  void say(String text, Object... args) {
    out.println("            " + text.formatted(args));
    out.flush();
  }

  /** One figure of the JSON line. */
  void figure(String name, Object value) {
    figures.put(name, value instanceof Double d ? Math.round(d * 1e4) / 1e4 : value);
  }

  void check(boolean held, String what, Object... args) {
    String text = what.formatted(args);
    checks.add(new Check(text, held));
    say("%s %s", held ? "ok   " : "FAIL ", text);
  }

  boolean allHeld() {
    return checks.stream().allMatch(Check::held);
  }

  /** All figures in two columns, then what did not hold. */
  void summary() {
    figures.forEach((name, value) -> out.println("            %-22s %s".formatted(name, value)));
    long failed = checks.stream().filter(check -> !check.held()).count();
    say("%d checks, %d did not hold", checks.size(), failed);
    checks.stream()
        .filter(check -> !check.held())
        .forEach(check -> say("  FAIL  %s", check.what()));
    out.flush();
  }

  void json() {
    try {
      out.println(new ObjectMapper().writeValueAsString(figures));
      out.flush();
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  private double seconds() {
    return (System.nanoTime() - startNs) / 1e9;
  }

  static String ms(double value) {
    return String.format(Locale.ROOT, "%.2f ms", value);
  }
}
