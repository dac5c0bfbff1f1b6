package orlop.placement;

/** The answer to <i>where should it go?</i> */
public sealed interface Placement {
  /**
   * @param why one line: what decided, with the numbers
   */
  record Chosen(Pod pod, String why) implements Placement {}

  /**
   * @param cause {@link Route.Cause#NO_ROOM} or {@link Route.Cause#LOAD_FAILED}
   * @param why which pods were ruled out by what
   */
  record NoRoom(Route.Cause cause, String why) implements Placement {}
}
