package orlop.controller;

import java.util.HashSet;
import java.util.Set;
import orlop.placement.Alias;
import orlop.placement.MeshView;
import orlop.registry.Registry;
import orlop.registry.RegistryException;

/** Changes of aliases that the management interface and the planning loop share. Thread-safe. */
final class Aliases {
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
    deleteUnreferred(left, alias.name());
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

  /** Deletes the alias and the models that lived only for it. */
  boolean delete(Alias alias) throws RegistryException {
    if (!registry.compareAndSetAlias(alias.name(), alias, null)) {
      return false;
    }
    deleteUnreferred(alias.autoDeleteModelIds(), alias.name());
    return true;
  }

  /** Unregisters those that no alias other than {@code except} refers to. */
  void deleteUnreferred(Set<String> modelIds, String except) throws RegistryException {
    MeshView view = registry.view();
    for (String id : modelIds) {
      boolean referred =
          view.aliases().stream().anyMatch(a -> !a.name().equals(except) && a.refersTo(id));
      if (!referred) {
        registry.deleteModel(id);
      }
    }
  }
}
