package orlop.placement;

/** One change of the {@link MeshView}. Removing what is absent changes nothing. */
public sealed interface Delta {
  record ModelPut(Model model) implements Delta {}

  record ModelRemoved(String modelId) implements Delta {}

  record AliasPut(Alias alias) implements Delta {}

  record AliasRemoved(String name) implements Delta {}

  record PodPut(Pod pod) implements Delta {}

  /** Removes the pod; its copies go by their own deltas. */
  record PodRemoved(String podId) implements Delta {}

  record CopyPut(Copy copy) implements Delta {}

  record CopyRemoved(String podId, String modelId) implements Delta {}

  /** What an operator set for the whole mesh. */
  record SettingPut(String name, String value) implements Delta {}

  record SettingRemoved(String name) implements Delta {}
}
