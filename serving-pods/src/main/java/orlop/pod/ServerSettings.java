package orlop.pod;

import inference.LogSettingsRequest;
import inference.LogSettingsResponse;
import inference.TraceSettingRequest;
import inference.TraceSettingResponse;
import io.grpc.Status;
import io.grpc.StatusException;
import java.lang.System.Logger.Level;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Triton's log and trace settings. The level of the log is a setting with effect; traces are not
 * written, so of their settings only "off" is accepted. Thread-safe.
 */
final class ServerSettings {
  private static final Map<String, List<String>> TRACE =
      Map.of(
          "trace_file", List.of(""),
          "trace_level", List.of("OFF"),
          "trace_rate", List.of("1000"),
          "trace_count", List.of("-1"),
          "log_frequency", List.of("0"),
          "trace_mode", List.of("triton"));

  private final LogLevel log;

  ServerSettings(LogLevel log) {
    this.log = log;
  }

  // ---- traces

  TraceSettingResponse trace(TraceSettingRequest request) throws StatusException {
    for (var setting : request.getSettingsMap().entrySet()) {
      List<String> standing = TRACE.get(setting.getKey());
      if (standing == null) {
        throw refuse(
            "trace setting '%s' is unknown, expected one of %s",
            setting.getKey(), new TreeMap<>(TRACE).keySet());
      }
      List<String> asked = setting.getValue().getValueList();
      if (setting.getKey().equals("trace_level") && !asked.isEmpty() && !asked.equals(standing)) {
        throw Status.UNIMPLEMENTED
            .withDescription(
                "trace_level "
                    + asked
                    + " is not served, expected [OFF]: pods pass traceparent headers on and write no"
                    + " traces")
            .asException();
      }
    }
    TraceSettingResponse.Builder told = TraceSettingResponse.newBuilder();
    TRACE.forEach(
        (key, value) ->
            told.putSettings(
                key, TraceSettingResponse.SettingValue.newBuilder().addAllValue(value).build()));
    return told.build();
  }

  // ---- log

  /** What is to be logged, as Triton has it: one switch for each level. */
  private record Shown(boolean info, boolean warning, boolean error, int verbose) {
    static Shown of(Level level) {
      int least = level.getSeverity();
      return new Shown(
          least <= Level.INFO.getSeverity(),
          least <= Level.WARNING.getSeverity(),
          least <= Level.ERROR.getSeverity(),
          least <= Level.TRACE.getSeverity() ? 2 : least <= Level.DEBUG.getSeverity() ? 1 : 0);
    }

    /** The levels are ordered here: with one, all that are graver. */
    Level level() {
      if (verbose > 0) {
        return verbose > 1 ? Level.TRACE : Level.DEBUG;
      }
      return info ? Level.INFO : warning ? Level.WARNING : error ? Level.ERROR : Level.OFF;
    }
  }

  /** Changes what the request names and tells what holds then. */
  synchronized LogSettingsResponse log(LogSettingsRequest request) throws StatusException {
    Shown shown = Shown.of(log.get());
    for (var setting : request.getSettingsMap().entrySet()) {
      LogSettingsRequest.SettingValue value = setting.getValue();
      shown =
          switch (setting.getKey()) {
            case "log_info" ->
                new Shown(flag(setting.getKey(), value), shown.warning, shown.error, shown.verbose);
            case "log_warning" -> {
              boolean on = flag(setting.getKey(), value);
              yield new Shown(on && shown.info, on, shown.error, shown.verbose);
            }
            case "log_error" -> {
              boolean on = flag(setting.getKey(), value);
              yield new Shown(on && shown.info, on && shown.warning, on, shown.verbose);
            }
            case "log_verbose_level" ->
                new Shown(shown.info, shown.warning, shown.error, verbose(value));
            case "log_format" -> requireStanding(shown, setting.getKey(), value, "default");
            case "log_file" -> requireStanding(shown, setting.getKey(), value, "");
            default -> throw refuse("log setting '%s' is unknown", setting.getKey(), null);
          };
    }
    if (request.getSettingsCount() > 0) {
      log.set(shown.level());
    }
    return told(Shown.of(log.get()));
  }

  private static boolean flag(String key, LogSettingsRequest.SettingValue value)
      throws StatusException {
    if (!value.hasBoolParam()) {
      throw refuse("log setting '%s' is %s, expected a bool_param", key, value);
    }
    return value.getBoolParam();
  }

  private static int verbose(LogSettingsRequest.SettingValue value) throws StatusException {
    if (!value.hasUint32Param()) {
      throw refuse("log setting '%s' is %s, expected a uint32_param", "log_verbose_level", value);
    }
    return Math.min(2, Math.max(0, value.getUint32Param()));
  }

  /** Where and how lines are written is the process's own business. */
  private static Shown requireStanding(
      Shown shown, String key, LogSettingsRequest.SettingValue value, String standing)
      throws StatusException {
    if (!value.getStringParam().equals(standing)) {
      throw refuse(
          "log setting '%s' cannot be changed over the network, it is '" + standing + "', got %s",
          key,
          value.getStringParam());
    }
    return shown;
  }

  private static LogSettingsResponse told(Shown shown) {
    LogSettingsResponse.Builder told = LogSettingsResponse.newBuilder();
    told.putSettings("log_file", text(""));
    told.putSettings("log_format", text("default"));
    told.putSettings("log_info", flag(shown.info));
    told.putSettings("log_warning", flag(shown.warning));
    told.putSettings("log_error", flag(shown.error));
    told.putSettings(
        "log_verbose_level",
        LogSettingsResponse.SettingValue.newBuilder().setUint32Param(shown.verbose).build());
    return told.build();
  }

  private static LogSettingsResponse.SettingValue flag(boolean on) {
    return LogSettingsResponse.SettingValue.newBuilder().setBoolParam(on).build();
  }

  private static LogSettingsResponse.SettingValue text(String value) {
    return LogSettingsResponse.SettingValue.newBuilder().setStringParam(value).build();
  }

  private static StatusException refuse(String format, String key, @Nullable Object got) {
    return Status.INVALID_ARGUMENT.withDescription(format.formatted(key, got)).asException();
  }
}
