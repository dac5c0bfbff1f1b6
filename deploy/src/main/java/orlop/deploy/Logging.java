package orlop.deploy;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import java.util.logging.LogManager;
import org.slf4j.LoggerFactory;
import org.slf4j.bridge.SLF4JBridgeHandler;
import orlop.pod.LogLevel;

/**
 * Where log lines go: all of them ({@code System.Logger}, slf4j, java.util.logging) through Logback
 * to stderr, one line an event. Ours from WARN, the libraries' from ERROR; verbose: ours from INFO,
 * the libraries' from WARN, and with stack traces.
 */
final class Logging {
  private Logging() {}

  /** Call once, before the first logger is made: {@code logback.xml} reads what this sets. */
  static void start(boolean verbose) {
    if (verbose) {
      System.setProperty("orlop.log.ours", "INFO");
      System.setProperty("orlop.log.foreign", "WARN");
      System.setProperty("orlop.log.exceptions", "%ex");
    }
    LogManager.getLogManager().reset();
    SLF4JBridgeHandler.removeHandlersForRootLogger();
    SLF4JBridgeHandler.install();
    // Configured here by one thread: slf4j complains when two threads make the first logger.
    LoggerFactory.getILoggerFactory();
  }

  /** From which level on our own lines are written, for those who change it while we run. */
  static LogLevel level() {
    return new LogLevel() {
      @Override
      public System.Logger.Level get() {
        if (!(LoggerFactory.getLogger("orlop") instanceof Logger ours)) {
          return System.Logger.Level.OFF;
        }
        return switch (ours.getEffectiveLevel().toInt()) {
          case Level.ERROR_INT -> System.Logger.Level.ERROR;
          case Level.WARN_INT -> System.Logger.Level.WARNING;
          case Level.INFO_INT -> System.Logger.Level.INFO;
          case Level.DEBUG_INT -> System.Logger.Level.DEBUG;
          case Level.OFF_INT -> System.Logger.Level.OFF;
          default -> System.Logger.Level.TRACE;
        };
      }

      @Override
      public void set(System.Logger.Level level) {
        if (LoggerFactory.getLogger("orlop") instanceof Logger ours) {
          ours.setLevel(
              switch (level) {
                case OFF -> Level.OFF;
                case ERROR -> Level.ERROR;
                case WARNING -> Level.WARN;
                case INFO -> Level.INFO;
                case DEBUG -> Level.DEBUG;
                case TRACE, ALL -> Level.TRACE;
              });
        }
      }
    };
  }
}
