package orlop.controller;

import java.util.Collection;
import java.util.HashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.registry.Registry;
import orlop.registry.RegistryException;

/** Changes of aliases that the management interface and the planning loop share. Thread-safe. */
final class Aliases {
  /*
   * An alias and the model that it refers to are two keys. Who writes one looks, after the write,
   * whether the other still suits, and takes its own write back if not. Since a view shows the
   * writes of all in the order of the store, at least one of two that cross each other sees it.
   */
  private static final int TRIES = 5;

  private final Registry registry;

  Aliases(Registry registry) {
    this.registry = registry;
  }

  /**
   * Makes the target the active model and unregisters what the alias leaves, if it was marked so
   * and nothing else refers to it.
   *
   * @return whether the alias was still as given
   */
  boolean promote(Alias alias) throws RegistryException {
    Set<String> left = new HashSet<>();
    if (alias.moving() && alias.autoDeleteModelIds().contains(alias.activeModelId())) {
      left.add(alias.activeModelId());
    }
    Set<String> kept = new HashSet<>(alias.autoDeleteModelIds());
    kept.retainAll(Set.of(alias.targetModelId()));
    Alias next =
        new Alias(
            alias.name(), alias.owner(), alias.targetModelId(), alias.targetModelId(), kept, "");
    if (!registry.compareAndSetAlias(alias.name(), alias, next)) {
      return false;
    }
    leave(left);
    return true;
  }

  boolean fail(Alias alias, String why) throws RegistryException {
    return registry.compareAndSetAlias(
        alias.name(),
        alias,
        new Alias(
            alias.name(),
            alias.owner(),
            alias.activeModelId(),
            alias.targetModelId(),
            alias.autoDeleteModelIds(),
            why));
  }

  /**
   * Replaces the alias and lets go what it leaves.
   *
   * @return whether it was still as given
   */
  boolean set(@Nullable Alias old, Alias next) throws RegistryException {
    if (!next.equals(old) && !registry.compareAndSetAlias(next.name(), old, next)) {
      return false;
    }
    if (old != null) {
      Set<String> left = new HashSet<>(old.autoDeleteModelIds());
      left.removeIf(next::refersTo);
      leave(left);
    }
    return true;
  }

  /** Deletes the alias and the models that lived only for it. */
  boolean delete(Alias alias) throws RegistryException {
    if (!registry.compareAndSetAlias(alias.name(), alias, null)) {
      return false;
    }
    leave(alias.autoDeleteModelIds());
    return true;
  }

  /**
   * Unregisters the model unless an alias refers to it. No effect if it is not registered.
   *
   * @return the alias that does; null when the model is gone
   */
  @Nullable Alias unregister(String modelId) throws RegistryException {
    Alias user = user(registry.view(), modelId);
    Model model = registry.view().model(modelId);
    if (user != null || !registry.deleteModel(modelId)) {
      return user;
    }
    user = user(registry.view(), modelId);
    if (user != null && model != null) {
      // It came to refer to it while we deleted: the model goes on, its copies are loaded anew.
      registry.createModel(model);
    }
    return user;
  }

  /** An alias that refers to the model; null when none does. */
  static @Nullable Alias user(MeshView view, String modelId) {
    for (Alias alias : view.aliases()) {
      if (alias.refersTo(modelId)) {
        return alias;
      }
    }
    return null;
  }

  /** Unregisters those that nothing refers to; the others are left to who does. */
  private void leave(Collection<String> modelIds) throws RegistryException {
    for (String id : modelIds) {
      for (int i = 0; i < TRIES; i++) {
        Alias user = unregister(id);
        if (user == null || marked(user, id)) {
          break;
        }
      }
    }
  }

  /** Whether the alias now takes the model along when it leaves it in turn. */
  private boolean marked(Alias user, String modelId) throws RegistryException {
    Set<String> marks = new HashSet<>(user.autoDeleteModelIds());
    if (!marks.add(modelId)) {
      return true;
    }
    return registry.compareAndSetAlias(
        user.name(),
        user,
        new Alias(
            user.name(),
            user.owner(),
            user.activeModelId(),
            user.targetModelId(),
            marks,
            user.failure()));
  }
}
