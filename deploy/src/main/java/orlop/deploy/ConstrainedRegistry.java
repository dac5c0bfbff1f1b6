package orlop.deploy;

import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;
import orlop.registry.PodSession;
import orlop.registry.Registry;
import orlop.registry.RegistryException;

/** A registry in which new models get the labels of their type. Thread-safe. */
final class ConstrainedRegistry implements Registry {
  private final Registry registry;
  private final TypeConstraints constraints;

  ConstrainedRegistry(Registry registry, TypeConstraints constraints) {
    this.registry = registry;
    this.constraints = constraints;
  }

  @Override
  public MeshView view() {
    return registry.view();
  }

  @Override
  public Subscription listen(Consumer<MeshView> listener) {
    return registry.listen(listener);
  }

  @Override
  public Model createModel(Model model) throws RegistryException {
    return registry.createModel(constraints.apply(model));
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
  public Subscription campaign(String candidateId, Consumer<Boolean> listener) {
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
