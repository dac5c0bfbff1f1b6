package orlop.deploy;

import java.util.logging.LogManager;
import org.slf4j.LoggerFactory;
import org.slf4j.bridge.SLF4JBridgeHandler;

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
}
