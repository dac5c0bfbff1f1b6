package orlop.deploy;

/**
 * Why a command cannot go on, for the person who typed it: what is wrong, with the value, and what
 * to do about it.
 */
final class CommandException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /**
   * @param what what is wrong, naming the offending value and where it came from
   * @param remedy what the reader can do now
   */
  CommandException(String what, String remedy) {
    super(what + "; " + remedy);
  }

  CommandException(String what, String remedy, Throwable cause) {
    super(what + "; " + remedy, cause);
  }
}
