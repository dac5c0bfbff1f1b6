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
 */
public record Attempt(
    String modelId,
    String selfPodId,
    boolean forwarded,
    Set<String> tried,
    boolean balanced,
    long salt,
    long nowMs) {
  /** Most pods that one call may try. */
  public static final int MAX_TRIED = 3;

  public Attempt {
    tried = Set.copyOf(tried);
  }
}
