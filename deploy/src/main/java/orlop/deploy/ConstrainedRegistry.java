package orlop.deploy;

import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.LabelRules;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;
import orlop.registry.PodSession;
import orlop.registry.Registry;
import orlop.registry.RegistryException;
import orlop.registry.Standing;

/**
 * A registry whose views carry the type constraints of this process, as they are now. Closing it
 * closes the registry. Thread-safe.
 */
final class ConstrainedRegistry implements Registry {
  private final Registry registry;
  private final TypeConstraints constraints;
  private volatile Ruled last = new Ruled(MeshView.empty(), LabelRules.NONE, MeshView.empty());

  /** A view under rules: made once for each view of the registry, since it is read all the time. */
  private record Ruled(MeshView plain, LabelRules rules, MeshView view) {}

  ConstrainedRegistry(Registry registry, TypeConstraints constraints) {
    this.registry = registry;
    this.constraints = constraints;
  }

  @Override
  public MeshView view() {
    return ruled(registry.view());
  }

  private MeshView ruled(MeshView plain) {
    LabelRules rules = constraints.rules();
    Ruled known = last;
    if (known.plain != plain || known.rules != rules) {
      known = new Ruled(plain, rules, plain.with(rules));
      last = known;
    }
    return known.view;
  }

  @Override
  public Subscription listen(Consumer<MeshView> listener) {
    return registry.listen(view -> listener.accept(ruled(view)));
  }

  @Override
  public Model createModel(Model model) throws RegistryException {
    return registry.createModel(model);
  }

  @Override
  public boolean deleteModel(String modelId) throws RegistryException {
    return registry.deleteModel(modelId);
  }

  @Override
  public boolean compareAndSetAlias(String name, @Nullable Alias expected, @Nullable Alias next)
      throws RegistryException {
    return registry.compareAndSetAlias(name, expected, next);
  }

  @Override
  public PodSession join(Pod pod) throws RegistryException {
    return registry.join(pod);
  }

  @Override
  public Subscription campaign(String candidateId, Consumer<Standing> listener) {
    return registry.campaign(candidateId, listener);
  }

  @Override
  public boolean connected() {
    return registry.connected();
  }

  @Override
  public void close() {
    registry.close();
  }
}
