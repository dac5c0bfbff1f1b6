package orlop.placement;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The aliases under way: each moves when as many copies of its target are loaded as of what it
 * serves, or as many as there is room for.
 *
 * @param from models that moving aliases serve: kept as they should be, but never trimmed, because
 *     as many copies of the target are awaited
 * @param to models that aliases move to: left to the move alone
 */
record AliasMoves(Set<String> from, Set<String> to) {

  /** Adds what brings each moving alias nearer to its target. */
  static AliasMoves plan(MeshView view, PlanDraft draft) {
    List<Alias> moving = new ArrayList<>();
    for (Alias alias : view.aliases()) {
      if (alias.moving()) {
        moving.add(alias);
      }
    }
    moving.sort(Comparator.comparing(Alias::name));
    AliasMoves models = new AliasMoves(new HashSet<>(), new HashSet<>());
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

  private static void move(MeshView view, Alias alias, PlanDraft draft) {
    Model target = view.model(alias.targetModelId());
    if (target == null) {
      draft.fail(alias, "model '" + alias.targetModelId() + "' is not registered");
      return;
    }
    CopyCount there = draft.count(target.id());
    int asMany = Math.max(target.floor(), CopyCount.of(view, alias.activeModelId()).loaded());
    int wanted =
        Math.max(1, target.maxCopies() > 0 ? Math.min(asMany, target.maxCopies()) : asMany);
    if (there.loaded() >= wanted) {
      draft.promote(alias, there.loaded() + " copies are loaded");
      return;
    }
    String why =
        "alias '%s' moves to it: %d of %d copies".formatted(alias.name(), there.live(), wanted);
    if (there.live() == 0) {
      // Said once; each plan tries again, so the move goes on when the cause is mended.
      if (draft.load(target, PlanDraft.Room.ANY, why)
          instanceof Placement.NoRoom(Route.Cause _, String none)) {
        draft.fail(alias, none);
      }
      return;
    }
    int live = there.live();
    while (live < wanted
        && draft.open()
        && draft.load(target, PlanDraft.Room.FREE, why) instanceof Placement.Chosen) {
      live++;
    }
    if (live == there.loaded()) {
      draft.promote(alias, "%d of %d copies are loaded, no room for more".formatted(live, wanted));
    }
  }
}
