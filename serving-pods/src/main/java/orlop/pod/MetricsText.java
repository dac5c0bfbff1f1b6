package orlop.pod;

import java.nio.charset.StandardCharsets;

/**
 * Metrics in Prometheus' text format 0.0.4. Names are the caller's own to the letter: dashboards
 * made for ModelMesh know counters without {@code _total} and gauges with it. Not thread-safe.
 */
final class MetricsText {
  private final StringBuilder out = new StringBuilder(16_384);

  /** Begins a metric, of which samples follow. */
  MetricsText family(String name, String type, String help) {
    out.append("# HELP ").append(name).append(' ').append(help).append('\n');
    out.append("# TYPE ").append(name).append(' ').append(type).append('\n');
    return this;
  }

  /**
   * @param labels names and values in turn
   */
  void sample(String name, double value, String... labels) {
    out.append(name);
    if (labels.length > 0) {
      out.append('{');
      labels(labels);
      out.append('}');
    }
    out.append(' ').append(number(value)).append('\n');
  }

  void bucket(String name, String bound, long count, String... labels) {
    out.append(name).append("_bucket{");
    labels(labels);
    out.append(labels.length == 0 ? "le=\"" : ",le=\"").append(bound).append("\"} ");
    out.append(count).append('\n');
  }

  private void labels(String[] labels) {
    for (int i = 0; i < labels.length; i += 2) {
      out.append(i == 0 ? "" : ",").append(labels[i]).append("=\"");
      escape(labels[i + 1]);
      out.append('"');
    }
  }

  private void escape(String value) {
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      switch (c) {
        case '\\' -> out.append("\\\\");
        case '"' -> out.append("\\\"");
        case '\n' -> out.append("\\n");
        default -> out.append(c);
      }
    }
  }

  static String number(double value) {
    return value == Math.rint(value) && Math.abs(value) < 1e15
        ? Long.toString((long) value)
        : Double.toString(value);
  }

  byte[] bytes() {
    return out.toString().getBytes(StandardCharsets.UTF_8);
  }
}
