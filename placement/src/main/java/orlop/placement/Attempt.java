package orlop.placement;

import java.util.Set;

/**
 * One try to serve one call.
 *
 * @param modelId the model, never an alias
 * @param selfPodId the pod that routes
 * @param forwarded whether the call already came from another pod and may not travel on
 * @param tried pods that refused or failed this call, at most {@link #MAX_TRIED}
 * @param balanced whether the caller spreads its calls over the pods by itself
 * @param salt differs from call to call; spreads equal choices
 * @param nowMs milliseconds since the epoch
 * @param hints what is known of pods beside the view
 * @param promisedMs the wait for loads before it that a forwarded call expects here; negative when
 *     it comes whatever the wait
 */
public record Attempt(
    String modelId,
    String selfPodId,
    boolean forwarded,
    Set<String> tried,
    boolean balanced,
    long salt,
    long nowMs,
    Hints hints,
    long promisedMs) {
  /** Most pods that one call may try. */
  public static final int MAX_TRIED = 3;

  public Attempt {
    tried = Set.copyOf(tried);
  }

  /** With no more knowledge than the view's, and to be served whatever the wait. */
  public Attempt(
      String modelId,
      String selfPodId,
      boolean forwarded,
      Set<String> tried,
      boolean balanced,
      long salt,
      long nowMs) {
    this(modelId, selfPodId, forwarded, tried, balanced, salt, nowMs, Hints.NONE, -1);
  }
}
