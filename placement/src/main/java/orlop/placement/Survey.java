package orlop.placement;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One look at all models: how many copies each should have, and which have too few or too many. One
 * step's; not thread-safe. O(models + copies).
 */
final class Survey {
  /** Reports in which a model must have been called to count as used steadily. */
  private static final int BEATS = 5;

  /** Below as many calls a minute, calls that queued do so because of other models. */
  private static final double QUEUING_CALLS = 60;

  /** How long a further copy has to show its effect before there is another for queueing. */
  private static final long EFFECT_MS = 20_000;

  /** Models that may learn in one step that their calls queue; those that wait most come first. */
  private static final int LEARN_PER_STEP = 4;

  /** Part of the calls under which a copy queued that each copy shall bear from then on. */
  private static final double EASE = 0.8;

  /** Above what is needed before a copy goes: the hysteresis between adding and trimming. */
  static final double SLACK = 1.5;

  // What the goals work on.
  final List<Need> minimum = new ArrayList<>();
  final List<Need> homeless = new ArrayList<>();
  final List<Need> gone = new ArrayList<>();
  final List<Need> busy = new ArrayList<>();
  final List<Need> lukewarm = new ArrayList<>();
  final List<Need> surplus = new ArrayList<>();

  /** Models with more copies than their minimum, and two at least. */
  final List<Need> spare = new ArrayList<>();

  final List<Need> idle = new ArrayList<>();

  /** Models with copies where they may no longer be, and with enough elsewhere. */
  final List<Need> misplaced = new ArrayList<>();

  private final MeshView view;
  private final Demand demand;
  private final Recall recall;
  private final AliasMoves moves;
  private final Planner.Config config;
  private final long nowMs;
  private final int stays;
  private final double callsPerCopy;
  private final boolean podsLost;
  private final PodNeed podNeed;
  private final Map<String, Past> pasts = new HashMap<>();
  private final Map<String, Double> bears = new HashMap<>();

  Survey(
      MeshView view,
      Demand demand,
      Recall recall,
      AliasMoves moves,
      Planner.Config config,
      long nowMs) {
    this.view = view;
    this.demand = demand;
    this.recall = recall;
    this.moves = moves;
    this.config = config;
    this.nowMs = nowMs;
    this.callsPerCopy = config.callsPerCopyPerMinute(view.settings());
    this.podNeed = new PodNeed(view);
    this.podsLost = recall.podsLost(view);
    this.stays = (int) view.pods().stream().filter(pod -> !pod.draining()).count();
    learn();
    view.eachModel(this::look);
  }

  PodsWanted podsWanted() {
    return podNeed.wanted(demand);
  }

  boolean minimaFit() {
    return podNeed.minimaFit();
  }

  /** Whether a pod that drains still holds what no other pod does. */
  boolean handingOver() {
    return homeless.stream().anyMatch(need -> need.count().leaving() > 0);
  }

  void trimmed(String modelId) {
    pasts.merge(modelId, Past.NONE.trimmed(nowMs), (past, now) -> past.trimmed(nowMs));
  }

  /** A load of its first copy is planned. */
  void tried(Need need) {
    long usedMs = need.lastUsedMs();
    pasts.merge(
        need.model().id(),
        Past.NONE.tried(usedMs, nowMs),
        (past, first) -> past.tried(usedMs, nowMs));
  }

  Recall recall() {
    return recall.next(view, pasts);
  }

