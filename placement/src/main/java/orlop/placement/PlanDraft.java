package orlop.placement;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** A plan being made: the changes so far, and the view as it will be when they are done. */
final class PlanDraft {
  /**
   * Which memory a load may take.
   *
   * @param spare only free memory, of which some is left
   * @param unusedMs else free memory, or that of models that nobody used for so long
   */
  record Room(boolean spare, long unusedMs) {
    static final Room FREE = new Room(true, 0);
    static final Room ANY = new Room(false, 0);

    /** Free memory, of which nothing need be left. */
    static final Room FITTING = new Room(false, Long.MAX_VALUE / 2);

    static Room unusedFor(long ms) {
      return new Room(false, Math.max(1, ms));
    }

    /**
     * See {@link Change.LoadCopy#lastUsedMs}: the pod may have filled up since it was looked at.
     */
    long asUsedMs(long nowMs) {
      return spare ? Change.FREE_ONLY_MS : Math.max(Change.FREE_ONLY_MS, nowMs - unusedMs);
    }
  }

  /**
   * Fruitless placements per permitted change, after which the mesh counts as full for the goal at
   * hand. Models that have no pod to go to at all, and those that failed, cost no look at the pods
   * and do not count.
   */
  private static final int PATIENCE = 4;

  /** Loads at a time in a pod that does not say. */
  private static final int LOADERS = 2;

  private final Placer placer;
  private final Planner.Config config;
  private final long nowMs;
  private final List<Change> changes = new ArrayList<>();
  private MeshView view;

  /** Without the pods in which enough loads are queued. */
  private final Thinned calm = new Thinned(pod -> queuedBelow(pod, 2));

  /** Without those that have no memory to spare, or whose loaders are busy. */
  private final Thinned roomy =
      new Thinned(pod -> queuedBelow(pod, 1) && reserve(pod).fitsIn(pod.free()));

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
   * @return what the placer said; a pod whose memory may not be taken is no room
   */
  Placement load(Model model, Room room, String why) {
    String hopeless = reach.whyHopeless(model, count(model.id()));
    if (hopeless != null) {
      return new Placement.NoRoom(Route.Cause.NO_ROOM, hopeless);
    }
    Attempt attempt = new Attempt(model.id(), "", false, Set.of(), false, 0, nowMs);
    Placement placement = placer.place(viewFor(room), model, attempt);
    if (placement instanceof Placement.Chosen(Pod pod, String where)) {
      if (allowed(model, pod, room)) {
        changes.add(
            new Change.LoadCopy(model.id(), pod.id(), room.asUsedMs(nowMs), why + "; " + where));
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

  /**
   * Makes room for the load of a model by letting go of a copy that has others, in a pod that may
   * load the model and has too little memory only by that copy.
   *
   * @param spare a model with several copies
   * @param rounds of its loaders that may be queued in the pod
   * @return whether there was such a pod
   */
  boolean swap(Model model, Need spare, int rounds, String why) {
    Attempt attempt = new Attempt(model.id(), "", false, Set.of(), false, 0, nowMs);
    for (Copy copy : view.copies(spare.model().id())) {
      Pod pod = view.pod(copy.podId());
      if (pod == null
          || !(copy.state() instanceof CopyState.Loaded(Memory size, long _))
          || !queuedBelow(pod, rounds)
          || placer.obstacle(view, model, pod, attempt) != null
          || !assumed(model, pod).fitsIn(pod.free().plus(size))) {
        continue;
      }
      changes.add(
          new Change.UnloadCopy(
              spare.model().id(), pod.id(), "one of several, makes room for " + model.id()));
      changes.add(new Change.LoadCopy(model.id(), pod.id(), why + "; in place of a spare copy"));
      Copy leaving = new Copy(copy.modelId(), pod.id(), new CopyState.Unloading(), nowMs);
      view = view.with(List.of(new Delta.CopyPut(leaving)), view.revision());
      draw(model, pod);
      return true;
    }
    return false;
  }

  /** Whether any pod may take a load of this kind; one that may take any always does. */
  boolean anyPodFor(Room room) {
    var unused = viewFor(room);
    return room.equals(Room.ANY) || (room.spare ? roomy : calm).open > 0;
  }

  private MeshView viewFor(Room room) {
    if (room.equals(Room.ANY)) {
      return view;
    }
    return (room.spare ? roomy : calm).view();
  }

  /** Whether a further load would begin soon: more would only wait, and go stale. */
  private static boolean queuedBelow(Pod pod, int rounds) {
    return pod.loadsQueued() < rounds * Math.max(LOADERS, pod.outlook().loaders());
  }

  /** The draft's view in which some pods take nothing; made when first asked for. */
  private final class Thinned {
    private final Predicate<Pod> opens;
    private @Nullable MeshView made;
    private int open;

    Thinned(Predicate<Pod> opens) {
      this.opens = opens;
    }

    MeshView view() {
      if (made == null) {
        List<Delta> shut = new ArrayList<>();
        for (Pod pod : view.pods()) {
          if (!pod.draining() && opens.test(pod)) {
            open++;
          } else if (!pod.draining()) {
            shut.add(new Delta.PodPut(pod.closed()));
          }
        }
        made = view.with(shut, view.revision());
      }
      return made;
    }

    void draw(Pod loading, Copy copy) {
      if (made != null) {
        Pod before = made.pod(loading.id());
        boolean was = before != null && !before.draining();
        boolean is = was && opens.test(loading);
        open -= was && !is ? 1 : 0;
        Pod shown = is ? loading : loading.closed();
        made =
            made.with(List.of(new Delta.PodPut(shown), new Delta.CopyPut(copy)), made.revision());
      }
    }
  }

  private boolean allowed(Model model, Pod pod, Room room) {
    Memory size = assumed(model, pod);
    return room.spare
        ? size.plus(reserve(pod)).fitsIn(pod.free())
        : room.unusedMs == 0
            || size.fitsIn(pod.free())
            || pod.oldestUseMs() < nowMs - room.unusedMs;
  }

  private Memory reserve(Pod pod) {
    return percent(pod.capacity(), config.keepFreePercent());
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
    calm.draw(loading, copy);
    roomy.draw(loading, copy);
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
      if (copy.isLoaded()
          && pod != null
          && !pod.draining()
          && pod.labels().containsAll(view.required(model))) {
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

  /** Adds unloads of the copies in pods that may no longer load the model. */
  void unloadMisplaced(Model model, String why) {
    for (Copy copy : view.copies(model.id())) {
      Pod pod = view.pod(copy.podId());
      if (copy.isLoaded()
          && pod != null
          && !pod.draining()
          && !pod.labels().containsAll(view.required(model))) {
        changes.add(new Change.UnloadCopy(model.id(), pod.id(), why));
      }
    }
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
