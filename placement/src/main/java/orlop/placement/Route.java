package orlop.placement;

/** The answer to <i>where is it?</i> */
public sealed interface Route {
  /** This pod holds the model. */
  record Here() implements Route {}

  /** That pod holds the model, or is loading it and the call may join the load. */
  record There(Pod pod) implements Route {}

  /** No pod holds it: this one, possibly this very pod, shall load it and serve the call. */
  record Load(Pod pod) implements Route {}

  /** Nobody can serve the call now. */
  record Reject(Cause cause, String detail) implements Route {}

  /** Why a call is rejected. */
  enum Cause {
    /** No such model or alias. */
    UNKNOWN_MODEL,
    /** A forwarded call reached a pod that does not hold the model and should not load it. */
    NOT_HERE,
    /** Every pod that could load it failed to, and none may try again yet. */
    LOAD_FAILED,
    /** No pod has, or may make, room. */
    NO_ROOM,
    /** {@link Attempt#MAX_TRIED} pods were tried. */
    EXHAUSTED
  }
}
