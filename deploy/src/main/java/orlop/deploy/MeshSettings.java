package orlop.deploy;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.slf4j.LoggerFactory;
import orlop.placement.MeshView;
import orlop.placement.Planner;
import orlop.pod.ServingPod;

/**
 * What operators set for the whole mesh while it runs, in the registry below {@code config/}: the
 * names are ModelMesh's. A setting that is deleted again gives way to the configuration of the
 * process. Called with each view, on the registry's thread.
 */
final class MeshSettings {
  private static final System.Logger LOG = System.getLogger(MeshSettings.class.getName());
  private static final String LEVEL = "logger_level";
  private static final String LOG_CALLS = "log_each_invocation";
  private static final String SEND_ID = "send_destination_id";
  private static final List<String> KNOWN =
      List.of(LEVEL, LOG_CALLS, Planner.CALLS_PER_COPY, SEND_ID);

  private final ServingPod pod;
  private final boolean logsCalls;
  private final Logger ours = (Logger) LoggerFactory.getLogger("orlop");
  private final Level level = ours.getEffectiveLevel();
  private Map<String, String> seen = Map.of();

  /**
   * @param logsCalls what the pod does where the mesh says nothing
   */
  MeshSettings(ServingPod pod, boolean logsCalls) {
    this.pod = pod;
    this.logsCalls = logsCalls;
  }

  void look(MeshView view) {
    Map<String, String> now = view.settings();
    if (now.equals(seen)) {
      return;
    }
    Set<String> changed = new HashSet<>(now.keySet());
    changed.addAll(seen.keySet());
    changed.removeIf(name -> java.util.Objects.equals(now.get(name), seen.get(name)));
    changed.forEach(name -> apply(name, now.getOrDefault(name, "")));
    seen = new HashMap<>(now);
  }

  private void apply(String name, String value) {
    LOG.log(System.Logger.Level.INFO, "the mesh sets {0} to ''{1}''", name, value);
    switch (name) {
      case LEVEL -> level(value);
      case LOG_CALLS -> pod.logCalls(value.isEmpty() ? logsCalls : Boolean.parseBoolean(value));
      case Planner.CALLS_PER_COPY -> {
        if (!value.isEmpty() && !enough(value)) {
          refused(name, value, "a number, at least " + Planner.LEAST_CALLS_PER_COPY);
        }
      }
      case SEND_ID -> refused(name, value, "nothing: calls reach the pod that they are sent to");
      default -> refused(name, value, "one of " + String.join(", ", KNOWN) + " as its name");
    }
  }

  private void level(String value) {
    Level asked = Level.toLevel(value.toUpperCase(Locale.ROOT), null);
    if (asked == null && !value.isEmpty()) {
      refused(LEVEL, value, "ERROR, WARN, INFO, DEBUG or TRACE");
    } else {
      ours.setLevel(asked == null ? level : asked);
    }
  }

  private static boolean enough(String value) {
    try {
      return Double.parseDouble(value) >= Planner.LEAST_CALLS_PER_COPY;
    } catch (NumberFormatException e) {
      return false;
    }
  }

  private static void refused(String name, String value, String expected) {
    LOG.log(
        System.Logger.Level.WARNING,
        "the mesh sets {0} to ''{1}'', which changes nothing; expected {2}",
        name,
        value,
        expected);
  }
}