  /**
   * What the copies of a model bear is learnt from calls that queue: it is less than they have now.
   * From then on the calls alone decide, with the usual hysteresis, so a copy that ended the
   * queueing is not trimmed because there is none.
   */
  private void learn() {
    if (config.queuedMs() == 0) {
      return;
    }
    demand.uses().entrySet().stream()
        .filter(e -> e.getValue().queuedMs() > config.queuedMs())
        .filter(e -> e.getValue().callsPerMinute() >= QUEUING_CALLS)
        .filter(e -> settled(e.getKey()))
        .sorted(
            Comparator.comparingDouble(
                    (Map.Entry<String, Demand.Use> e) ->
                        -e.getValue().queuedMs() * e.getValue().callsPerMinute())
                .thenComparing(Map.Entry::getKey))
        .limit(LEARN_PER_STEP)
        .forEach(
            e -> {
              int loaded = CopyCount.of(view, e.getKey()).loaded();
              bears.put(e.getKey(), EASE * e.getValue().callsPerMinute() / loaded);
            });
  }

  private boolean settled(String modelId) {
    CopyCount count = CopyCount.of(view, modelId);
    return view.model(modelId) != null
        && count.loaded() > 0
        && count.loading() == 0
        && count.loaded() < stays
        && nowMs - count.youngestMs() >= EFFECT_MS;
  }

  private void look(Model model) {
    String id = model.id();
    Demand.Use use = demand.uses().get(id);
    boolean copies = !view.copies(id).isEmpty();
    if (use == null && model.floor() == 0 && !copies) {
      return;
    }
    CopyCount count = CopyCount.of(view, id);
    if (moves.to().contains(id)) {
      podNeed.add(model, Math.max(1, model.floor()));
      return;
    }
    Past past = remember(use, count, recall.news(view, id, podsLost, nowMs));
    Double learnt = bears.get(id);
    if (learnt != null && (past.bears() == 0 || learnt < past.bears())) {
      past = past.bears(learnt, nowMs);
    }
    Need need = need(model, use, count, past);
    pasts.put(id, sortIn(need, use, past));
    if (need.wanted() > 0 || used(need, config.recentMs())) {
      podNeed.add(model, Math.max(1, need.wanted()));
    }
  }

  private Past remember(Demand.@Nullable Use use, CopyCount count, Past news) {
    Past past = news.faded(nowMs, config.recentMs());
    if (use != null && steady(use)) {
      past = past.steady(nowMs);
    }
    return count.loaded() > 0 && (past.lostMs() > 0 || past.tries() > 0) ? past.stands() : past;
  }

  private boolean hot(Demand.@Nullable Use use) {
    return use != null
        && nowMs - use.lastUsedMs() <= config.hotMs()
        && use.callsPerMinute() >= config.hotCallsPerMinute();
  }

  /** Called again and again for a while: a burst of a moment is none, nor are two calls. */
  private boolean steady(Demand.Use use) {
    return hot(use)
        && use.steadySinceMs() > 0
        && use.beats() >= BEATS
        && use.lastUsedMs() - use.steadySinceMs() >= config.steadyMs();
  }

  private Need need(Model model, Demand.@Nullable Use use, CopyCount count, Past past) {
    double calls = use == null ? 0 : use.callsPerMinute();
    long lastUsedMs = use == null ? 0 : use.lastUsedMs();
    double perCopy = callsPerCopy;
    if (past.bears() > 0) {
      perCopy = Math.min(perCopy, past.bears());
    }
    int wanted = hot(use) && count.live() == 0 ? 1 : 0;
    // A further copy only of what is known to load.
    if (use != null && steady(use) && count.loaded() > 0) {
      int byCalls = (int) Math.min(stays, Math.ceil(calls / perCopy));
      wanted = Math.max(byCalls, past.crowdedOutMs() > 0 ? 1 : 2);
    }
    boolean unused = nowMs - lastUsedMs >= config.trimAfterMs();
    boolean lately = nowMs - Math.max(past.steadyMs(), recall.bornMs()) < config.recentMs();
    int keep = unused && !lately ? 1 : Math.max(2, (int) Math.ceil(SLACK * calls / perCopy));
    int most = model.maxCopies() > 0 ? model.maxCopies() : Integer.MAX_VALUE;
    wanted = Math.max(model.floor(), Math.min(wanted, most));
    keep = Math.min(Math.max(wanted, keep), most);
    String why =
        perCopy < callsPerCopy
            ? String.format(
                Locale.ROOT,
                "%.1f calls per minute, which queued at %.1f per copy",
                calls,
                perCopy / EASE)
            : String.format(Locale.ROOT, "%.1f calls per minute", calls);
    return new Need(model, count, wanted, keep, calls, lastUsedMs, why);
  }

