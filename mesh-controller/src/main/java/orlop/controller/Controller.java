package orlop.controller;

import io.netty.handler.ssl.SslContext;
import java.io.IOException;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Planner;
import orlop.placement.PodsWanted;
import orlop.registry.Registry;

/** A candidate for leading the mesh: one planning loop over one registry. */
public final class Controller implements AutoCloseable {
  private final PodCalls pods;
  private final PlanningLoop loop;
  private final @Nullable ControllerMetrics metrics;

  private Controller(PodCalls pods, PlanningLoop loop, @Nullable ControllerMetrics metrics) {
    this.pods = pods;
    this.loop = loop;
    this.metrics = metrics;
  }

  /**
   * Starts campaigning, and planning whenever elected.
   *
   * @param clockMs milliseconds since the epoch
   * @throws IOException when the metrics port cannot be opened; the message names it
   */
  public static Controller start(
      ControllerConfig config, Registry registry, Planner planner, LongSupplier clockMs)
      throws IOException {
    return start(config, registry, planner, clockMs, null);
  }

  /**
   * As the other.
   *
   * @param tls what pods are called with; null: in the clear
   */
  public static Controller start(
      ControllerConfig config,
      Registry registry,
      Planner planner,
      LongSupplier clockMs,
      @Nullable SslContext tls)
      throws IOException {
    AtomicReference<@Nullable PlanningLoop> planning = new AtomicReference<>();
    // The port first: what cannot show itself does not begin to campaign.
    ControllerMetrics metrics =
        config.metricsPort() == 0
            ? null
            : ControllerMetrics.open(config.metricsPort(), planning::get);
    PodCalls pods = new PodCalls(config, tls);
    PlanningLoop loop = new PlanningLoop(config, registry, planner, pods, clockMs);
    planning.set(loop);
    return new Controller(pods, loop, metrics);
  }

  /** Whether this candidate is the one that plans. */
  public boolean leading() {
    return loop.leading();
  }

  /** How many pods the mesh should have; null while another candidate leads. */
  public @Nullable PodsWanted podsWanted() {
    return loop.podsWanted();
  }

  @Override
  public void close() {
    if (metrics != null) {
      metrics.close();
    }
    loop.close();
    pods.close();
  }
}
