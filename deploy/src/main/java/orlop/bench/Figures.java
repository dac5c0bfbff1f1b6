package orlop.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The figures of one benchmark, in the order in which they were given. Not thread-safe. */
final class Figures {
  private record Figure(String name, double value, String goal, boolean met) {}

  private final List<Figure> figures = new ArrayList<>();

  /** A figure that is reported without a goal. */
  Figures add(String name, double value) {
    figures.add(new Figure(name, value, "", true));
    return this;
  }

  /** A figure that should be at least {@code goal}. */
  Figures atLeast(String name, double value, double goal) {
    figures.add(new Figure(name, value, "at least " + number(goal), value >= goal));
    return this;
  }

  /** A figure that should be at most {@code goal}. */
  Figures atMost(String name, double value, double goal) {
    figures.add(new Figure(name, value, "at most " + number(goal), value <= goal));
    return this;
  }

  boolean allMet() {
    return figures.stream().allMatch(Figure::met);
  }

  /** One line for each figure: name, value, goal, and whether it is missed. */
  String table() {
    StringBuilder text = new StringBuilder(String.format("%n"));
    for (Figure figure : figures) {
      text.append(
          String.format(
                  Locale.ROOT,
                  "  %-28s %12s  %-18s%s",
                  figure.name,
                  number(figure.value),
                  figure.goal,
                  figure.met ? "" : "missed")
              .stripTrailing());
      text.append(System.lineSeparator());
    }
    return text.toString();
  }

  /** One JSON object, one member for each figure. */
  String json() {
    ObjectNode object = new ObjectMapper().createObjectNode();
    for (Figure figure : figures) {
      if (figure.value == Math.rint(figure.value) && Math.abs(figure.value) < 1e15) {
        object.put(figure.name, (long) figure.value);
      } else {
        object.put(figure.name, Double.parseDouble(number(figure.value)));
      }
    }
    return object.toString();
  }

  /** Four significant digits are more than any of these benchmarks can tell apart. */
  private static String number(double value) {
    if (value == Math.rint(value) && Math.abs(value) < 1e15) {
      return Long.toString((long) value);
    }
    return Double.isFinite(value)
        ? new BigDecimal(value).round(new MathContext(4)).toPlainString()
        : Double.toString(value);
  }
}