  /** Puts the need where its goal finds it; returns what is to be remembered of the model. */
  private Past sortIn(Need need, Demand.@Nullable Use use, Past past) {
    CopyCount count = need.count();
    boolean lost = past.lostMs() > 0 || count.leaving() > 0 || count.misplaced() > 0;
    if (count.misplaced() > 0 && (count.loaded() > 0 || surelyUnused(need))) {
      misplaced.add(need);
    }
    if (count.live() < need.model().floor()) {
      minimum.add(need);
    } else if (count.live() > 0) {
      if (count.live() < need.wanted()) {
        busy.add(need);
      }
    } else if (!past.givenUp(need.lastUsedMs(), nowMs)) {
      firstCopy(need, lost, use != null);
    }
    boolean unload = idleForLong(need);
    if (unload) {
      idle.add(need);
    }
    if (count.loaded() <= 1) {
      return past.enough(0);
    }
    if (count.loaded() > need.model().floor() && !moves.from().contains(need.model().id())) {
      spare.add(need);
    }
    boolean queues = use != null && use.queuedMs() > config.queuedMs() / 4.0;
    boolean enough = count.loaded() > need.keep() && !(queues && need.keep() > 1);
    Past next = past;
    if (!enough) {
      next = past.enough(0);
    } else if (past.enoughMs() == 0) {
      // Not seen with several copies before: they suffice since the youngest came.
      long sinceMs = Math.max(recall.bornMs(), count.youngestMs());
      next = past.enough(recall.knew(need.model().id()) ? nowMs : sinceMs);
    }
    if (count.loading() == 0 && !moves.from().contains(need.model().id())) {
      boolean tooMany = need.model().maxCopies() > 0 && count.loaded() > need.model().maxCopies();
      boolean settled = nowMs - count.youngestMs() >= config.trimAfterMs();
      boolean patient = enough && nowMs - next.enoughMs() >= config.trimAfterMs();
      if (!unload && (tooMany || (settled && patient))) {
        surplus.add(need);
      }
    }
    return next;
  }

  /** A planner that is new has not heard of all that is used. */
  private boolean surelyUnused(Need need) {
    return nowMs - recall.bornMs() >= config.hotMs() && !used(need, config.recentMs());
  }

  /** There is no copy that stays. */
  private void firstCopy(Need need, boolean lost, boolean known) {
    if (lost && used(need, config.recentMs())) {
      homeless.add(need);
    } else if (need.wanted() > 0) {
      gone.add(need);
    } else if (known && prewarmed(need)) {
      lukewarm.add(need);
    }
  }

  private boolean used(Need need, long withinMs) {
    return need.lastUsedMs() > 0 && nowMs - need.lastUsedMs() < withinMs;
  }

  /** Used lately, and not so long ago that it would be unloaded for it. */
  private boolean prewarmed(Need need) {
    long mostMs =
        config.idleUnloadMs() == 0
            ? config.recentMs()
            : Math.min(config.recentMs(), config.idleUnloadMs() / 2);
    return used(need, mostMs);
  }

  private boolean idleForLong(Need need) {
    if (config.idleUnloadMs() == 0
        || need.model().floor() > 0
        || need.count().loaded() == 0
        || need.count().loading() > 0
        || moves.from().contains(need.model().id())) {
      return false;
    }
    long sinceMs =
        Math.max(need.lastUsedMs(), Math.max(recall.bornMs(), need.count().youngestMs()));
    return nowMs - sinceMs >= config.idleUnloadMs();
  }
}
