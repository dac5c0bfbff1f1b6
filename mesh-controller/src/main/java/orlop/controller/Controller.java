package orlop.controller;

import java.util.function.LongSupplier;
import orlop.placement.Planner;
import orlop.registry.Registry;

/** A candidate for leading the mesh: one planning loop over one registry. */
public final class Controller implements AutoCloseable {
  private final PodCalls pods;
  private final PlanningLoop loop;

  private Controller(PodCalls pods, PlanningLoop loop) {
    this.pods = pods;
    this.loop = loop;
  }

  /**
   * Starts campaigning, and planning whenever elected.
   *
   * @param clockMs milliseconds since the epoch
   */
  public static Controller start(
      ControllerConfig config, Registry registry, Planner planner, LongSupplier clockMs) {
    PodCalls pods = new PodCalls(config);
    return new Controller(pods, new PlanningLoop(config, registry, planner, pods, clockMs));
  }

  /** Whether this candidate is the one that plans. */
  public boolean leading() {
    return loop.leading();
  }

  @Override
  public void close() {
    loop.close();
    pods.close();
  }
}
