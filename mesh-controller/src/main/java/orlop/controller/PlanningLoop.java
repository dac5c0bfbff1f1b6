package orlop.controller;

import io.grpc.StatusRuntimeException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.Change;
import orlop.placement.MeshView;
import orlop.placement.Plan;
import orlop.placement.Planner;
import orlop.placement.Pod;
import orlop.placement.PodsWanted;
import orlop.placement.Recall;
import orlop.registry.Registry;
import orlop.registry.RegistryException;
import orlop.registry.Standing;

/**
 * Plans while this candidate leads: every interval it hands the view and the demand to the {@link
 * Planner} and carries its changes out. One planning thread; each change runs on a virtual thread
 * of its own, and a change whose twin is still running is left out, so a slow pod delays nobody and
 * the changes in flight are bounded by those of one plan for each pod.
 *
 * <p>Who is next plans along and carries nothing out, so that it knows what was used and what was
 * lost when it comes to lead. Once the leader's pod counts as gone it loads what was lost without
 * waiting for the end of the leader's lease; loads only, because they do no harm should the leader
 * be there after all, and for a minute only, because the two would undo each other's work.
 *
 * <p>Without a leader requests, misses, loads and evictions go on; only planning waits.
 */
final class PlanningLoop implements AutoCloseable {
  private static final Logger LOG = System.getLogger(PlanningLoop.class.getName());
  private static final int MAX_IN_FLIGHT = 256;

  /** How long after a pod's death full steps follow each other quickly. */
  private static final long HURRY_NS = 5_000_000_000L;

  private static final long NEXT_STEP_MS = 400;

  /** The lease of a leader that has ended does so sooner; who still leads then is there. */
  private static final long STAND_IN_MS = 60_000;

