package orlop.placement;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Compares how many copies there are with how many there should be, and says the next steps.
 *
 * <p><b>Goals</b>, highest first: aliases that move arrive; models keep their minimum of copies;
 * models in demand that lost their last copy come back, the busiest first; models called steadily
 * have a second copy, and more as the calls grow; copies that nobody needs go.
 *
 * <p><b>Constraints</b>: at most {@link Config#maxChanges} changes a step; further copies take free
 * memory alone, a lost model displaces only what has gone cold, and so do minimum copies where the
 * mesh has no memory for all of them; a trim never leaves fewer loaded copies than should be; a
 * draining pod's copies do not count, and are left alone.
 *
 * <p><b>Algorithm</b>: one scan sorts the models by need; then each need in turn is placed on a
 * draft of the view in which the earlier placements already stand. The same view, demand and time
 * give the same changes, and each may be repeated: carried out, it no longer appears.
 *
 * <p>Pure and thread-safe. O(models + copies + changes × pods).
 */
public final class Planner {
  /**
   * @param maxChanges most changes in one step
   * @param steadyMs how long a model must have been called in every minute to get a second copy
   * @param hotMs a model without copies is in demand when called within this time; a model unused
   *     for longer is cold
   * @param hotCallsPerMinute and at least this often
   * @param callsPerCopyPerMinute calls that one copy shall bear before there is another
   * @param trimAfterMs a surplus copy goes when its model was unused, or too little used, for this
   *     long
   * @param keepFreePercent part of a pod that further copies leave free
   */
  public record Config(
      int maxChanges,
      long steadyMs,
      long hotMs,
      double hotCallsPerMinute,
      double callsPerCopyPerMinute,
      long trimAfterMs,
      int keepFreePercent) {

    public Config {
      if (maxChanges < 1) {
        throw new IllegalArgumentException(
            "planner: maxChanges is " + maxChanges + ", must be at least 1");
      }
      if (steadyMs < 60_000) {
        throw new IllegalArgumentException(
            "planner: steadyMs is " + steadyMs + ", must be at least 60000");
      }
      // Negated, so that what is not a number is refused too.
      if (hotMs < 0
          || !(hotCallsPerMinute >= 0)
          || !(callsPerCopyPerMinute > 0)
          || trimAfterMs < 0) {
        throw new IllegalArgumentException(
            ("planner: hotMs %d, hotCallsPerMinute %s and trimAfterMs %d must not be negative,"
                    + " callsPerCopyPerMinute %s must be positive")
                .formatted(hotMs, hotCallsPerMinute, trimAfterMs, callsPerCopyPerMinute));
      }
      if (keepFreePercent < 0 || keepFreePercent > 100) {
        throw new IllegalArgumentException(
            "planner: keepFreePercent is " + keepFreePercent + ", must be 0 to 100");
      }
    }

    /** A second copy after a minute of steady use, another for each 2000 calls per minute. */
    public static Config defaults() {
      return new Config(64, 60_000, 300_000, 1, 2_000, 600_000, 10);
    }
  }

  /** A model that needs more or fewer copies, and how much it is used. */
  private record Need(Model model, CopyCount count, int wanted, double calls, long lastUsedMs) {
    static final Comparator<Need> BUSIEST_FIRST =
        Comparator.comparingDouble((Need need) -> -need.calls)
            .thenComparingLong(need -> -need.lastUsedMs)
            .thenComparing(need -> need.model.id());
  }

  /**
   * The models of aliases under way.
   *
   * @param from what they serve: kept as it should be, but never trimmed, because as many copies of
   *     the target are awaited
   * @param to what they move to: left to the move alone
   */
  private record Moving(Set<String> from, Set<String> to) {}

  /** Share of the mesh's memory that minimum copies may claim from other models. */
  private static final double MINIMA_SHARE = 0.75;

  private final Config config;
  private final Placer placer;

  public Planner(Config config, Placer placer) {
    this.config = config;
    this.placer = placer;
  }

  public List<Change> plan(MeshView view, Demand demand, long nowMs) {
    PlanDraft draft = new PlanDraft(view, placer, config, nowMs);
    Moving moving = moveAliases(view, draft);
    List<Need> minimum = new ArrayList<>();
    List<Need> lost = new ArrayList<>();
    List<Need> busy = new ArrayList<>();
    List<Need> surplus = new ArrayList<>();
    view.eachModel(
        model -> {
          Demand.Use use = demand.uses().get(model.id());
          boolean copies = !view.copies(model.id()).isEmpty();
          if (moving.to.contains(model.id())
              || (use == null && model.minCopies() == 0 && !copies)) {
            return;
          }
          CopyCount count = CopyCount.of(view, model.id());
          double calls = use == null ? 0 : use.callsPerMinute();
          long lastUsedMs = use == null ? 0 : use.lastUsedMs();
          int floor = floor(model);
          int wanted = Math.max(floor, wanted(model, use, count, view.pods().size(), nowMs));
          Need need = new Need(model, count, wanted, calls, lastUsedMs);
          if (count.live() < floor) {
            minimum.add(need);
          } else if (count.live() < wanted) {
            (count.live() == 0 ? lost : busy).add(need);
          } else if (count.loaded() > 1
              && count.loading() == 0
              && !moving.from.contains(model.id())) {
            surplus.add(need);
          }
        });
    draft.nextGoal();
    keepMinimum(draft, minimum, minimaFit(view));
    draft.nextGoal();
    bringBack(draft, lost);
    draft.nextGoal();
    addCopies(draft, busy);
    draft.nextGoal();
    trim(draft, surplus, nowMs);
    return draft.changes();
  }

  /** The operator's minimum, whatever the demand. */
  private static int floor(Model model) {
    return model.minCopies();
  }

  /** Copies that the demand asks for. */
  private int wanted(Model model, Demand.@Nullable Use use, CopyCount count, int pods, long nowMs) {
    if (use == null) {
      return 0;
    }
    boolean hot =
        nowMs - use.lastUsedMs() <= config.hotMs()
            && use.callsPerMinute() >= config.hotCallsPerMinute();
    boolean steady =
        hot && use.steadySinceMs() > 0 && nowMs - use.steadySinceMs() >= config.steadyMs();
    int wanted = hot && count.live() == 0 ? 1 : 0;
    // A further copy only of what is known to load.
    if (steady && count.loaded() > 0) {
      int most = Math.max(2, pods / 3);
      wanted =
          Math.clamp(
              (long) Math.ceil(use.callsPerMinute() / config.callsPerCopyPerMinute()), 2, most);
    }
    return model.maxCopies() > 0 ? Math.min(wanted, model.maxCopies()) : wanted;
  }

  /** Whether the mesh has memory for all minima at once, and some to spare. */
  private static boolean minimaFit(MeshView view) {
    double room = 0;
    for (Pod pod : view.pods()) {
      room += bytes(pod.capacity(), pod.accelerated());
    }
    double[] promised = {0};
    view.eachModel(
        model -> {
          if (model.minCopies() > 0) {
            ExpectedSize size = ExpectedSize.of(view, model);
            double most = Math.max(bytes(size.plain(), false), bytes(size.accelerated(), true));
            promised[0] += model.minCopies() * most;
          }
        });
    return promised[0] <= room * MINIMA_SHARE;
  }

  private static double bytes(Memory memory, boolean accelerated) {
    return accelerated ? memory.vramBytes() : memory.ramBytes();
  }

  private void keepMinimum(PlanDraft draft, List<Need> needs, boolean fit) {
    // More than fits would displace one another with every plan.
    PlanDraft.Room room = fit ? PlanDraft.Room.ANY : PlanDraft.Room.COLD;
    needs.sort(Need.BUSIEST_FIRST);
    for (Need need : needs) {
      int missing = floor(need.model) - need.count.live();
      for (int i = 0; i < missing && draft.open(); i++) {
        draft.load(
            need.model,
            room,
            draft.nowMs(),
            "%d of at least %d copies".formatted(need.count.live() + i, need.model.minCopies()));
      }
    }
  }

  private void bringBack(PlanDraft draft, List<Need> needs) {
    needs.sort(Need.BUSIEST_FIRST);
    for (Need need : needs) {
      if (!draft.open()) {
        return;
      }
      draft.load(
          need.model,
          PlanDraft.Room.COLD,
          need.lastUsedMs,
          "no copy, %.1f calls per minute".formatted(need.calls));
    }
  }

  private void addCopies(PlanDraft draft, List<Need> needs) {
    needs.sort(Need.BUSIEST_FIRST);
    for (Need need : needs) {
      if (!draft.open()) {
        return;
      }
      draft.load(
          need.model,
          PlanDraft.Room.FREE,
          need.lastUsedMs,
          "%d of %d copies for %.1f calls per minute"
              .formatted(need.count.live(), need.wanted, need.calls));
    }
  }

  private void trim(PlanDraft draft, List<Need> needs, long nowMs) {
    needs.sort(Need.BUSIEST_FIRST.reversed());
    for (Need need : needs) {
      if (!draft.open()) {
        return;
      }
      int most = need.model.maxCopies();
      if (most > 0 && need.count.loaded() > most) {
        draft.unload(need.model, "%d copies of at most %d".formatted(need.count.loaded(), most));
        continue;
      }
      boolean unused = nowMs - need.lastUsedMs >= config.trimAfterMs();
      int keep = Math.max(need.wanted, unused ? 1 : keptWhileUsed(need));
      boolean settled = nowMs - need.count.youngestMs() >= config.trimAfterMs();
      if (settled && need.count.loaded() > keep) {
        draft.unload(
            need.model,
            "%d copies, %d suffice for %.1f calls per minute"
                .formatted(need.count.loaded(), keep, need.calls));
      }
    }
  }

  /** Half as many calls again as would add a copy, so that copies do not come and go. */
  private int keptWhileUsed(Need need) {
    return Math.max(2, (int) Math.ceil(1.5 * need.calls / config.callsPerCopyPerMinute()));
  }

  // Aliases.

  private Moving moveAliases(MeshView view, PlanDraft draft) {
    List<Alias> moving = new ArrayList<>();
    for (Alias alias : view.aliases()) {
      if (alias.moving()) {
        moving.add(alias);
      }
    }
    moving.sort(Comparator.comparing(Alias::name));
    Moving models = new Moving(new HashSet<>(), new HashSet<>());
    for (Alias alias : moving) {
      if (alias.failure().isEmpty()) {
        models.from.add(alias.activeModelId());
      }
      models.to.add(alias.targetModelId());
      if (draft.open()) {
        move(view, alias, draft);
      }
    }
    return models;
  }

  private void move(MeshView view, Alias alias, PlanDraft draft) {
    Model target = view.model(alias.targetModelId());
    if (target == null) {
      draft.fail(alias, "model '" + alias.targetModelId() + "' is not registered");
      return;
    }
    CopyCount there = draft.count(target.id());
    int asMany = Math.max(target.minCopies(), CopyCount.of(view, alias.activeModelId()).loaded());
    int wanted =
        Math.max(1, target.maxCopies() > 0 ? Math.min(asMany, target.maxCopies()) : asMany);
    if (there.loaded() >= wanted) {
      draft.promote(alias, there.loaded() + " copies are loaded");
      return;
    }
    String why =
        "alias '%s' moves to it: %d of %d copies".formatted(alias.name(), there.live(), wanted);
    if (there.live() == 0) {
      if (draft.load(target, PlanDraft.Room.ANY, draft.nowMs(), why)
              instanceof Placement.NoRoom(Route.Cause cause, String none)
          && (cause == Route.Cause.NO_ROOM || there.failedForGood())) {
        draft.fail(alias, none);
      }
      return;
    }
    int live = there.live();
    while (live < wanted
        && draft.open()
        && draft.load(target, PlanDraft.Room.FREE, draft.nowMs(), why)
            instanceof Placement.Chosen) {
      live++;
    }
    if (live == there.loaded()) {
      draft.promote(alias, "%d of %d copies are loaded, no room for more".formatted(live, wanted));
    }
  }
}
