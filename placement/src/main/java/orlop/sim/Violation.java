package orlop.sim;

/**
 * A promise of the mesh that a simulation saw broken; the message ends with how to see it again.
 */
public final class Violation extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final String promise;

  /**
   * @param promise the kind of violation: its text before names and numbers were filled in
   * @param broken the text
   */
  Violation(String promise, String broken, Options options, long atMs) {
    super(
        "%s, %d.%03d s into the run%nreproduce: %s"
            .formatted(broken, atMs / 1000, atMs % 1000, options.command()));
    this.promise = promise;
  }

  /** The same violation, seen in a smaller simulation. */
  Violation(Violation smaller, String before) {
    super("%s%nfirst seen by: %s".formatted(smaller.getMessage(), before), smaller);
    this.promise = smaller.promise;
  }

  /** What kind of promise was broken; two violations of one kind have equal texts. */
  public String promise() {
    return promise;
  }
}
