package orlop.sim;

/**
 * A promise of the mesh that a simulation saw broken; the message ends with how to see it again.
 */
public final class Violation extends RuntimeException {
  private static final long serialVersionUID = 1;

  Violation(String broken, Options options, long atMs) {
    super(
        "%s, %d.%03d s into the run%nreproduce: %s"
            .formatted(broken, atMs / 1000, atMs % 1000, options.command()));
  }
}
