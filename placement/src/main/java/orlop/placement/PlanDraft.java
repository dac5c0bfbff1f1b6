package orlop.placement;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A plan being made: the changes so far, and the view as it will be when they are done. */
final class PlanDraft {
  /** Which memory a load may take. */
  enum Room {
    /** Free memory, leaving some. */
    FREE,
    /** Free memory, or that of models that nobody used for as long as makes a model cold. */
    COLD,
    ANY
  }

  /**
   * Fruitless placements per permitted change, after which the mesh counts as full for the goal at
   * hand. Models that have no pod to go to at all, and those that failed, cost no look at the pods
   * and do not count.
   */
  private static final int PATIENCE = 4;

  private final Placer placer;
  private final Planner.Config config;
  private final long nowMs;
  private final List<Change> changes = new ArrayList<>();
  private MeshView view;
  private final Reach reach;
  private int fruitless;

  PlanDraft(MeshView view, Placer placer, Planner.Config config, long nowMs) {
    this.view = view;
    this.placer = placer;
    this.config = config;
    this.nowMs = nowMs;
    this.reach = new Reach(view);
  }

  long nowMs() {
    return nowMs;
  }

  List<Change> changes() {
    return List.copyOf(changes);
  }

  /** What one goal found no room for says nothing of the next. */
  void nextGoal() {
    fruitless = 0;
  }

  /** Whether more changes may be added. */
  boolean open() {
    return changes.size() < config.maxChanges()
        && fruitless < (long) config.maxChanges() * PATIENCE;
  }

  CopyCount count(String modelId) {
    return CopyCount.of(view, modelId);
  }

  /**
   * Adds a load of one copy.
   *
   * @param lastUsedMs see {@link Change.LoadCopy}
   * @return what the placer said; a pod whose memory may not be taken is no room
   */
  Placement load(Model model, Room room, long lastUsedMs, String why) {
    String hopeless = reach.whyHopeless(model, count(model.id()));
    if (hopeless != null) {
      return new Placement.NoRoom(Route.Cause.NO_ROOM, hopeless);
    }
    Attempt attempt = new Attempt(model.id(), "", false, Set.of(), false, 0, nowMs);
    Placement placement = placer.place(view, model, attempt);
    if (placement instanceof Placement.Chosen(Pod pod, String where)) {
      if (allowed(model, pod, room)) {
        changes.add(new Change.LoadCopy(model.id(), pod.id(), lastUsedMs, why + "; " + where));
        draw(model, pod);
        return placement;
      }
      placement = new Placement.NoRoom(Route.Cause.NO_ROOM, where);
    }
    if (placement instanceof Placement.NoRoom(Route.Cause cause, String _)
        && cause == Route.Cause.NO_ROOM) {
      fruitless++;
    }
    return placement;
  }

  private boolean allowed(Model model, Pod pod, Room room) {
    return switch (room) {
      case ANY -> true;
      case COLD ->
          assumed(model, pod).fitsIn(pod.free()) || pod.oldestUseMs() < nowMs - config.hotMs();
      case FREE -> {
        Memory reserve = percent(pod.capacity(), config.keepFreePercent());
        yield assumed(model, pod).plus(reserve).fitsIn(pod.free());
      }
    };
  }

  private Memory assumed(Model model, Pod pod) {
    return ExpectedSize.of(view, model).assumedIn(pod);
  }

  private static Memory percent(Memory memory, int percent) {
    return new Memory(memory.ramBytes() / 100 * percent, memory.vramBytes() / 100 * percent);
  }

  private void draw(Model model, Pod pod) {
    Pod loading = pod.alsoLoading(assumed(model, pod));
    Copy copy = new Copy(model.id(), pod.id(), new CopyState.Loading(), nowMs);
    view = view.with(List.of(new Delta.PodPut(loading), new Delta.CopyPut(copy)), view.revision());
  }

  /**
   * Adds an unload of the copy that is missed least: in the zone with most copies, and there in the
   * pod that would be chosen last for a new one.
   */
  void unload(Model model, String why) {
    Map<String, Integer> perZone = new HashMap<>();
    List<Pod> pods = new ArrayList<>();
    for (Copy copy : view.copies(model.id())) {
      Pod pod = view.pod(copy.podId());
      if (copy.isLoaded() && pod != null && !pod.draining()) {
        pods.add(pod);
        perZone.merge(pod.zone(), 1, Integer::sum);
      }
    }
    Pod worst = pods.getFirst();
    for (Pod pod : pods) {
      if (missedLess(model, pod, worst, perZone)) {
        worst = pod;
      }
    }
    changes.add(new Change.UnloadCopy(model.id(), worst.id(), why));
  }

  private static boolean missedLess(Model model, Pod pod, Pod than, Map<String, Integer> perZone) {
    int crowd = perZone.getOrDefault(pod.zone(), 0);
    int otherCrowd = perZone.getOrDefault(than.zone(), 0);
    if (crowd != otherCrowd) {
      return crowd > otherCrowd;
    }
    long weight = Rendezvous.weight(model.id(), pod.id());
    long otherWeight = Rendezvous.weight(model.id(), than.id());
    return weight == otherWeight ? pod.id().compareTo(than.id()) > 0 : weight < otherWeight;
  }

  void promote(Alias alias, String why) {
    changes.add(new Change.PromoteAlias(alias.name(), alias.targetModelId(), why));
  }

  /** Notes the failure once; what stands already is not written again. */
  void fail(Alias alias, String why) {
    if (alias.failure().isEmpty()) {
      changes.add(new Change.FailAlias(alias.name(), alias.targetModelId(), why));
    }
  }
}