  private final ControllerConfig config;
  private final Registry registry;
  private final Planner planner;
  private final PodCalls pods;
  private final Aliases aliases;
  private final Demands demands;
  private final LongSupplier clockMs;
  private final Set<String> inFlight = ConcurrentHashMap.newKeySet();
  private final ScheduledExecutorService ticker =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("orlop-planner").factory());
  private final ExecutorService workers =
      Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("orlop-change-", 0).factory());
  private final Registry.Subscription campaign;
  private volatile Standing standing = Standing.NONE;
  private volatile long hurryUntilNs = System.nanoTime();
  private final AtomicBoolean soon = new AtomicBoolean();
  private volatile @Nullable PodsWanted podsWanted;

  /** Null while this one neither leads nor is next. Owned by the planning thread. */
  private @Nullable Recall recall;

  PlanningLoop(
      ControllerConfig config,
      Registry registry,
      Planner planner,
      PodCalls pods,
      LongSupplier clockMs) {
    this.config = config;
    this.registry = registry;
    this.planner = planner;
    this.pods = pods;
    this.clockMs = clockMs;
    this.aliases = new Aliases(registry);
    this.demands =
        new Demands(pods, config.demandIntervalMs(), planner.memoryMs(), clockMs, this::planSoon);
    this.campaign = registry.campaign(config.id(), this::stand);
    var unused =
        ticker.scheduleWithFixedDelay(
            this::tick, config.planIntervalMs(), config.planIntervalMs(), TimeUnit.MILLISECONDS);
  }

  boolean leading() {
    return standing.leads();
  }

  MeshView view() {
    return registry.view();
  }

  /** What the last plan said; null while another leads. */
  @Nullable PodsWanted podsWanted() {
    return leading() ? podsWanted : null;
  }

  private void stand(Standing now) {
    if (now.leads() != leading()) {
      LOG.log(
          Level.INFO, "controller {0} {1}", config.id(), now.leads() ? "leads" : "leads no more");
    }
    standing = now;
  }

  /** What a dead pod held shall not wait for the next interval, nor what is left after one step. */
  private void planSoon() {
    hurryUntilNs = System.nanoTime() + HURRY_NS;
    tickIn(0);
  }

  /** One step more between the regular ones, unless one is on its way. */
  private void tickIn(long ms) {
    if (!soon.compareAndSet(false, true)) {
      return;
    }
    Runnable step =
        () -> {
          soon.set(false);
          tick();
        };
    try {
      var unused = ticker.schedule(step, ms, TimeUnit.MILLISECONDS);
    } catch (RejectedExecutionException e) {
      LOG.log(Level.DEBUG, "a pod is gone, and so is this controller");
    }
  }

  private void tick() {
    try {
      MeshView view = registry.view();
      pods.retain(view);
      Standing place = standing;
      if (place.place() == Standing.Place.WAITS) {
        // Two listen; a pod that closes must not wait for those who did.
        demands.close();
        recall = null;
        return;
      }
      demands.follow(view);
      long nowMs = clockMs.getAsLong();
      Plan plan =
          planner.plan(
              view, demands.snapshot(), recall == null ? Recall.since(nowMs) : recall, nowMs);
      recall = place.leads() ? plan.recall() : plan.recall().watched();
      if (place.leads()) {
        say(plan.podsWanted());
        carryOut(plan.changes());
      } else if (standsIn(place)) {
        carryOut(plan.changes().stream().filter(Change.LoadCopy.class::isInstance).toList());
      } else {
        return;
      }
      if (plan.changes().size() >= planner.maxChanges() && hurryUntilNs - System.nanoTime() > 0) {
        // By then the loads that were just asked for are announced.
        tickIn(NEXT_STEP_MS);
      }
    } catch (RuntimeException e) {
      LOG.log(Level.ERROR, "planning failed, will try again: " + e, e);
    }
  }

  private boolean standsIn(Standing place) {
    long goneMs = demands.goneMs(place.leaderId());
    return goneMs >= 0 && goneMs < STAND_IN_MS;
  }

  private void say(PodsWanted now) {
    PodsWanted before = podsWanted;
    if (before == null || before.pods() != now.pods()) {
      LOG.log(Level.INFO, "pods wanted: {0}; {1}", String.valueOf(now.pods()), now.why());
    }
    podsWanted = now;
  }

  private void carryOut(List<Change> changes) {
    for (Change change : changes) {
      String key = key(change);
      if (inFlight.size() >= MAX_IN_FLIGHT || !inFlight.add(key)) {
        continue;
      }
      workers.execute(
          () -> {
            try {
              carryOut(change);
            } catch (StatusRuntimeException | RegistryException e) {
              LOG.log(Level.INFO, "change not carried out: {0}: {1}", change, e.getMessage());
            } finally {
              inFlight.remove(key);
            }
          });
    }
  }

  private void carryOut(Change change) throws RegistryException {
    LOG.log(Level.DEBUG, "{0}", change);
    MeshView view = registry.view();
    switch (change) {
      case Change.LoadCopy(String modelId, String podId, long lastUsedMs, String why) -> {
        Pod pod = view.pod(podId);
        if (pod != null) {
          pods.load(pod, modelId, true, lastUsedMs);
        }
      }
      case Change.UnloadCopy(String modelId, String podId, String why) -> {
        Pod pod = view.pod(podId);
        if (pod != null) {
          pods.unload(pod, modelId);
        }
      }
      case Change.PromoteAlias(String name, String target, String why) -> {
        Alias alias = view.alias(name);
        if (alias != null && alias.targetModelId().equals(target)) {
          aliases.promote(alias);
        }
      }
      case Change.FailAlias(String name, String target, String why) -> {
        Alias alias = view.alias(name);
        if (alias != null && alias.targetModelId().equals(target)) {
          aliases.fail(alias, why);
        }
      }
    }
  }

  private static String key(Change change) {
    return switch (change) {
      case Change.LoadCopy c -> "load " + c.podId() + " " + c.modelId();
      case Change.UnloadCopy c -> "unload " + c.podId() + " " + c.modelId();
      case Change.PromoteAlias c -> "alias " + c.name();
      case Change.FailAlias c -> "alias " + c.name();
    };
  }

  @Override
  public void close() {
    campaign.close();
    ticker.shutdownNow();
    workers.shutdownNow();
    demands.close();
  }
}
