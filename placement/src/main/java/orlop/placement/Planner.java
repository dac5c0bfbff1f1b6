package orlop.placement;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Compares how many copies there are with how many there should be, and says the next steps.
 *
 * <p><b>Goals</b>, highest first: aliases that move arrive; models keep their minimum of copies;
 * models in use that lost their copies with a pod, or are about to, stand elsewhere; busy models
 * that were evicted come back; models called steadily have a second copy, and more as calls grow or
 * queue; free memory holds what was used lately; copies that nobody needs go, and so do models that
 * nobody used for very long, where that is asked for. Within a goal the busiest come first, in a
 * trim the least busy.
 *
 * <p><b>Constraints</b>: at most {@link Config#maxChanges} changes a step, and none but aliases and
 * minima add to a pod's queue of loads beyond a few; further copies and what comes back early take
 * free memory alone and wait while a pod hands over; an evicted model displaces only what has gone
 * cold, a lost one what was unused for {@link #GAPS} of its own gaps between calls, or a copy that
 * has others, and minimum copies anything, unless the mesh has no memory for all minima; a trim
 * never leaves fewer loaded copies than should be; a draining pod's copies do not count, and are
 * left alone.
 *
 * <p><b>Algorithm</b>: one scan ({@link Survey}) sorts the models by need; then each need in turn
 * is placed on a draft of the view in which the earlier placements already stand. The same view,
 * demand, recall and time give the same plan, and each change may be repeated: carried out, it no
 * longer appears.
 *
 * <p>Pure and thread-safe. O(models + copies + changes × pods).
 */
public final class Planner {
  /**
   * @param maxChanges most changes in one step
   * @param steadyMs over how long a model must have been called again and again to get a second
   *     copy
   * @param hotMs a model without copies is in demand when called within this time; a model unused
   *     for longer is cold
   * @param hotCallsPerMinute and at least this often
   * @param callsPerCopyPerMinute calls that one copy shall bear before there is another
   * @param trimAfterMs a surplus copy goes when fewer sufficed for this long
   * @param keepFreePercent part of a pod that further copies leave free
   * @param queuedMs calls that wait longer for a compute thread, on average, need a further copy;
   *     0: waiting does not count
   * @param recentMs what was used within this time is kept when its pod goes, comes back into free
   *     memory, and keeps its second copy
   * @param idleUnloadMs models that nobody used for this long are unloaded; 0: never
   */
  public record Config(
      int maxChanges,
      long steadyMs,
      long hotMs,
      double hotCallsPerMinute,
      double callsPerCopyPerMinute,
      long trimAfterMs,
      int keepFreePercent,
      long queuedMs,
      long recentMs,
      long idleUnloadMs) {

    public Config {
      if (maxChanges < 1) {
        throw new IllegalArgumentException(
            "planner: maxChanges is " + maxChanges + ", must be at least 1");
      }
      if (steadyMs < 1_000) {
        throw new IllegalArgumentException(
            "planner: steadyMs is " + steadyMs + ", must be at least 1000");
      }
      if (queuedMs < 0 || recentMs < 0) {
        throw new IllegalArgumentException(
            "planner: queuedMs %d and recentMs %d must not be negative"
                .formatted(queuedMs, recentMs));
      }
      if (idleUnloadMs != 0 && idleUnloadMs < 60_000) {
        throw new IllegalArgumentException(
            "planner: idleUnloadMs is " + idleUnloadMs + ", must be 0 or at least 60000");
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

    /** What an operator set for the mesh goes before; what makes no sense there does not count. */
    double callsPerCopyPerMinute(Map<String, String> settings) {
      String set = settings.get(CALLS_PER_COPY);
      try {
        double calls = set == null ? 0 : Double.parseDouble(set);
        return calls >= LEAST_CALLS_PER_COPY ? calls : callsPerCopyPerMinute;
      } catch (NumberFormatException e) {
        return callsPerCopyPerMinute;
      }
    }

    /** A second copy after 20 s of steady use, another for each 2000 calls per minute. */
    public static Config defaults() {
      return new Config(64, 20_000, 300_000, 1, 2_000, 600_000, 10, 100, 3_600_000, 0);
    }
  }

  /** The setting of the mesh that stands for {@link Config#callsPerCopyPerMinute}. */
  public static final String CALLS_PER_COPY = "scaleup_rpm_threshold";

  /** The least that it may say. */
  public static final int LEAST_CALLS_PER_COPY = 10;

  /** A lost model displaces what was unused for as long as it would have been called so often. */
  private static final int GAPS = 10;

  private final Config config;
  private final Placer placer;

  public Planner(Config config, Placer placer) {
    this.config = config;
    this.placer = placer;
  }

  /** How far back a demand must reach for this planner to tell what is unused. */
  public long memoryMs() {
    return Math.max(config.idleUnloadMs(), Math.max(config.recentMs(), config.trimAfterMs()));
  }

  /** Most changes in one step; a step that has as many may have left some. */
  public int maxChanges() {
    return config.maxChanges();
  }

  /** The changes of a planner that knows nothing of the time before. */
  public List<Change> plan(MeshView view, Demand demand, long nowMs) {
    return plan(view, demand, Recall.since(0), nowMs).changes();
  }

  /**
   * One step.
   *
   * @param recall what the last step handed out; {@link Recall#since} for the first
   * @param nowMs milliseconds since the epoch
   */
  public Plan plan(MeshView registered, Demand demand, Recall recall, long nowMs) {
    MeshView view = withoutSilent(registered, demand.silent());
    PlanDraft draft = new PlanDraft(view, placer, config, nowMs);
    AliasMoves moves = AliasMoves.plan(view, draft);
    Survey survey = new Survey(view, demand, recall, moves, config, nowMs);
    keepMinimum(draft, survey);
    rehome(draft, survey);
    bringBack(draft, survey);
    if (!survey.handingOver()) {
      // What is handed over needs the free memory, and the loaders, more.
      addCopies(draft, survey);
      prewarm(draft, survey);
    }
    clear(draft, survey);
    trim(draft, survey);
    unloadIdle(draft, survey);
    return new Plan(draft.changes(), survey.podsWanted(), survey.recall());
  }

  /**
   * The view without the pods that cannot be reached, which finds a death before the lease does;
   * all of it when that would be half of the pods or more: then it is we who cannot be reached.
   */
  private static MeshView withoutSilent(MeshView view, Set<String> silent) {
    List<Delta> gone = new ArrayList<>();
    for (String podId : silent) {
      if (view.pod(podId) != null) {
        gone.add(new Delta.PodRemoved(podId));
      }
    }
    return gone.isEmpty() || 2 * gone.size() >= view.pods().size()
        ? view
        : view.with(gone, view.revision());
  }

  private static List<Need> busiest(PlanDraft draft, List<Need> needs) {
    draft.nextGoal();
    needs.sort(Need.BUSIEST_FIRST);
    return needs;
  }

  private void keepMinimum(PlanDraft draft, Survey survey) {
    // More than fits would displace one another with every plan.
    PlanDraft.Room room = survey.minimaFit() ? PlanDraft.Room.ANY : cold();
    for (Need need : busiest(draft, survey.minimum)) {
      int missing = need.model().floor() - need.count().live();
      for (int i = 0; i < missing && draft.open(); i++) {
        draft.load(
            need.model(),
            room,
            "%d of at least %d copies".formatted(need.count().live() + i, need.model().floor()));
      }
    }
  }

  private PlanDraft.Room cold() {
    return PlanDraft.Room.unusedFor(config.hotMs());
  }

  private void rehome(PlanDraft draft, Survey survey) {
    survey.spare.sort(Need.BUSIEST_FIRST.reversed());
    for (Need need : busiest(draft, survey.homeless)) {
      if (!draft.open()) {
        return;
      }
      long unusedMs = (long) Math.min(config.hotMs(), GAPS * need.gapMs());
      String why =
          (need.count().leaving() > 0 ? "its pod drains, " : "its pod is gone, ") + need.why();
      if (placed(draft.load(need.model(), PlanDraft.Room.FREE, why))
          || swapped(draft, survey, need, 1, why)
          || placed(draft.load(need.model(), PlanDraft.Room.FITTING, why))
          || swapped(draft, survey, need, 2, why)
          || placed(draft.load(need.model(), PlanDraft.Room.unusedFor(unusedMs), why))) {
        survey.tried(need);
      }
    }
  }

  /** An only copy is worth more than a spare one, however little it is called. */
  private boolean swapped(PlanDraft draft, Survey survey, Need need, int rounds, String why) {
    List<Need> spares = survey.spare;
    for (int i = 0; i < Math.min(spares.size(), config.maxChanges()); i++) {
      if (draft.swap(need.model(), spares.get(i), rounds, why)) {
        survey.trimmed(spares.remove(i).model().id());
        return true;
      }
    }
    return false;
  }

  private static boolean placed(Placement placement) {
    return placement instanceof Placement.Chosen;
  }

  private void bringBack(PlanDraft draft, Survey survey) {
    for (Need need : busiest(draft, survey.gone)) {
      if (!draft.open() || !draft.anyPodFor(cold())) {
        return;
      }
      if (placed(draft.load(need.model(), cold(), "no copy, " + need.why()))) {
        survey.tried(need);
      }
    }
  }

  private void addCopies(PlanDraft draft, Survey survey) {
    for (Need need : busiest(draft, survey.busy)) {
      if (!draft.open() || !draft.anyPodFor(PlanDraft.Room.FREE)) {
        return;
      }
      draft.load(
          need.model(),
          PlanDraft.Room.FREE,
          "%d of %d copies for %s".formatted(need.count().live(), need.wanted(), need.why()));
    }
  }

  /** A new pod, or any that has memory to spare, takes what was used lately and is not loaded. */
  private void prewarm(PlanDraft draft, Survey survey) {
    for (Need need : busiest(draft, survey.lukewarm)) {
      if (!draft.open() || !draft.anyPodFor(PlanDraft.Room.FREE)) {
        return;
      }
      long agoS = (draft.nowMs() - need.lastUsedMs()) / 1000;
      String why = "free memory, used %d s ago".formatted(agoS);
      if (placed(draft.load(need.model(), PlanDraft.Room.FREE, why))) {
        survey.tried(need);
      }
    }
  }

  /** Where the rules for labels changed, copies go that could not be loaded there any more. */
  private void clear(PlanDraft draft, Survey survey) {
    draft.nextGoal();
    for (Need need : survey.misplaced) {
      if (!draft.open()) {
        return;
      }
      draft.unloadMisplaced(need.model(), "its pod lacks a label that it now requires");
    }
  }

  private void trim(PlanDraft draft, Survey survey) {
    draft.nextGoal();
    survey.surplus.sort(Need.BUSIEST_FIRST.reversed());
    for (Need need : survey.surplus) {
      if (!draft.open()) {
        return;
      }
      int loaded = need.count().loaded();
      if (draft.count(need.model().id()).loaded() < loaded) {
        // A copy of it already makes room for a lost model.
        continue;
      }
      int most = need.model().maxCopies();
      draft.unload(
          need.model(),
          most > 0 && loaded > most
              ? "%d copies of at most %d".formatted(loaded, most)
              : "%d copies, %d suffice for %s".formatted(loaded, need.keep(), need.why()));
      survey.trimmed(need.model().id());
    }
  }

  private void unloadIdle(PlanDraft draft, Survey survey) {
    draft.nextGoal();
    survey.idle.sort(Need.BUSIEST_FIRST.reversed());
    for (Need need : survey.idle) {
      if (!draft.open()) {
        return;
      }
      draft.unload(need.model(), "nobody used it for %d s".formatted(config.idleUnloadMs() / 1000));
    }
  }
}
