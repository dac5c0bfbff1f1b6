package orlop.pod;

import java.lang.System.Logger.Level;
import java.util.logging.Logger;

/**
 * From which level on this process logs what happens in it, readable and settable while it runs.
 */
public interface LogLevel {
  Level get();

  void set(Level level);

  /** Of a process whose log lines go through the JDK's own logging. */
  static LogLevel ofJdk() {
    // Held on to, because the JDK forgets the level of a logger that nobody holds.
    Logger ours = Logger.getLogger("orlop");
    return new LogLevel() {
      @Override
      public Level get() {
        java.util.logging.Level level = null;
        for (Logger at = ours; at != null && level == null; at = at.getParent()) {
          level = at.getLevel();
        }
        int least = level == null ? Level.INFO.getSeverity() : level.intValue();
        for (Level known : Level.values()) {
          if (known != Level.ALL && least <= jdk(known).intValue()) {
            return known;
          }
        }
        return Level.OFF;
      }

      @Override
      public void set(Level level) {
        ours.setLevel(jdk(level));
      }
    };
  }

  private static java.util.logging.Level jdk(Level level) {
    return switch (level) {
      case ALL, TRACE -> java.util.logging.Level.FINER;
      case DEBUG -> java.util.logging.Level.FINE;
      case INFO -> java.util.logging.Level.INFO;
      case WARNING -> java.util.logging.Level.WARNING;
      case ERROR -> java.util.logging.Level.SEVERE;
      case OFF -> java.util.logging.Level.OFF;
    };
  }
}
