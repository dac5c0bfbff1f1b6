package orlop.pod;

import java.util.Map;

/**
 * What a pod's metrics show, and how.
 *
 * @param enabled whether there is a port for them at all; default true
 * @param https whether they are served by TLS alone; default false
 * @param perModel so many models, the most called ones, have labels of their own and the others
 *     share {@code _other}, 1 to 10,000; default 0, which has no labels for models
 * @param fullMethodNames whether {@code method} names the service, too; default false
 * @param infoName name of the metric that carries {@code info}
 * @param info labels and their values, at most 5, for a metric that is always 1
 */
public record MetricsConfig(
    boolean enabled,
    boolean https,
    int perModel,
    boolean fullMethodNames,
    String infoName,
    Map<String, String> info) {
  public static final MetricsConfig DEFAULTS =
      new MetricsConfig(true, false, 0, false, "modelmesh_info", Map.of());

  private static final int MAX_PER_MODEL = 10_000;
  private static final int MAX_INFO = 5;

  public MetricsConfig {
    if (perModel < 0 || perModel > MAX_PER_MODEL) {
      throw new IllegalArgumentException(
          "metrics perModel is " + perModel + ", allowed is 0 to " + MAX_PER_MODEL);
    }
    if (!infoName.matches("[a-zA-Z_:][a-zA-Z0-9_:]*")) {
      throw new IllegalArgumentException(
          "metrics infoName is '" + infoName + "', allowed are letters, digits, '_' and ':'");
    }
    if (info.size() > MAX_INFO) {
      throw new IllegalArgumentException(
          "metrics info has " + info.size() + " labels, allowed are at most " + MAX_INFO);
    }
    for (String label : info.keySet()) {
      if (!label.matches("[a-zA-Z_][a-zA-Z0-9_]*") || label.startsWith("__")) {
        throw new IllegalArgumentException(
            "metrics info has the label '" + label + "', allowed are letters, digits and '_'");
      }
    }
    info = Map.copyOf(info);
  }
}
